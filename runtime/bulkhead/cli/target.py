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


def known_spec(args: argparse.Namespace, say: Callable[[str], None]) -> ServerSpec | None:
    """The ServerSpec; None for a package whose newest version has to be asked for. Raises UsageError, ProfileError."""
    from bulkhead.config import find_profile, load_profile, state_dir

    given = [word for word in (args.name, args.profile, args.command) if word]
    if len(given) != 1:
        what = "which server?" if not given else "more than one server is named"
        raise UsageError(what, hint="give one of: NAME, --profile FILE, or -- npx -y PACKAGE ARGS")
    if not args.command:
        return load_profile(args.profile or find_profile(args.name, Path.cwd()), flags=_flags(args))
    from bulkhead.config import launchers
    from bulkhead.supply.pins import pinned

    command = launchers.parse_command(args.command)
    newest = "" if command.version else pinned(command.package, state=state_dir())
    return _from_command(args, newest, say) if command.version or newest else None


async def resolved_spec(args: argparse.Namespace, engine: Engine, say: Callable[[str], None]) -> ServerSpec:
    """Where known_spec() has none. Raises StartError if the newest version cannot be found."""
    from bulkhead.config import launchers, state_dir
    from bulkhead.supply.pins import resolve_newest

    package = launchers.parse_command(args.command).package
    return _from_command(args, await resolve_newest(package, engine, state=state_dir(), say=say), say)


def _from_command(args: argparse.Namespace, newest: str, say: Callable[[str], None]) -> ServerSpec:
    from bulkhead import config

    spec = config.spec_from_command(args.command, resolve=lambda _: newest, flags=_flags(args))
    if newest:
        say(f"{spec.server.package.rpartition('@')[0]}: version {newest}, and so from now on")
    for path in config.unmounted_paths(spec):
        say(f"{path} is not visible to the server; --mount {path}:{path} would show it")
    return spec


def _flags(args: argparse.Namespace) -> Flags:
    from bulkhead.config import Flags

    return Flags(args.mount, args.allow, args.secret)
