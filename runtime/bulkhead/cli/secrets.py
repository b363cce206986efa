"""`bulkhead secrets ls|test|scan|set|rm|revoke`: what profiles take from where, what lies open, and an end to it.

Rules: no value is ever printed, nor how long one is, nor the arguments of an exec: source, which may hold one. A value
is read from a terminal without echo, or from stdin, and never from the command line.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.cli import say, tell
from bulkhead.cli.profile import judged, plain
from bulkhead.errors import DeniedError, SecretError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkhead.spec import SecretBinding, ServerSpec

_HEADINGS = ("SERVER", "NAME", "FROM", "USE", "HOSTS", "TOOLS", "TTL")

_EXAMPLES = """examples:
  bulkhead secrets set github            typed without echo; then from = "keyring:github"
  pass show github | bulkhead secrets set github
  bulkhead secrets test github           fetches each, and prints none
  bulkhead secrets scan                  what lies open in the configurations of hosts
  bulkhead secrets revoke github         from now on, in all running sessions
"""


def add_parser(commands: Any) -> None:
    """The command and its six parts."""
    parser = commands.add_parser(
        "secrets", help="lists, tests, stores and revokes what servers need to know", epilog=_EXAMPLES
    )
    parts = parser.add_subparsers(metavar="ls|test|scan|set|rm|revoke", required=True)
    listing = parts.add_parser("ls", help="the secrets that profiles name, and where they come from")
    test = parts.add_parser("test", help="fetches each secret of a profile, and says whether that works")
    for part, run in ((listing, _ls), (test, _test)):
        part.add_argument("name", nargs="?", metavar="NAME", help="a profile's name")
        part.add_argument("--profile", metavar="FILE", type=Path, help="a file instead of a name")
        part.set_defaults(run=run)
    listing.add_argument("--json", action="store_true", help="for programs")
    test.add_argument("secret", nargs="?", metavar="SECRET", help="this one alone")
    scan = parts.add_parser("scan", help="finds those that lie open in the configurations of hosts; exit code 3")
    scan.add_argument("--json", action="store_true", help="for programs")
    scan.set_defaults(run=_scan)
    put = parts.add_parser("set", help="stores a value in the keyring: typed without echo, or read from stdin")
    remove = parts.add_parser("rm", help="deletes a value from the keyring")
    for part, run in ((put, _set), (remove, _rm)):
        part.add_argument("name", metavar="NAME", help='what stands in a profile as from = "keyring:NAME"')
        part.add_argument("--user", default="", help="for keyring:NAME/USER")
        part.set_defaults(run=run, value=[])
    put.add_argument("value", nargs="*", help=argparse.SUPPRESS)
    revoke = parts.add_parser("revoke", help="ends the secrets of a server's running sessions, for good")
    revoke.add_argument("name", metavar="NAME", help="the server, as `bulkhead ps` calls it")
    revoke.set_defaults(run=_revoke)


def _ls(args: argparse.Namespace) -> int:
    rows = [_row(spec, secret) for spec in _specs(args) for secret in spec.secrets]
    if args.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table

    from bulkhead.cli.trace import UNWRAPPED

    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in rows:
        cells = row | {"hosts": ", ".join(row["hosts"]), "tools": ", ".join(row["tools"]), "ttl": f"{row['ttl']:g} s"}
        table.add_row(*(plain(cell) or "-" for cell in cells.values()))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = UNWRAPPED
    console.print(table if rows else "no secrets")
    return 0


def _row(spec: ServerSpec, secret: SecretBinding) -> dict[str, Any]:
    where = {"server": spec.name, "name": secret.name, "from": _shown(secret.source), "use": secret.use}
    return where | {"hosts": secret.hosts, "tools": secret.tools, "ttl": secret.ttl}


def _shown(source: str) -> str:
    scheme, _, place = source.partition(":")
    return f'exec:["{json.loads(place)[0]}", ...]' if scheme == "exec" else source


def _specs(args: argparse.Namespace) -> Iterator[ServerSpec]:
    """The one that is named, or all that can be; what is wrong with one is `profile check`'s to tell."""
    from bulkhead.config import list_profiles

    if args.name or args.profile:
        yield _named(args)
        return
    for found in list_profiles(Path.cwd()):
        spec, _ = judged(found.path)
        if spec is not None:
            yield spec
        else:
            say(f"{plain(str(found.path))} is not valid: `bulkhead profile check` says why")


