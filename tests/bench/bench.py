"""Bulkhead beside a direct process and `docker run -i`, measured in one run, by turns: `make bench`.

    python -m tests.bench.bench [--json FILE] [--quick]

The machine's own noise reaches all ways alike, because each round measures every way once. Starts are medians; a call's
warm-up is left out. A percentile is a value that was measured, never a mean of two.
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tests.bench.judging_costs import measure_judging
from tests.bench.memory import family
from tests.bench.network import measure_network
from tests.bench.percentile import p50_and_p99, percentile
from tests.bench.report import report
from tests.bench.secret_costs import measure_secrets
from tests.bench.session import Session
from tests.bench.ways import BIN, WAYS, Server, servers

if TYPE_CHECKING:
    from collections.abc import Sequence

STARTS = 10
# Bytes of a call's argument, which come back as its result: (rounds, calls of one way in a round).
CALLS = {100: (20, 100), 1_000_000: (12, 5)}
# Rounds, and in each connections of a kind, and seconds of a transfer.
NETWORK: dict[str, Any] = {"rounds": 5, "count": 40, "seconds": 1.0}
QUICK_NETWORK: dict[str, Any] = {"rounds": 1, "count": 20, "seconds": 0.3}
# Rounds, and in each requests of a kind, and calls.
SECRETS = {"rounds": 10, "count": 40, "calls": 100}
QUICK_SECRETS = {"rounds": 2, "count": 20, "calls": 50}
# Rounds, and in each calls of one way.
JUDGING = {"rounds": 20, "calls": 50}
QUICK_JUDGING = {"rounds": 2, "calls": 50}
_WARM_UP = 20
_BEFORE_MEMORY = 100


def measure_starts(compared: Sequence[Server], count: int) -> dict[str, dict[str, float]]:
    """Seconds from a process's start to its tools, by server and way: the median."""
    taken: dict[str, dict[str, list[float]]] = {server.name: {way: [] for way in WAYS} for server in compared}
    for _ in range(count):
        for server in compared:
            for way, command in zip(WAYS, server.commands, strict=True):
                with Session(command) as session:
                    taken[server.name][way].append(session.open())
    return {name: {way: percentile(values, 50) for way, values in ways.items()} for name, ways in taken.items()}


def measure_calls(server: Server, share: float) -> dict[str, Any]:
    """Seconds of an echo by size, way and percentile; and who holds how much memory after 100 calls."""
    with ExitStack() as stack:
        sessions = []
        for command in server.commands:
            session = stack.enter_context(Session(command))
            sessions.append(session)
            session.open()
            for _ in range(_BEFORE_MEMORY):
                session.echo("x" * 100)
        memory = {way: family(session.process.pid) for way, session in zip(WAYS, sessions, strict=True)}
        calls = {
            size: _calls(sessions, size, max(1, int(rounds * share)), each) for size, (rounds, each) in CALLS.items()
        }
    return {"calls": calls, "memory": memory}


def _calls(sessions: Sequence[Session], size: int, rounds: int, each: int) -> dict[str, dict[str, float]]:
    text = "x" * size
    for session in sessions:
        for _ in range(min(_WARM_UP, each)):
            session.echo(text)
    taken: list[list[float]] = [[] for _ in sessions]
    for _ in range(rounds):
        for values, session in zip(taken, sessions, strict=True):
            values += [session.echo(text) for _ in range(each)]
    return {way: p50_and_p99(values) for way, values in zip(WAYS, taken, strict=True)}


def measure(folder: Path, console: Console, *, quick: bool) -> dict[str, Any]:
    """All of it: {"starts": {server: {way: s}}, "calls": {size: {way: {p50, p99}}}, "memory": {way: [Memory]},
    "network": see measure_network(), "secrets": see measure_secrets(), "judging": see measure_judging()}.
    """
    with console.status("installing the servers") as status:
        compared = servers(folder)
        status.update("starting")
        starts = measure_starts(compared, 3 if quick else STARTS)
        status.update("calling")
        called = measure_calls(compared[0], 0.1 if quick else 1)
        status.update("connecting")
        network = measure_network(folder, **(QUICK_NETWORK if quick else NETWORK))
        status.update("asking")
        secrets = measure_secrets(folder, **(QUICK_SECRETS if quick else SECRETS))
        status.update("judging")
        judging = measure_judging(folder, **(QUICK_JUDGING if quick else JUDGING))
    return {"starts": starts, "network": network, "secrets": secrets, "judging": judging} | called


def main() -> None:
    """Measures, prints the tables, and writes the numbers to --json."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    args = parser.parse_args()
    console = Console(highlight=False)
    numbers = measure(BIN.parent / "bench", console, quick=args.quick)
    judged = report(numbers, console)
    load = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
    console.print(f"\n{load}; p50 and p99 are of the same run, taken by turns", style="dim")
    if args.json:
        args.json.write_text(json.dumps(judged, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
