"""`trace`: the last calls as a tree, from the trace files of all runners of this user."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict, deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.text import Text
    from rich.tree import Tree

    from bulkhead.trace_file import SpanLine

# A program that reads lines is helped by nothing that makes two of one; every name is at most 256 characters.
UNWRAPPED = 4096

_EXAMPLES = """examples:
  bulkhead trace                 the last 20 calls
  bulkhead trace github --last 5
  bulkhead trace --json
"""


class Traced(NamedTuple):
    """One call: what whoever asked had to wait for, and what the other side took, if it was sent there.

    connections are those of the sandbox's that began meanwhile. One that began when no call was in flight, or only such
    as were never sent or have not ended, stands alone.
    """

    server: SpanLine
    client: SpanLine | None = None
    connections: Sequence[SpanLine] = ()


def add_parser(commands: Any) -> None:
    """The command."""
    trace = commands.add_parser(
        "trace", help="last calls as a tree: time, cpu, memory, bytes, decisions", epilog=_EXAMPLES
    )
    trace.add_argument("name", metavar="NAME", nargs="?", default="", help="of one server alone")
    trace.add_argument("--last", metavar="N", type=_count, default=20, help="how many calls; 20")
    trace.add_argument("--json", action="store_true", help="their spans, for programs")
    trace.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints; 0 where there is nothing to print, too."""
    from bulkhead.cli import say
    from bulkhead.config.settings import state_path
    from bulkhead.trace_file import read_spans

    calls = last_calls(read_spans(state_path()), args.name, args.last)
    if args.json:
        spans = [asdict(span) for call in calls for span in (call.server, call.client, *call.connections) if span]
        sys.stdout.write(json.dumps(spans, indent=2) + "\n")
    elif calls:
        _print(calls)
    else:
        say(f"no calls{' of ' * bool(args.name)}{args.name} are recorded")
    return 0


def last_calls(spans: Iterable[SpanLine], name: str, count: int) -> list[Traced]:
    """The last count calls in the order of their start; of the server called name, or of all."""
    from bulkhead.telemetry import SERVER, SERVER_ADDRESS

    clients: dict[str, SpanLine] = {}
    sent: set[str] = set()
    connections: list[SpanLine] = []
    calls: deque[Traced] = deque(maxlen=count)
    for span in spans:
        if name and span.resource.get(SERVER) != name:
            continue
        if SERVER_ADDRESS in span.attributes:
            connections.append(span)
        elif span.kind == "CLIENT":  # it ends before the SERVER span that it belongs to
            sent.add(span.span_id)
            clients[span.parent_id] = span
        else:
            calls.append(Traced(span, clients.pop(span.span_id, None)))
    below: defaultdict[str, list[SpanLine]] = defaultdict(list)
    alone: list[Traced] = []
    for span in connections:
        above = sent & {span.parent_id, *(link.rpartition("-")[2] for link in span.links)}
        for call_id in above:
            below[call_id].append(span)
        if not above:
            alone.append(Traced(span))
    found = [call._replace(connections=below[call.client.span_id]) if call.client else call for call in calls]
    return sorted((*found, *alone), key=lambda call: call.server.start)[-count:]


