"""`bulkhead wrap` and `unwrap`: the servers of hosts' configurations behind bulkhead, with a preview, and back.

Everything is read and judged before anything is written; secrets and profiles are stored before a file names them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.cli import say
from bulkhead.cli.profile import plain
from bulkhead.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from bulkhead.hosts.base import ConfigFile, Document, Entry
    from bulkhead.hosts.files import Change
    from bulkhead.hosts.wrapping import Left, Wrapped

    Newest = Callable[[str], str]
    Row = tuple[Document, Wrapped | Left]

_WRAP = """examples:
  bulkhead wrap --dry-run        what would change, in all hosts
  bulkhead wrap cursor           one host; asks first
"""
_UNWRAP = """examples:
  bulkhead unwrap                all files that were changed; asks first
  bulkhead unwrap cursor --yes
"""


def add_parser(commands: Any) -> None:
    """Both commands."""
    wrap = commands.add_parser("wrap", help="puts the servers of hosts' configurations behind bulkhead", epilog=_WRAP)
    wrap.add_argument("--dry-run", action="store_true", help="shows what would change, and changes nothing")
    unwrap = commands.add_parser("unwrap", help="puts hosts' configurations back as they were", epilog=_UNWRAP)
    for parser, run in ((wrap, _wrap), (unwrap, _unwrap)):
        parser.add_argument("host", nargs="?", metavar="HOST", help="this one alone, such as cursor")
        parser.add_argument("--yes", action="store_true", help="does not ask")
        parser.set_defaults(run=run)


def _wrap(args: argparse.Namespace) -> int:
    from bulkhead.config import state_dir
    from bulkhead.hosts.base import entries, find, read
    from bulkhead.hosts.files import apply

    documents = [read(file) for file in _of_host(find(Path.home(), Path.cwd()), args.host)]
    rows = _Naming(_newest).all([(document, entry) for document in documents for entry in entries(document)])
    _print(rows)
    changes = _changes(rows)
    if args.dry_run or not changes or not _agreed(args, f"change {len(changes)} files?"):
        return 0
    _store(_wrapped_of(rows))
    for change, backup in zip(changes, apply(changes, state=state_dir()), strict=True):
        sys.stdout.write(f"changed {plain(str(change.document.file.path))}\n  backup: {plain(str(backup))}\n")
    sys.stdout.write("Restart the hosts. A backup has the secrets that the file had: `bulkhead unwrap` removes it.\n")
    return 0


def _unwrap(args: argparse.Namespace) -> int:
    from bulkhead.config import state_dir
    from bulkhead.hosts.files import restore, wrapped

    files = _of_host(wrapped(state_dir()), args.host)
    if not files:
        raise UsageError(
            "there is nothing to put back", why="no file of a host was changed", hint="see `bulkhead wrap`"
        )
    for file in files:
        sys.stdout.write(f"{plain(str(file.path))}\n")
    if not _agreed(args, f"put {len(files)} files back?"):
        return 0
    for file in files:
        done = restore(file, state=state_dir())
        how = "exactly as it was" if done.exactly else "edited since: our entries are put back, the rest stays"
        sys.stdout.write(f"restored {plain(str(file.path))}: {how}\n")
        for name in done.left:
            say(f"{plain(name)} was edited since and is left as it is; the backup beside the file has the old one")
    return 0


def _of_host(files: Sequence[ConfigFile], name: str | None) -> list[ConfigFile]:
    from bulkhead.hosts.base import named_host

    host = named_host(name) if name else None
    return [file for file in files if host in (None, file.host)]


def _agreed(args: argparse.Namespace, question: str) -> bool:
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here", why="stdin is no terminal", hint="give --yes, or --dry-run")
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class _Naming:
    """Gives each entry a profile's name that nothing else has; the same server of two hosts shares one."""

    def __init__(self, newest: Newest) -> None:
        self._newest = newest
        self._given: dict[str, Wrapped] = {}

    def all(self, found: Sequence[tuple[Document, Entry]]) -> list[Row]:
        return [(document, self._one(entry)) for document, entry in found]

    def _one(self, entry: Entry) -> Wrapped | Left:
        from bulkhead.hosts.wrapping import Wrapped, name_for, wrap

        base, number = name_for(entry), 1
        while True:
            name = base if number == 1 else f"{base}-{number}"
            row = wrap(entry, name, newest=self._newest)
            if not isinstance(row, Wrapped):
                return row
            if self._is_free(row):
                self._given[name] = row
                return _judged(row)
            number += 1

    def _is_free(self, row: Wrapped) -> bool:
        from bulkhead.config import list_profiles

        if given := self._given.get(row.name):
            return (given.profile, given.secrets) == (row.profile, row.secrets)
        there = [found.path for found in list_profiles(Path.cwd()) if found.name == row.name]
        same = [path.read_text(encoding="utf-8") == row.profile for path in there[:1]]
        return not there or (same == [True] and not row.secrets)