def _named(args: argparse.Namespace) -> ServerSpec:
    from bulkhead.config import find_profile, load_profile

    if (args.name is None) == (args.profile is None):
        raise UsageError("name one profile", hint="give NAME, or --profile FILE")
    return load_profile(args.profile or find_profile(args.name, Path.cwd()))


def _test(args: argparse.Namespace) -> int:
    if args.profile and args.secret is None:
        # No NAME stands there, so what argparse took for it is the SECRET.
        args.name, args.secret = None, args.name
    spec = _named(args)
    asked = [secret for secret in spec.secrets if args.secret in (None, secret.name)]
    if args.secret is not None and not asked:
        raise UsageError(f"{spec.name} has no secret of this name", hint="`bulkhead secrets ls` lists them")
    if not asked:
        say(f"{spec.name} has no secrets")
    works = [_works(secret) for secret in asked]
    return 0 if all(works) else SecretError.exit_code


def _works(secret: SecretBinding) -> bool:
    """Says it, too: first what is asked, since a provider may take its time, or ask the person."""
    sys.stdout.write(f"{secret.name} from {plain(_shown(secret.source))}: ")
    sys.stdout.flush()
    try:
        _fetch(secret)
    except SecretError as error:
        sys.stdout.write("failed\n")
        sys.stdout.flush()
        tell(error)
        return False
    sys.stdout.write("ok\n")
    return True


def _fetch(secret: SecretBinding) -> None:
    """As at a server's start; nothing is left of it at its provider. Raises SecretError."""
    from bulkhead.credentials.placeholder import placeholder_for
    from bulkhead.credentials.sources import provider_for

    fetched = provider_for(secret.source).fetch()
    try:
        if secret.use == "inject":
            placeholder_for(secret.name, fetched.value)
    finally:
        if fetched.revoke is not None:
            fetched.revoke()


def _scan(args: argparse.Namespace) -> int:
    """A file that cannot be looked through counts as one that has something."""
    from bulkhead.cli.hosts import as_row, plain_secrets_here, print_secrets

    found = plain_secrets_here()
    if args.json:
        sys.stdout.write(json.dumps([as_row(finding) for finding in found], indent=2) + "\n")
    else:
        print_secrets(found)
    return DeniedError.exit_code if found else 0


def _set(args: argparse.Namespace) -> int:
    from bulkhead.credentials.keyring import store

    if args.value:
        why = "it would be seen in the list of processes, and kept in the shell's history"
        hint = f"`bulkhead secrets set {args.name}` asks for it; if it was a real one, get another"
        raise UsageError("a value does not belong into the command line", why=why, hint=hint)
    store(_place(args), _typed(args.name))
    sys.stdout.write(f'from = "keyring:{plain(_place(args), quoted=True)}"\n')
    return 0


def _rm(args: argparse.Namespace) -> int:
    from bulkhead.credentials.keyring import delete

    delete(_place(args))
    sys.stdout.write(f"deleted keyring:{plain(_place(args))}\n")
    return 0


def _place(args: argparse.Namespace) -> str:
    return f"{args.name}/{args.user}" if args.user else str(args.name)


def _typed(name: str) -> str:
    """The value: from the terminal, or all of stdin, where one newline at the end is no part of it."""
    import warnings
    from getpass import GetPassWarning, getpass

    from bulkhead.credentials.base import MOST, without_newline

    try:
        if not sys.stdin.isatty():
            return without_newline(sys.stdin.buffer.read(MOST + 3)).decode()
        with warnings.catch_warnings(action="error", category=GetPassWarning):  # it would go on with echo
            return getpass(f"the value of {plain(name)}, which is not shown: ")
    except (EOFError, UnicodeDecodeError, GetPassWarning):
        why = "nothing came, or no text in UTF-8, or the terminal would have shown it"
        raise UsageError("no value was read", why=why, hint="type it in a terminal, or give it on stdin") from None


def _revoke(args: argparse.Namespace) -> int:
    """Only runners that have secrets listen for the signal; each is alive when read_sessions() gives it."""
    from bulkhead.config import state_path
    from bulkhead.sessions import read_sessions

    told = 0
    for session in read_sessions(state_path()):
        if session.server == args.name and session.secrets:
            with suppress(ProcessLookupError):
                os.kill(session.pid, signal.SIGUSR1)
                told += 1
    if not told:
        why = "none of this name runs, or it has no secrets"
        raise UsageError("there is no session to revoke secrets of", why=why, hint="`bulkhead ps` lists those that run")
    count = "1 session" if told == 1 else f"{told} sessions"
    sys.stdout.write(f"told {count} of {args.name}: calls that need a secret fail there from now on\n")
    return 0
