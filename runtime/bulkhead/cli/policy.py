"""`bulkhead policy`: what is judged of each message, whether it is judged as expected, and who signed it.

policy_cases.py has `policy test`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from bulkhead.policy.verdict import Guard
    from bulkhead.spec import ServerSpec

# Which keys of a profile a guard goes by: a guard's own name, or its file's.
_KEYS = {
    "tools": ("tools.allow", "tools.deny"),
    "approval": ("tools.approve",),
    "budgets.concurrency": ("limits.concurrent_calls",),
    "budgets.rate": ("limits.calls_per_minute",),
    "budgets.output": ("limits.output",),
    "network": ("egress",),
    "arguments": ("guards.arguments",),
    "rules": ("guards.rules",),
    "leaks": ("guards.secrets",),
    "invisible": ("guards.invisible",),
    "marking": ("guards.marking",),
    "screening": ("screen.endpoint", "screen.outage"),
}
_LONGEST = 60

_POLICY = """examples:
  bulkhead policy show github
  bulkhead policy test ./github-cases.toml
  bulkhead policy keygen -o ./key
  bulkhead policy sign ~/.config/bulkhead/servers --key ./key
"""


def add_parser(commands: Any) -> None:
    """The command and its parts."""
    from bulkhead.cli.policy_cases import run as test_cases

    parser = commands.add_parser("policy", help="shows, tests and signs what is judged of each message", epilog=_POLICY)
    parts = parser.add_subparsers(metavar="show|test|keygen|sign|verify", required=True)
    show = parts.add_parser("show", help="which guards judge what, in order, and what the profile says to them")
    show.add_argument("name", nargs="?", help="the profile's name")
    show.add_argument("--profile", metavar="FILE", type=Path, help="a file instead of a name")
    show.set_defaults(run=_show)
    test = parts.add_parser("test", help="judges a table of messages without a server")
    test.add_argument("file", type=Path, metavar="FILE", help="the table; docs/policy.md shows one")
    test.add_argument("name", nargs="?", help="the profile's name, where the table names none")
    test.set_defaults(run=test_cases)
    for part in (show, test):
        part.add_argument("--json", action="store_true", help="for programs")
    keygen = parts.add_parser("keygen", help="makes a key that signs profiles; prints its public half")
    keygen.add_argument("-o", dest="output", type=Path, metavar="FILE", required=True, help="where the key goes")
    keygen.set_defaults(run=_keygen)
    sign = parts.add_parser("sign", help="signs a profile, or all of a folder")
    sign.add_argument("--key", type=Path, metavar="KEY", required=True, help="what keygen made")
    sign.set_defaults(run=_sign)
    verify = parts.add_parser("verify", help="whether profiles are signed by one of config.toml's trusted_keys")
    verify.set_defaults(run=_verify)
    for part in (sign, verify):
        part.add_argument("path", type=Path, metavar="FILE|DIR")


def _show(args: argparse.Namespace) -> int:
    from bulkhead.config import find_profile, load_profile
    from bulkhead.errors import UsageError

    if (args.name is None) == (args.profile is None):
        raise UsageError("name one profile", hint="`bulkhead policy show NAME`, or --profile FILE")
    spec = load_profile(args.profile or find_profile(args.name, Path.cwd()))
    rows = list(_rows(spec))
    if args.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table as Printed

    printed = Printed(box=None, pad_edge=False)
    for heading in ("JUDGES", "GUARD", "WHAT IT DOES", "PROFILE"):
        printed.add_column(heading)
    for row in rows:
        said = "\n".join(f"{key} = {_short(value)}" for key, value in row["profile"].items())
        printed.add_row(row["judges"], row["guard"], row["does"], said)
    Console(highlight=False, markup=False).print(printed)
    return 0


def _rows(spec: ServerSpec) -> Iterator[dict[str, Any]]:
    from bulkhead.policy import chain

    for judges, guards in (("request", chain.REQUEST), ("result", chain.RESULT)):
        for guard in guards:
            does = (guard.__doc__ or "").partition("\n")[0]
            yield {"judges": judges, "guard": _name(guard), "does": does, "profile": _settings(guard, spec)}


def _name(guard: Guard) -> str:
    return f"{guard.__module__.rpartition('.')[2]}.{guard.__name__}"


def _settings(guard: Guard, spec: ServerSpec) -> dict[str, Any]:
    from bulkhead.cli.profile import as_tables

    name, tables = _name(guard), as_tables(spec)
    found = {}
    for key in _KEYS.get(name) or _KEYS.get(name.partition(".")[0], ()):
        table, _, inner = key.partition(".")
        found[key] = tables[table][inner] if inner else tables[table]
    return found


def _short(value: Any) -> str:
    from bulkhead.cli.profile import plain

    text = plain(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _keygen(args: argparse.Namespace) -> int:
    from bulkhead.config import signed

    public = signed.generate(args.output.absolute())
    sys.stdout.write(f"{public}\n")
    return 0


def _sign(args: argparse.Namespace) -> int:
    from bulkhead.cli.profile import plain
    from bulkhead.config import signed

    for path in _profiles(args.path.absolute()):
        sys.stdout.write(f"signed: {plain(str(signed.sign(path, args.key)))}\n")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from bulkhead.cli import tell
    from bulkhead.cli.profile import plain
    from bulkhead.config import load_settings, signed
    from bulkhead.errors import IntegrityError, UsageError

    trusted = load_settings().trusted_keys
    if not trusted:
        raise UsageError("no key is trusted", hint="write trusted_keys = [...] into config.toml; docs/policy.md")
    code = 0
    for path in _profiles(args.path.absolute()):
        try:
            signed.check(path, path.read_bytes(), trusted)
        except IntegrityError as error:
            tell(error)
            code = error.exit_code
        else:
            sys.stdout.write(f"signed by a trusted key: {plain(str(path))}\n")
    return code


def _profiles(path: Path) -> list[Path]:
    from bulkhead.errors import UsageError

    found = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    if not found or not all(file.is_file() for file in found):
        raise UsageError(f"there is no profile at {path}", hint="name a .toml file, or a folder of them")
    return found
