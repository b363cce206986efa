"""`bulkhead profile show|check|ls`: what a profile allows in full, whether it is valid, and which there are.

`show` prints a profile that means the same when it is read again. Texts of a profile are a stranger's: what a terminal
could take for an order is printed escaped. A warning is of what is valid, and does not change the exit code.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from bulkhead.config import Found
    from bulkhead.errors import BulkheadError
    from bulkhead.spec import ServerSpec

_SIZES = {"memory", "tmp", "message", "output"}
_SECONDS = {"start", "call", "approval", "ttl", "timeout"}

_EXAMPLES = """examples:
  bulkhead profile show time     all that it allows, with the defaults
  bulkhead profile check --profile ./my-server.toml
  bulkhead profile ls --json
"""


def add_parser(commands: Any) -> None:
    """The command and its three parts."""
    parser = commands.add_parser("profile", help="shows, checks and lists profiles", epilog=_EXAMPLES)
    parts = parser.add_subparsers(metavar="show|check|ls", required=True)
    show = parts.add_parser("show", help="all that a profile allows, with the defaults")
    check = parts.add_parser("check", help="whether a profile is valid, or all that is wrong with it")
    listing = parts.add_parser("ls", help="the profiles that can be named, and whose they are")
    for part, run in ((show, _show), (check, _check)):
        part.add_argument("name", nargs="?", help="the profile's name")
        part.add_argument("--profile", metavar="FILE", type=Path, help="a file instead of a name")
        part.set_defaults(run=run)
    listing.set_defaults(run=_ls)
    for part in (show, check, listing):
        part.add_argument("--json", action="store_true", help="for programs")


def _show(args: argparse.Namespace) -> int:
    from bulkhead.config import find_profile, load_profile, profile_digest
    from bulkhead.errors import UsageError

    if (args.name is None) == (args.profile is None):
        raise UsageError("name one profile", hint="`bulkhead profile show NAME`, or --profile FILE")
    path = args.profile.absolute() if args.profile else find_profile(args.name, Path.cwd())
    spec = load_profile(path)
    if args.json:
        whole = {"path": str(path), "digest": profile_digest(spec), "spec": as_tables(spec)}
        _print_json(whole)
    else:
        sys.stdout.write(f"# {plain(str(path))}\n# {profile_digest(spec)}\n{as_toml(spec)}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from bulkhead.cli import tell

    results = [(path, *judged(path)) for path in _to_check(args)]
    if args.json:
        _print_json([_checked(path, spec, errors) for path, spec, errors in results])
        return 2 if any(errors for _, _, errors in results) else 0
    for path, spec, errors in results:
        if not errors:
            sys.stdout.write(f"valid: {plain(str(path))}\n")
        for warning in warnings_of(spec):
            sys.stdout.write(f"warning: {warning}\n")
        for error in errors:
            tell(error)
    return 2 if any(errors for _, _, errors in results) else 0


def _ls(args: argparse.Namespace) -> int:
    from bulkhead.config import list_profiles

    rows = [_row(found) for found in list_profiles(Path.cwd())]
    if args.json:
        _print_json(rows)
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("NAME", "FROM", "DESCRIPTION"):
        table.add_column(heading)
    for row in rows:
        problem = f"not valid: {row['problem']}" if row["problem"] else row["description"]
        table.add_row(row["name"], row["origin"], plain(problem))
    Console(highlight=False, markup=False).print(table if rows else "no profiles")
    return 0


def judged(path: Path) -> tuple[ServerSpec | None, Sequence[BulkheadError]]:
    """The spec, or all that is wrong, whatever that is."""
    from bulkhead.config import check_profile
    from bulkhead.errors import IntegrityError, ProfileError

    try:
        return check_profile(path)
    except (IntegrityError, ProfileError) as error:
        return None, [error]


def warnings_of(spec: ServerSpec | None) -> list[str]:
    """What is valid and worth a thought."""
    if spec is None:
        return []
    said = "the value is in the server's environment for its whole life"
    better = 'use "inject", where the server never has it, or "file", where it has it for the ttl'
    return [f'{spec.name}: {it.name} has use = "env": {said}; {better}' for it in spec.secrets if it.use == "env"]


def as_toml(spec: ServerSpec) -> str:
    """The whole spec as a profile; what is as it is anyway is marked as a default."""
    lines = [f"description = {_value('description', spec.description)}"]
    for key in ("server", "limits", "tools", "guards", "screen", "sandbox"):
        table = getattr(spec, key)
        lines += ["", f"[{key}]", *_table(asdict(table), type(table)())]
    for key in ("mounts", "egress", "secrets"):
        if not getattr(spec, key):
            lines += ["", f"# no [[{key}]]"]
        for table in getattr(spec, key):
            lines += ["", f"[[{key}]]", *_table(_as_written(table), None)]
    return "\n".join(lines) + "\n"


def as_tables(spec: ServerSpec) -> dict[str, Any]:
    """The whole spec under the names that a profile has for it."""
    return asdict(spec) | {"secrets": [_as_written(secret) for secret in spec.secrets]}


def _as_written(table: Any) -> dict[str, Any]:
    return {
        "from" if key == "source" and "use" in asdict(table) else key: value for key, value in asdict(table).items()
    }


def _table(values: Mapping[str, Any], defaults: object | None) -> Iterator[str]:
    """defaults: what the table is where nothing is written; None for a table that is all written."""
    for key, value in values.items():
        if value is None or (key in ("package", "image") and not value):
            continue  # what is not written has a meaning of its own
        line = f"{key} = {_value(key, value)}"
        yield line if defaults is None or value != getattr(defaults, key) else f"{line:<40} # default"


def _value(key: str, value: Any) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{name} = {_value(name, item)}" for name, item in value.items()) + " }"
        case tuple():
            return f"[{', '.join(_value('', item) for item in value)}]"
        case str():
            return f'"{plain(value, quoted=True)}"'
        case int() | float() if key in _SIZES:
            return _with_unit(value)
        case float() if key in _SECONDS:
            return f'"{value:g}s"' if f"{value:g}" == repr(value).removesuffix(".0") else repr(value)
        case _:
            return json.dumps(value)


def _with_unit(size: int | float) -> str:
    units = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
    return next((f'"{size // scale}{unit}"' for unit, scale in units if size % scale == 0), str(size))


def plain(text: str, *, quoted: bool = False) -> str:
    """One line that a terminal takes as it is; quoted: with what TOML escapes between quotes."""
    special = '"\\' if quoted else ""
    return "".join(
        f"\\{c}"
        if c in special
        else c
        if c.isprintable()
        else f"\\u{ord(c):04x}"
        if ord(c) < 2**16
        else f"\\U{ord(c):08x}"
        for c in text
    )


def _to_check(args: argparse.Namespace) -> list[Path]:
    """The named one; all where none is named."""
    from bulkhead.config import find_profile, list_profiles

    if args.profile:
        return [args.profile.absolute()]
    return [find_profile(args.name, Path.cwd())] if args.name else [found.path for found in list_profiles(Path.cwd())]


def _checked(path: Path, spec: ServerSpec | None, errors: Sequence[BulkheadError]) -> dict[str, Any]:
    found = [{"what": error.what, "why": error.why, "hint": error.hint} for error in errors]
    return {"path": str(path), "valid": not errors, "errors": found, "warnings": warnings_of(spec)}


def _row(found: Found) -> dict[str, Any]:
    spec, errors = judged(found.path)
    row = {"name": found.name, "origin": found.origin, "path": str(found.path)}
    problem = errors[0].what if errors else ""
    return row | {"description": spec.description if spec else "", "problem": problem}


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
