"""`bulkhead rollback`: a server's image, profile and pins as they were before, in one command.

Rules: what cannot be brought back is told before anything changes. A profile that is replaced is kept beside the one
that takes its place; a shipped one is not touched: the former one becomes the user's own, which goes first. What a
project has in its folder is the project's, and is not written.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.cli.approve import agreed, record, server_key, who
from bulkhead.cli.target import add_target
from bulkhead.errors import DeniedError, GoneError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from rich.text import Text

    from bulkhead.pins.store import Pins

_ROLLBACK = """examples:
  bulkhead rollback github
  bulkhead rollback github --to 3 --yes
"""


def add_parser(commands: Any) -> None:
    """The command."""
    parser = commands.add_parser(
        "rollback", help="brings back the image, the profile and the pins of before", epilog=_ROLLBACK
    )
    add_target(parser)
    parser.add_argument("--to", type=int, default=0, metavar="VERSION", help="not the one before, but this one")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Shows what changes, asks, and does it."""
    from bulkhead.cli.difference import print_lines
    from bulkhead.config import state_dir
    from bulkhead.pins import Store
    from bulkhead.pins.decide import former, roll_back

    state = state_dir()
    key = server_key(args, state)
    if not key:
        raise UsageError("which server?", hint="give one of: NAME, --profile FILE, or -- npx ...")
    store = Store(state, key)
    pins, back = store.pins(), former(store, args.to)
    file = _file_of(pins, back)
    _require_image(state, back.image)
    sys.stdout.write(f"{key}: from version {pins.version} back to {back.restored or back.version}, of {back.at}\n")
    print_lines(_lines(pins, back, file))
    if not agreed("go back?", yes=args.yes):
        raise DeniedError("nothing was rolled back", why="you did not agree")
    record(state, key, "allow", {"image:": back.image, "version": str(back.version)}, reason="rollback")
    if file is not None:
        _write(file, back.text)
    restored = roll_back(store, pins, back, by=who())
    sys.stdout.write(f"{key}: version {restored.version} is as {restored.restored} was\n")
    return 0


def _file_of(pins: Pins, back: Pins) -> Path | None:
    """Where the former profile has to be written; None where it is there. Raises UsageError where it may not be."""
    from bulkhead import resources
    from bulkhead.config import config_dir

    current = Path(pins.path) if pins.path else None
    if current is None or (current.is_file() and current.read_bytes() == back.text.encode()):
        return None
    if not back.text:
        raise UsageError("the former profile is not kept", why=f"{back.path} could not be read when it was pinned")
    if current.parent.name == ".bulkhead":
        hint = f"bring back {current} as it was, then roll back again"
        raise UsageError("the profile is a project's", why="its folder is not ours to write to", hint=hint)
    shipped = current.parent == resources.folder("profiles") / "servers"
    return config_dir() / "servers" / current.name if shipped else current


def _require_image(state: Path, digest: str) -> None:
    import anyio

    from bulkhead.config import load_settings
    from bulkhead.engines.registry import open_engine

    async def found() -> bool:
        engine = open_engine(load_settings().engine, state=state)
        try:
            return engine.images.find(digest) is not None
        finally:
            await engine.close()

    if digest and not anyio.run(found):
        hint = "change the profile instead, and approve what is built from it"
        raise GoneError("the former image is not there any more", why=f"no image has the digest {digest}", hint=hint)


def _lines(pins: Pins, back: Pins, file: Path | None) -> Iterator[Text]:
    """What becomes another."""
    from rich.text import Text

    from bulkhead.cli.difference import between, clean, of_leaves
    from bulkhead.pins.decide import pinned_value
    from bulkhead.policy.pins import IMAGE, PROFILE

    for key in sorted({IMAGE, PROFILE} | pins.items.keys() | back.items.keys()):
        before, after = pinned_value(pins, key), pinned_value(back, key)
        known = key in (IMAGE, PROFILE) or key.partition(":")[0] in back.known
        if after is None or before is None:
            if known and before != after:
                yield Text(f"{clean(key)} {'is not pinned any more' if after is None else 'is pinned again'}", "bold")
        elif found := between(key, before, after):
            yield Text(clean(key), "bold")
            yield from of_leaves(found)
    if file is not None:
        yield Text(f"{clean(str(file))} is written{', the one there is kept beside it' if file.exists() else ''}")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    if path.exists():
        numbers = (number for number in range(1, 10_000) if not path.with_name(f"{path.name}.bak-{number}").exists())
        kept = path.with_name(f"{path.name}.bak-{next(numbers)}")
        shutil.copy2(path, kept)
        shutil.copymode(path, new)
        sys.stdout.write(f"kept {kept}\n")
    new.replace(path)
