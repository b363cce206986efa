"""Which server a command is about: a profile's name, a file, or an `npx` or `uvx` command line after ``--``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from bulkhead.config import Flags
    from bulkhead.engines.base import Engine
    from bulkhead.spec import ServerSpec


@dataclass(frozen=True, slots=True)
class Target:
    """A server that was named. key: under which the state folder knows it, see config/keys.py.

    profile: as it is written, without what flags add. path: of its file, "" for a command line. strange: it came with a
    project, so somebody else may change it.
    """

    spec: ServerSpec
    key: str
    profile: Mapping[str, Any]
    path: str = ""
    strange: bool = False


def add_target(parser: argparse.ArgumentParser) -> None:
    """The arguments that name a server and add to what it may do."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a profile's name; `bulkhead profile ls` lists them")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="a profile's file, in the place of NAME")
    parser.add_argument("--mount", action="append", default=[], metavar="SOURCE:TARGET[:rw]", help="adds [[mounts]]")
    parser.add_argument("--allow", action="append", default=[], metavar="HOST:PORT", help="adds [[egress]]")
    parser.add_argument("--secret", action="append", default=[], metavar="NAME=FROM", help="adds [[secrets]]")


def known_target(args: argparse.Namespace, say: Callable[[str], None]) -> Target | None:
    """The server; None for a package whose newest version has to be asked for. Raises UsageError, ProfileError."""
    from bulkhead.config import find_profile, state_dir

    given = [word for word in (args.name, args.profile, args.command) if word]
    if len(given) != 1:
        what = "which server?" if not given else "more than one server is named"
        raise UsageError(what, hint="give one of: NAME, --profile FILE, or -- npx -y PACKAGE ARGS")
    if not args.command:
        return _from_profile(args, args.profile or find_profile(args.name, Path.cwd()), say)
    from bulkhead.config import launchers
    from bulkhead.supply.pins import pinned

    command = launchers.parse_command(args.command)
    newest = "" if command.version else pinned(command.package, state=state_dir())
    return _from_command(args, newest, say) if command.version or newest else None


async def resolved_target(args: argparse.Namespace, engine: Engine, say: Callable[[str], None]) -> Target:
    """Where known_target() has none. Raises StartError if the newest version cannot be found."""
    from bulkhead.config import launchers, state_dir
    from bulkhead.supply.pins import resolve_newest

    package = launchers.parse_command(args.command).package
    return _from_command(args, await resolve_newest(package, engine, state=state_dir(), say=say), say)


def _from_profile(args: argparse.Namespace, path: Path, say: Callable[[str], None]) -> Target:
    from bulkhead.config import load_profile

    spec = load_profile(path, flags=_flags(args))
    _tell_of_unused(spec, say)
    return profile_target(path, spec)


def profile_target(path: Path, spec: ServerSpec) -> Target:
    """The server of a profile that was loaded."""
    from bulkhead.config import profile_key
    from bulkhead.config.documents import read_document
    from bulkhead.config.mounts import project_of

    path = path.absolute()
    return Target(spec, profile_key(path), read_document(path).data, str(path), strange=project_of(path) is not None)


def _from_command(args: argparse.Namespace, newest: str, say: Callable[[str], None]) -> Target:
    from bulkhead import config

    spec = config.spec_from_command(args.command, resolve=lambda _: newest, flags=_flags(args))
    if newest:
        say(f"{spec.server.package.rpartition('@')[0]}: version {newest}, and so from now on")
    for path in config.unmounted_paths(spec):
        say(f"{path} is not visible to the server; --mount {path}:{path} would show it")
    return Target(spec, config.command_key(spec.name, args.command, _flags(args)), asdict(spec))


def _tell_of_unused(spec: ServerSpec, say: Callable[[str], None]) -> None:
    """A host's configuration that still has a secret, which the profile takes from elsewhere.

    Where its value stands in a host's file, `run` refuses it (run.py).
    """
    from os import environ

    names = [it.name for it in spec.secrets if it.name in environ and it.source != f"env:{it.name}"]
    if names:
        unused = f"{', '.join(names)} of the environment is not used, because the profile takes it from elsewhere"
        say(f"{spec.name}: {unused}; `bulkhead secrets scan` finds what a host's configuration should not have")


def _flags(args: argparse.Namespace) -> Flags:
    from bulkhead.config import Flags

    return Flags(args.mount, args.allow, args.secret)
