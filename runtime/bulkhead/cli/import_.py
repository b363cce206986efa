"""`bulkhead import`: other people's descriptions of servers become profiles, and what cannot be carried over is told.

Everything is read and judged before anything is written. A profile that is there is never overwritten. The files of a
bundle lie in the folder for a person's data: what is in the state folder is never mounted.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.cli.profile import judged, plain
from bulkhead.errors import DeniedError, UsageError

if TYPE_CHECKING:
    import argparse

    from bulkhead.imports.base import Draft
    from bulkhead.imports.bundle import Bundle
    from bulkhead.imports.detect import Found
    from bulkhead.imports.document import Told

_EXAMPLES = """examples:
  bulkhead import server.json --dry-run               what the profile would allow, and what is left out
  bulkhead import catalog.yaml --name github -- /server/github-mcp-server
                                                      an image's program stands behind --
  bulkhead import weather.mcpb --yes                  unpacks the bundle, too
  bulkhead import run.json --pin 1.4.2                for a document that names no exact version
  bulkhead import permissions.json -- npx -y @modelcontextprotocol/server-memory@2026.7.4
  curl ... | bulkhead import - --json
"""
_HEADINGS = {"left out": "left out", "changed": "changed ", "to do": "to do   "}


def add_parser(commands: Any) -> None:
    """The command."""
    parser = commands.add_parser(
        "import",
        help="makes a profile of a Docker catalog entry, ToolHive configuration, server.json or MCPB bundle",
        epilog=_EXAMPLES,
    )
    parser.add_argument("file", metavar="FILE", help="the document, or - for stdin")
    parser.add_argument("--name", metavar="NAME", default="", help="the profile's, and the catalog's entry's")
    parser.add_argument("--pin", metavar="VERSION|DIGEST", default="", help="where the document has no exact one")
    parser.add_argument("--dry-run", action="store_true", help="shows the profile, and writes nothing")
    parser.add_argument("--yes", action="store_true", help="does not ask")
    parser.add_argument("--json", action="store_true", help="for programs; writes with --yes alone")
    parser.set_defaults(run=_import)


def _import(args: argparse.Namespace) -> int:
    from bulkhead.config import config_dir
    from bulkhead.imports import detect, mcpb
    from bulkhead.imports.base import Choices

    source, data = _read(args.file)
    found = detect.read(source, data, Choices(args.name, tuple(args.command), partial(_pin, args)))
    _judge(found.draft)
    place = mcpb.mount(found.draft, found.bundle, _bundles()) if found.bundle else None
    path = config_dir() / "servers" / f"{found.draft.name}.toml"
    if not args.json:
        _print(source, found)
    wanted = _wanted(args, found.draft, path)
    if wanted:
        _write(found, path, place)
    if args.json:
        _print_json(found, path, written=wanted)
    elif wanted:
        sys.stdout.write(f"written  {plain(str(path))}\n  try it: bulkhead tools {found.draft.name}\n")
    return 0


def _read(name: str) -> tuple[str, bytes]:
    """What the document is called, and its bytes. Raises UsageError."""
    from bulkhead.imports.detect import LARGEST

    try:
        if name == "-":
            source, data = "stdin", sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(name).open("rb") as file:
                source, data = plain(name), file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{plain(name)} cannot be read", why=getattr(error, "strerror", "") or str(error)) from None
    if len(data) > LARGEST:
        raise UsageError(f"{source} is not read", why=f"it is larger than {LARGEST >> 20} MiB")
    return source, data


def _pin(args: argparse.Namespace, what: str) -> str:
    """The exact version or digest of a package or an image. Raises UsageError where nobody says it."""
    if args.pin:
        return str(args.pin)
    if args.file != "-" and not args.json and sys.stdin.isatty():
        sys.stdout.write(f"{plain(what)} is not pinned. Which exact version, or sha256:DIGEST of an image? ")
        sys.stdout.flush()
        if answer := sys.stdin.readline().strip():
            return answer
    kind = "--pin VERSION" if what.startswith(("npm:", "pypi:")) else "--pin sha256:DIGEST"
    raise UsageError(
        f"{plain(what)} is not pinned",
        why="a tag, a range and the newest are another one tomorrow",
        hint=f"give {kind}, as you have looked at it",
    )


def _judge(draft: Draft) -> None:
    """By the judge of all profiles, in a folder that goes again. Raises ProfileError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{draft.name}.toml"
        path.write_text(draft.toml(), encoding="utf-8")
        _, errors = judged(path)
    if errors:
        errors[0].what = errors[0].what.replace(f"{folder}/", "the profile ")
        raise errors[0]


def _wanted(args: argparse.Namespace, draft: Draft, path: Path) -> bool:
    """Whether to write. Raises UsageError where nobody can be asked, or a profile is there."""
    from bulkhead.cli.approve import agreed

    if args.dry_run or (args.json and not args.yes):
        return False
    if path.exists():
        hint = f"give another --name, or remove {plain(str(path))}"
        raise UsageError(f"there is a profile {draft.name}", why="none is overwritten", hint=hint)
    return agreed(f"write {plain(str(path))}?", yes=args.yes)


def _write(found: Found, path: Path, place: Path | None) -> None:
    """First what the profile names: the bundle's files, and secrets. Raises BulkheadError."""
    from bulkhead.credentials.keyring import store

    try:
        if found.bundle and place:
            _unpack(found, found.bundle, place)
        named = {secret["name"] for secret in found.draft.secrets}
        for variable, value in found.draft.values.items():
            if variable not in named:
                continue  # it was left out, and that was told
            store(f"{found.draft.name}/{variable}", value)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(found.draft.toml())
    except OSError as error:
        raise DeniedError(f"{error.filename or path} cannot be written", why=str(error.strerror)) from None


def _unpack(found: Found, bundle: Bundle, place: Path) -> None:
    """Nothing stays of a bundle whose profile is not valid with its folder."""
    fresh = not place.exists()
    if fresh:
        bundle.unpack(place)
    try:
        _judge(found.draft)
    except BaseException:
        if fresh:
            shutil.rmtree(place, ignore_errors=True)
        raise


def _bundles() -> Path:
    """$XDG_DATA_HOME/bulkhead/bundles, or ~/.local/share/bulkhead/bundles."""
    value = os.environ.get("XDG_DATA_HOME", "")
    base = Path(value) if value.startswith("/") else Path(os.path.realpath(Path.home())) / ".local/share"
    return base / "bulkhead" / "bundles"


def _print(source: str, found: Found) -> None:
    draft = found.draft
    sys.stdout.write(f"{draft.name}: {found.format}, {source}\n")
    sys.stdout.write("".join(f"  | {plain(line)}\n" for line in draft.toml().splitlines() if line))
    for told in _sorted(draft):
        where = f"line {told.line}: {plain(told.at)}" if told.line else plain(told.at)
        sys.stdout.write(f"{_HEADINGS[told.kind]} {where}: {plain(told.why)}\n")


def _sorted(draft: Draft) -> list[Told]:
    """What was left out, what was changed, what is to be done; each in the order of the lines."""
    kinds = list(_HEADINGS)
    return sorted(draft.told, key=lambda told: (kinds.index(told.kind), told.line))


def _print_json(found: Found, path: Path, *, written: bool) -> None:
    draft = found.draft
    rows = [asdict(told) for told in _sorted(draft)]
    whole = {"name": draft.name, "format": found.format, "path": str(path), "profile": draft.toml(), "written": written}
    sys.stdout.write(json.dumps(whole | {"told": rows}, indent=2) + "\n")
