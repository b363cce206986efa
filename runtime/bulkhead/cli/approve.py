"""`bulkhead approve` and `reject`: what of a server is not as it was approved, and the person's word on it.

Rules: what is decided is what was shown, see pins/decide.py. Nobody is taken to have agreed: without a terminal it
takes --yes. A decision is on record before it holds.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.cli.target import add_target
from bulkhead.errors import DeniedError, IntegrityError, ProfileError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    from bulkhead.pins.store import Pins, Store
    from bulkhead.pins.waiting import Waiting

_APPROVE = """examples:
  bulkhead approve                         what waits on this machine
  bulkhead approve github                  the difference, leaf by leaf; then it asks
  bulkhead approve github --item tool:search
  bulkhead approve --call 3f9a1c07         one call that waits
"""
_REJECT = """examples:
  bulkhead reject github --item tool:search
  bulkhead reject --call 3f9a1c07
"""


def add_parser(commands: Any) -> None:
    """The two commands."""
    approve = commands.add_parser(
        "approve", help="shows what waits for your word, leaf by leaf, and asks", epilog=_APPROVE
    )
    reject = commands.add_parser("reject", help="says no to what waits: it stays held", epilog=_REJECT)
    for parser, run in ((approve, _approve), (reject, _reject)):
        add_target(parser)
        parser.add_argument("--item", action="append", default=[], metavar="KEY", help="this alone, as tool:NAME")
        parser.add_argument("--call", metavar="ID", default="", help="one call that waits, in the place of a server")
        parser.set_defaults(run=run)
    approve.add_argument("--all", action="store_true", help="of every server, and what was rejected of one")
    approve.add_argument("--yes", action="store_true", help="do not ask")
    approve.add_argument("--json", action="store_true", help="for programs; only shows, without --yes")


def server_key(args: argparse.Namespace, state: Path) -> str:
    """The key of the server that is named; "" where none is. A key itself is a name, too."""
    from bulkhead.config import Flags, find_profile
    from bulkhead.config.keys import command_key, profile_key
    from bulkhead.config.launchers import name_of, parse_command
    from bulkhead.pins import keys

    if len([word for word in (args.name, args.profile, args.command) if word]) > 1:
        raise UsageError("more than one server is named", hint="give one of: NAME, --profile FILE, or -- npx ...")
    if args.command:
        name = name_of(parse_command(args.command).package)
        return command_key(name, args.command, Flags(args.mount, args.allow, args.secret))
    if args.profile or not args.name:
        return profile_key(args.profile) if args.profile else ""
    try:
        return profile_key(find_profile(args.name, Path.cwd()))
    except ProfileError:
        if args.name in keys(state):
            return str(args.name)
        raise


def who() -> str:
    """USER@HOST (uid N), as the system knows them: variables can say anything."""
    uid, name = os.getuid(), ""
    with suppress(KeyError):
        name = pwd.getpwuid(uid).pw_name
    return f"{name or uid}@{os.uname().nodename} (uid {uid})"


def record(state: Path, key: str, decision: str, what: Mapping[str, str], *, reason: str = "") -> None:
    """On the audit log, synced. what: a digest for each item. Raises IntegrityError (reason ``audit``)."""
    from bulkhead.audit.log import AuditLog
    from bulkhead.audit.record import Record

    notes = tuple(f"{item} {digest}" for item, digest in what.items())
    with closing(AuditLog(state / "audit")) as log:
        log.add(Record("approval", decision, key, "", reason=reason, notes=notes, actor=who()))


def agreed(question: str, *, yes: bool) -> bool:
    """Asks at the terminal. Raises UsageError where there is none, and no --yes."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked", why="stdin is no terminal", hint="--yes takes what is shown above")
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _approve(args: argparse.Namespace) -> int:
    from bulkhead.config import state_dir
    from bulkhead.pins import Store, keys

    state = state_dir()
    if args.call:
        return _decide_call(args, state, allow=True)
    key = server_key(args, state)
    if not key and not args.all:
        return _list(state, as_json=args.json)
    shown = list[dict[str, Any]]()
    for each in [key] if key else keys(state):
        store = Store(state, each)
        seen, chosen = store.pins(), _chosen(store.waiting(), args.item, rejected=bool(key) and args.all)
        shown += _show(each, seen, chosen, as_json=args.json)
        possible = {item: entry for item, entry in chosen.items() if not entry.odd}
        if possible and (args.yes or not args.json):
            _ask_and_approve(state, store, seen, possible, yes=args.yes, quiet=args.json)
    if args.json:
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    return 0


