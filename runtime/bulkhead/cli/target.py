"""Which server a command is about: a profile's name, a file, or an `npx` or `uvx` command line after ``--``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from bulkhead.config import Flags
    from bulkhead.engines.base import Engine
    from bulkhead.spec import ServerSpec


def add_target(parser: argparse.ArgumentParser) -> None:
    """The arguments that name a server and add to what it may do."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a profile's name; `bulkhead profile ls` lists them")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="a profile's file, in the place of NAME")
    parser.add_argument("--mount", action="append", default=[], metavar="SOURCE:TARGET[:rw]", help="adds [[mounts]]")
    parser.add_argument("--allow", action="append", default=[], metavar="HOST:PORT", help="adds [[egress]]")
    parser.add_argument("--secret", action="append", default=[], metavar="NAME=FROM", help="adds [[secrets]]")


async def spec_for(args: argparse.Namespace, engine: Engine, say: Callable[[str], None]) -> ServerSpec:
    """The ServerSpec. Raises UsageError, ProfileError; StartError if a package's newest version cannot be found."""
    from bulkhead.config import Flags, find_profile, load_profile

    given = [word for word in (args.name, args.profile, args.command) if word]
    if len(given) != 1:
        what = "which server?" if not given else "more than one server is named"
        raise UsageError(what, hint="give one of: NAME, --profile FILE, or -- npx -y PACKAGE ARGS")
    flags = Flags(args.mount, args.allow, args.secret)
    if args.command:
        return await _from_command(args.command, flags, engine, say)
    return load_profile(args.profile or find_profile(args.name, Path.cwd()), flags=flags)


async def _from_command(argv: list[str], flags: Flags, engine: Engine, say: Callable[[str], None]) -> ServerSpec:
    from bulkhead import config
    from bulkhead.config import launchers
    from bulkhead.supply.images import resolve_newest

    command = launchers.parse_command(argv)
    newest = ""
    if not command.version:
        newest = await resolve_newest(command.package, engine, state=config.state_dir(), say=say)
        say(f"{command.package}: version {newest}, and so from now on")
    spec = config.spec_from_command(argv, resolve=lambda _: newest, flags=flags)
    for path in config.unmounted_paths(spec):
        say(f"{path} is not visible to the server; --mount {path}:{path} would show it")
    return spec
