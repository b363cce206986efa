"""`bulkhead images build|ls|rm`: what servers run from. Without a name, `build` makes all that is shipped."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from bulkhead.errors import EngineError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from bulkhead.engines.base import Engine, ImageInfo
    from bulkhead.spec import Server

_EXAMPLES = """examples:
  bulkhead images build          all that is shipped
  bulkhead images build time npm:@modelcontextprotocol/server-memory@2026.7.4
  bulkhead images ls
  bulkhead images rm NAME        as `images ls` shows it
"""


def add_parser(commands: Any) -> None:
    """The command and its three parts."""
    parser = commands.add_parser(
        "images", help="builds, lists and removes the images that servers run from", epilog=_EXAMPLES
    )
    parts = parser.add_subparsers(metavar="build|ls|rm", required=True)
    building = parts.add_parser("build", help="builds what is not there yet; run again, it does nothing")
    building.add_argument("names", nargs="*", metavar="NAME", help="a profile, bulkhead/NAME, or npm:NAME@VERSION")
    building.set_defaults(run=_command(lambda args, engine: build(args.names, engine)))
    listing = parts.add_parser("ls", help="the images that were built")
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=_command(lambda args, engine: list_(engine, as_json=args.json)))
    removing = parts.add_parser("rm", help="removes images")
    removing.add_argument("names", nargs="+", metavar="NAME", help="as `bulkhead images ls` shows it")
    removing.set_defaults(run=_command(lambda args, engine: remove(args.names, engine)))


async def build(names: Sequence[str], engine: Engine) -> int:
    """Builds the images of these names, or of everything that is shipped, and removes what they replace."""
    from rich.console import Console

    from bulkhead.config import state_dir
    from bulkhead.supply.images import image_for

    console = Console(highlight=False, markup=False)
    built = []
    with console.status("looking for the images") as status:
        say = status.update if console.is_terminal else partial(console.print, soft_wrap=True)
        for server in [_server(name) for name in names] if names else _shipped():
            await _remove_outdated(engine, server)
            built.append(await image_for(server, engine, state=state_dir(), say=say))
            console.print(f"{built[-1].name}  {built[-1].digest[:19]}", soft_wrap=True)
    await _remove_replaced(engine, {image.name: image.digest for image in built})
    return 0


async def list_(engine: Engine, *, as_json: bool) -> int:
    """Prints the images: name, size, age, package."""
    rows = [_row(image) for image in await engine.images.list()]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("IMAGE", "DIGEST", "SIZE", "BUILT"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(row["name"], row["digest"][7:19], f"{row['size'] / 1e6:.0f} MB", row["created"][:16])
    width = None if sys.stdout.isatty() else 160  # a name is read by programs, too, where it is no terminal
    Console(highlight=False, markup=False, width=width).print(table if rows else "no images")
    return 0


async def remove(names: Sequence[str], engine: Engine) -> int:
    """Removes all images of these names. Raises UsageError for a name that none has."""
    images = await engine.images.list()
    for name in names:
        found = [image for image in images if name in (image.name, image.name.removesuffix(":latest"), image.digest)]
        if not found:
            raise UsageError(f"no image {name!r}", hint="`bulkhead images ls` lists them")
        for image in found:
            await engine.images.remove(image.digest)
            sys.stdout.write(f"removed {image.name}  {image.digest[:19]}\n")
    return 0


def _command(work: Callable[[argparse.Namespace, Engine], Awaitable[int]]) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        import anyio

        async def main() -> int:
            from bulkhead.config import load_settings, state_dir
            from bulkhead.engines.registry import open_engine

            engine = open_engine(load_settings().engine, state=state_dir())
            try:
                await engine.reap()
                return await work(args, engine)
            finally:
                await engine.close()

        return anyio.run(main)

    return run


def _shipped() -> Iterator[Server]:
    """The images of all recipes, and the servers of all shipped profiles."""
    from bulkhead.config import load_profile
    from bulkhead.resources import folder
    from bulkhead.supply.recipes import names

    yield from map(_server, names())
    for path in sorted((folder("profiles") / "servers").glob("*.toml")):
        yield load_profile(path).server


def _server(name: str) -> Server:
    """What a name means: an image of ours, a package with its version, or a profile."""
    from pathlib import Path

    from bulkhead.config import find_profile, load_profile
    from bulkhead.spec import Server
    from bulkhead.supply.names import parse

    unused = ("-",)  # a command is needed to run, not to build
    if name.startswith("bulkhead/"):
        return Server(image=name, command=unused)
    if name.startswith(("npm:", "pypi:")):
        return Server(package=str(parse(name)), command=unused)
    return load_profile(find_profile(name, Path.cwd())).server


async def _remove_outdated(engine: Engine, server: Server) -> None:
    """A package's image that stands on another base than today's: it is installed again, from the same lock."""
    from bulkhead.config import state_dir
    from bulkhead.supply.images import BASE, find, find_base
    from bulkhead.supply.names import parse

    found = find(server, engine, state=state_dir()) if server.package else None
    base = find_base(engine, parse(server.package).recipe) if found else None
    if found and base and found.labels.get(BASE) != base.digest:
        await engine.images.remove(found.digest)


async def _remove_replaced(engine: Engine, built: Mapping[str, str]) -> None:
    """What nothing finds any more: another image of a name, or one that an older recipe made of a package.

    One that a sandbox still runs from stays.
    """
    from bulkhead.supply.images import PACKAGE, RECIPE
    from bulkhead.supply.recipes import names, recipe

    today = {recipe(name).digest for name in names()}
    images = await engine.images.list()
    packages = {image.labels.get(PACKAGE) for image in images if image.name in built} - {None}
    for image in images:
        older = image.labels.get(PACKAGE) in packages and image.labels.get(RECIPE) not in today
        if older or built.get(image.name, image.digest) != image.digest:
            with suppress(EngineError):
                await engine.images.remove(image.digest)


def _row(image: ImageInfo) -> dict[str, Any]:
    created = datetime.fromtimestamp(image.created, UTC).isoformat(timespec="seconds")
    row = {"name": image.name, "digest": image.digest, "size": image.size, "created": created}
    return row | {"package": image.labels.get("bulkhead.package", ""), "lock": image.labels.get("bulkhead.lock", "")}