def _ask_and_approve(
    state: Path, store: Store, seen: Pins, chosen: Mapping[str, Waiting], *, yes: bool, quiet: bool
) -> None:
    from bulkhead.pins.decide import approve

    if not agreed(f"approve {_count(chosen)} of {store.key}?", yes=yes):
        raise DeniedError("nothing was approved", why="you did not agree", hint="`bulkhead reject` says no for good")
    digests = {item: entry.digest for item, entry in chosen.items()}
    record(state, store.key, "allow", digests)
    try:
        approve(store, seen, chosen, by=who())
    except IntegrityError:
        record(state, store.key, "deny", digests, reason="pin")
        raise
    if not quiet:
        sys.stdout.write(f"approved {_count(chosen)} of {store.key}\n")


def _reject(args: argparse.Namespace) -> int:
    from bulkhead.config import state_dir
    from bulkhead.pins import Store
    from bulkhead.pins.decide import reject

    state = state_dir()
    if args.call:
        return _decide_call(args, state, allow=False)
    key = server_key(args, state)
    if not key:
        raise UsageError("which server?", hint="`bulkhead approve` lists what waits")
    store = Store(state, key)
    seen, chosen = store.pins(), _chosen(store.waiting(), args.item, rejected=False)
    if not chosen:
        raise UsageError(f"nothing of {key} waits", hint="`bulkhead approve` lists what waits")
    record(state, key, "deny", {item: entry.digest for item, entry in chosen.items()}, reason="rejected")
    reject(store, seen, chosen, by=who())
    sys.stdout.write(f"rejected {_count(chosen)} of {key}\n")
    return 0


def _chosen(waiting: Mapping[str, Waiting], items: Iterable[str], *, rejected: bool) -> dict[str, Waiting]:
    """Those that are named; else all that wait."""
    from bulkhead.cli.difference import clean

    items = list(items)
    for item in items:
        if item not in waiting:
            names = ", ".join(clean(key) for key in list(waiting)[:20])
            raise UsageError(f"{clean(item)[:200]} does not wait", why=f"what waits: {names or 'nothing'}")
    if items:
        return {item: waiting[item] for item in items}
    return {item: entry for item, entry in waiting.items() if rejected or not entry.rejected}


def _show(key: str, seen: Pins, chosen: Mapping[str, Waiting], *, as_json: bool) -> list[dict[str, Any]]:
    from bulkhead.cli import difference

    found = {item: difference.changes(seen, item, entry) for item, entry in chosen.items()}
    if as_json:
        return [difference.as_json(key, item, entry, found[item]) for item, entry in chosen.items()]
    sys.stdout.write(f"{key}: {_count(chosen) if chosen else 'nothing waits'}\n")
    for item, entry in chosen.items():
        difference.print_lines(difference.lines(item, entry, found[item]))
    return []


def _count(chosen: Mapping[str, Waiting]) -> str:
    return "1 item" if len(chosen) == 1 else f"{len(chosen)} items"


def _list(state: Path, *, as_json: bool) -> int:
    """All that waits on this machine: items, and calls."""
    from bulkhead.approvals import all_waiting
    from bulkhead.pins import Store, keys

    rows = [
        {"server": key, "item": item, "why": "; ".join(entry.why), "since": entry.since}
        for key in keys(state)
        for item, entry in Store(state, key).waiting().items()
        if not entry.rejected
    ]
    rows += [
        {"server": call.server, "item": f"call {call.id}", "why": f"{call.tool}: {call.why}", "since": ""}
        for call in all_waiting(state)
    ]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        _print_table(rows)
    return 0


def _print_table(rows: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from bulkhead.cli.difference import clean
    from bulkhead.cli.trace import UNWRAPPED

    table = Table(box=None, pad_edge=False)
    for heading in ("SERVER", "ITEM", "WHY", "SINCE"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(clean(row[name][:500]) for name in ("server", "item", "why", "since")))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = UNWRAPPED
    console.print(table if rows else "nothing waits")


def _decide_call(args: argparse.Namespace, state: Path, *, allow: bool) -> int:
    """One call: the runner that waits for it writes the record."""
    from bulkhead.approvals import all_waiting, decide
    from bulkhead.cli.difference import clean

    call = next((call for call in all_waiting(state) if call.id == args.call), None)
    if call is None:
        raise UsageError(f"no call {args.call[:80]!r} waits", hint="`bulkhead approve` lists what waits")
    arguments = "\n".join(map(clean, json.dumps(call.arguments, indent=2).split("\n")))
    sys.stdout.write(f"{call.server}: {clean(call.tool)} ({clean(call.why)})\n{arguments}\n")
    if allow and not agreed("allow this call, once?", yes=args.yes):
        raise DeniedError("the call still waits", why="you did not agree", hint=f"`bulkhead reject --call {call.id}`")
    decide(state, call, allow=allow, actor=who())
    sys.stdout.write("allowed\n" if allow else "denied\n")
    return 0