def _judged(row: Wrapped) -> Wrapped | Left:
    """By the judge of all profiles, in a folder that goes again."""
    from bulkhead.config import check_profile
    from bulkhead.hosts.wrapping import Left

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{row.name}.toml"
        path.write_text(row.profile, encoding="utf-8")
        _, errors = check_profile(path)
    return Left(row.entry, f"no profile can say it: {errors[0].why}") if errors else row


def _newest(package: str) -> str:
    import anyio

    from bulkhead.config import load_settings, state_dir
    from bulkhead.engines.registry import open_engine
    from bulkhead.supply.pins import resolve_newest

    async def asked() -> str:
        engine = open_engine(load_settings().engine, state=state_dir())
        try:
            return await resolve_newest(package, engine, state=state_dir(), say=say)
        finally:
            await engine.close()

    return anyio.run(asked)


def _changes(rows: Sequence[Row]) -> list[Change]:
    from bulkhead.hosts.edits import with_commands
    from bulkhead.hosts.files import Change

    changes = []
    for document in {document.file.path: document for document, _ in rows}.values():
        own = [row for row in _wrapped_of(rows) if row.entry.path == document.file.path]
        if own:
            data = with_commands(document, [(row.entry, (_program(), ("run", row.name))) for row in own])
            changes.append(Change(document, data, tuple(row.entry.pointer for row in own)))
    return changes


def _wrapped_of(rows: Sequence[Row]) -> list[Wrapped]:
    from bulkhead.hosts.wrapping import Wrapped

    return [row for _, row in rows if isinstance(row, Wrapped)]


def _program() -> str:
    """The whole path: a desktop gives its hosts a PATH of its own."""
    beside = Path(sys.executable).with_name("bulkhead")
    return str(beside) if beside.exists() else shutil.which("bulkhead") or "bulkhead"


def _store(rows: Sequence[Wrapped]) -> None:
    from bulkhead.config import config_dir
    from bulkhead.credentials.keyring import store

    folder = config_dir() / "servers"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for row in {row.name: row for row in rows}.values():
        for variable, value in row.secrets.items():
            store(f"{row.name}/{variable}", value)
        path = folder / f"{row.name}.toml"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(row.profile, encoding="utf-8")


def _print(rows: Sequence[Row]) -> None:
    """Each entry: what it becomes, with the profile, or why it stays."""
    from bulkhead.hosts.wrapping import Wrapped

    shown = set[str]()
    for document, row in rows:
        where = plain(f"{document.file.path}:{row.entry.line}: {row.entry.name}")
        if not isinstance(row, Wrapped):
            sys.stdout.write(f"stays    {where}\n  {plain(row.why)}\n")
            continue
        sys.stdout.write(f"changes  {where}\n  becomes: bulkhead run {row.name}\n")
        lines = [] if row.name in shown else row.profile.splitlines()
        sys.stdout.write("".join(f"  | {plain(line)}\n" for line in lines if line))
        sys.stdout.write("".join(f"  to the keyring: {plain(variable)}\n" for variable in row.secrets))
        shown.add(row.name)
    if not rows:
        sys.stdout.write("no host's configuration names a server\n")