def _print(calls: Sequence[Traced]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = UNWRAPPED
    for tree in trees(calls):
        console.print(tree)


def trees(calls: Sequence[Traced]) -> list[Tree]:
    """A tree a call. A call that another call's server made stands under that one."""
    from rich.tree import Tree

    roots: list[Tree] = []
    branches: dict[str, Tree] = {}
    for call in calls:
        above = branches.get(call.server.parent_id)
        tree = Tree(_head(call.server)) if above is None else above.add(_head(call.server))
        if above is None:
            roots.append(tree)
        if used := _used(call.server.attributes):
            tree.add(used)
        for event in call.server.events:
            tree.add(_event(event, call.server.start))
        if call.client is not None:
            branches[call.client.span_id] = branch = tree.add(_other_side(call))
            for connection in sorted(call.connections, key=lambda span: span.start):
                branch.add(_connection(connection))
    return roots


def _head(span: SpanLine) -> Text:
    from rich.text import Text

    from bulkhead import telemetry as names

    attributes = span.attributes
    decision, error = attributes.get(names.DECISION, "allow"), attributes.get(names.ERROR_TYPE, "")
    limit = attributes.get(names.LIMIT)
    parts = [
        (_clock(span.start), "dim"),
        (_text(span.resource.get(names.SERVER, "")), "cyan"),
        (_text(span.name), "bold"),
        (_seconds(span.end - span.start), ""),
        (_text(error), "red"),
        (f"limit {_text(limit)}" if limit and limit != error else "", "red"),
        (_text(decision) if decision != "allow" else "", "yellow"),
        ("restarted" if attributes.get(names.RESTARTED) else "", "yellow"),
        (f"({_text(attributes.get(names.DROPPED))} before are lost)" if names.DROPPED in attributes else "", "yellow"),
    ]
    return Text("  ").join(Text(text, style=style) for text, style in parts if text)


def _used(attributes: Any) -> str:
    from bulkhead import telemetry as names

    table = (
        (names.CPU_SECONDS, "cpu {}", lambda value: _seconds(value * 1e9)),
        (names.THROTTLED_SECONDS, "held back {}", lambda value: _seconds(value * 1e9)),
        (names.MEMORY_PEAK, "memory peak {}", _bytes),
        (names.BYTES_IN, "in {}", _bytes),
        (names.BYTES_OUT, "out {}", _bytes),
    )
    return ", ".join(
        text.format(show(attributes[key])) for key, text, show in table if isinstance(attributes.get(key), int | float)
    )


def _event(event: Any, begun: int) -> str:
    after = event["time"] - begun if isinstance(event.get("time"), int) else 0
    attributes = event.get("attributes")
    details = [f"{_text(k)}={_text(v)}" for k, v in attributes.items()] if isinstance(attributes, dict) else []
    return "  ".join([f"+{_seconds(after)}", _text(event.get("name", "")), *details])


def _connection(span: SpanLine) -> Text:
    from rich.text import Text

    from bulkhead import telemetry as names

    decision, reason = span.attributes.get(names.DECISION), _text(span.attributes.get(names.REASON, ""))
    untold = span.attributes.get(names.DROPPED)
    moved = [
        text.format(_bytes(count))
        for key, text in ((names.BYTES_SENT, "out {}"), (names.BYTES_RECEIVED, "in {}"))
        if isinstance(count := span.attributes.get(key), int) and count
    ]
    parts = [
        (_text(span.name), ""),
        (_seconds(span.end - span.start), ""),
        (", ".join(moved), ""),
        (f"refused: {reason}" if decision == "deny" else reason, "yellow" if decision == "deny" else "red"),
        (f"({_text(untold)} before are not shown)" if untold is not None else "", "yellow"),
    ]
    return Text("  ").join(Text(text, style=style) for text, style in parts if text)


def _other_side(call: Traced) -> Text:
    from rich.text import Text

    from bulkhead import telemetry as names

    span = call.client or call.server
    sandbox = f"sandbox {_text(span.attributes.get(names.SANDBOX_ID, ''))}".strip()
    who = "host" if call.server.attributes.get(names.ORIGIN) == "server" else sandbox
    error = _text(span.attributes.get(names.ERROR_TYPE, ""))
    parts = [who, _seconds(span.end - span.start)]
    return Text("  ").join([*(Text(part) for part in parts), *([Text(error, style="red")] if error else [])])


def _text(value: object) -> str:
    """A file is no reason to trust what stands in it."""
    from bulkhead.telemetry import clean

    return clean(str(value))


def _clock(nanoseconds: int) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).astimezone().strftime("%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"


def _seconds(nanoseconds: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6)):
        if nanoseconds >= size:
            return (
                f"{nanoseconds / size:.3g} {unit}" if nanoseconds < 1000 * size else f"{nanoseconds / size:.0f} {unit}"
            )
    return f"{nanoseconds / 1e3:.0f} us"


def _bytes(count: float) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 100_000:
        raise argparse.ArgumentTypeError("N is a whole number from 1 to 100000")
    return int(text)
