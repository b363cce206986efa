"""`bulkhead kill` and `release`: the kill switch of one server, or of all, which stays on until it is released.

Rules: the mark is written first, and so no start and no request goes through from then on. Runners are told, and have a
second; one that has not heard by then is killed. Whatever still runs in a sandbox then is ended through the kernel, and
the engine is asked last, for what is left of the containers (victims.py has these steps). All of it is done before it
is put on record, and a record that cannot be written is told.
"""

from __future__ import annotations

import os
import pwd
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from bulkhead import killed
from bulkhead.cli import tell
from bulkhead.cli.victims import OTHERS, finish, none_left, remove, told, wait, within
from bulkhead.errors import BulkheadError, IntegrityError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bulkhead.audit.record import Value
    from bulkhead.cli.victims import Victim

_KILL = """examples:
  bulkhead kill github --reason "it sends what nobody asked for"
  bulkhead kill --all
"""
_RELEASE = """examples:
  bulkhead release github
  bulkhead release --all
"""


def add_parser(commands: Any) -> None:
    """The two commands."""
    kill_help = "stops a server at once, whatever hangs; it stays stopped until released"
    kill = commands.add_parser("kill", help=kill_help, epilog=_KILL)
    kill.add_argument(
        "name", nargs="?", metavar="NAME|ID", help="the server, or one of its sandboxes: see `bulkhead ps`"
    )
    kill.add_argument("--all", action="store_true", help="every server of this user")
    kill.add_argument("--reason", metavar="TEXT", default="", help="what its users are told, and the record says")
    kill.set_defaults(run=_kill)
    release = commands.add_parser("release", help="lets a server start again that was killed", epilog=_RELEASE)
    release.add_argument("name", nargs="?", metavar="NAME")
    release.add_argument("--all", action="store_true", help="every server that was killed")
    release.set_defaults(run=_release)


# kill


def _kill(args: argparse.Namespace) -> int:
    from bulkhead.config import state_dir

    state, begun = state_dir(), time.monotonic()
    name, actor = _named(args, state), _actor()
    reason = args.reason or f"killed by {actor}"
    failures = _failure(lambda: _mark(state, name, reason, actor))
    victims = told(state, name)
    wait(state, victims, begun)
    for victim in victims:
        finish(victim, begun)
    failures += _failure(lambda: remove(state, name))
    failures += _failure(lambda: none_left(victims))
    _report(name, victims, failures)
    details = {"why": reason, "sessions": len(victims), "seconds": round(time.monotonic() - begun, 3)}
    failures += _failure(lambda: _record(state, "kill", name, actor, details))
    for failure in failures:
        tell(failure)
    return failures[0].exit_code if failures else 0


def _failure(step: Callable[[], object]) -> list[BulkheadError]:
    """What went wrong in a step, if anything: the next one is taken all the same."""
    try:
        step()
    except BulkheadError as error:
        return [error]
    return []


def _named(args: argparse.Namespace, state: Path) -> str:
    """The server's name, or ALL. Raises UsageError."""
    from bulkhead.sessions import read_sessions

    if bool(args.name) == args.all:
        raise UsageError("which server?", hint="give NAME, ID or --all; `bulkhead ps` lists those that run")
    if args.all:
        return killed.ALL
    sessions = list(read_sessions(state))
    of = {session.server for session in sessions if session.sandbox.startswith(args.name)}
    if len(of) == 1 and args.name not in {session.server for session in sessions}:
        return of.pop()
    return _checked(args.name)


def _checked(name: str) -> str:
    if killed.NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} is no server's name", hint="`bulkhead ps` lists those that run")
    return name


def _mark(state: Path, name: str, reason: str, actor: str) -> None:
    try:
        killed.mark(state, name, reason, actor)
    except OSError as error:  # a full disk must not stop the rest
        what, hint = "what was ended may start again", "make room, and kill it once more"
        why = f"that it is killed could not be written down: {error.strerror}"
        raise IntegrityError(what, why=why, hint=hint, reason="killed") from error


def _report(name: str, victims: Sequence[Victim], failures: Sequence[BulkheadError]) -> None:
    for victim in victims:
        session = victim.session
        which = f"{session.server} (runner {session.pid})"
        sys.stdout.write(f"{which}: {victim.outcome}, after {victim.seconds:.2f} s\n")
    if not victims:
        sys.stdout.write("no session of it runs\n" if name != killed.ALL else "no session runs\n")
    if not failures:
        sys.stdout.write(f"stays stopped until `bulkhead release {_which(name)}`\n")


# release


def _release(args: argparse.Namespace) -> int:
    from bulkhead.config import state_dir

    state, actor = state_dir(), _actor()
    for name in _held(args, killed.marked(state)):
        _record(state, "release", name, actor, {})  # first: what is not on record does not happen
        killed.released(state, name)
        sys.stdout.write(f"{'all' if name == killed.ALL else name}: released\n")
    if killed.ALL in killed.marked(state):
        sys.stdout.write("every server is killed all the same: `bulkhead release --all` ends that\n")
    return 0


def _held(args: argparse.Namespace, marked: Sequence[str]) -> Sequence[str]:
    """What is to be released. Raises UsageError."""
    hint = f"killed: {', '.join(map(_which, marked))}" if marked else "nothing is killed"
    if bool(args.name) == args.all:
        raise UsageError("which server?", why="NAME, or --all", hint=hint)
    if not marked or (args.name and args.name not in marked):
        raise UsageError(f"{args.name or 'any server'} was not killed", hint=hint)
    return [args.name] if args.name else marked


# Both


def _which(name: str) -> str:
    return "--all" if name == killed.ALL else name


def _actor() -> str:
    """USER@HOST, as the system knows them: variables can say anything."""
    uid = os.getuid()
    with suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name}@{os.uname().nodename}"
    return f"{uid}@{os.uname().nodename}"


def _record(state: Path, event: str, name: str, actor: str, details: Mapping[str, Value]) -> None:
    """Raises IntegrityError where it cannot be written."""
    from bulkhead.audit.log import AuditLog
    from bulkhead.audit.record import Record

    decision, reason = ("deny", "killed") if event == "kill" else ("allow", "")
    server = "*" if name == killed.ALL else name
    record = Record(event, decision, server, "", reason=reason, actor=actor, details=details)
    why = f"the log did not take it within {OTHERS:.0f} s"
    late = IntegrityError(f"the {event} is not on record", why=why, hint="see who holds the log", reason="audit")

    def add() -> None:
        with closing(AuditLog(state / "audit")) as log:
            log.add(record)

    within(OTHERS, add, late)
