"""The bench's tables: every number beside the others, and each aim with what became of it. PURE but for printing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.bench import judging_report, network_report, secret_report
from tests.bench.tables import MB, Aim, aim_table, table
from tests.bench.ways import ECHO, NETWORKED, WAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from tests.bench.memory import Memory

DIRECT, DOCKER, BULKHEAD = WAYS
_SIZES = {100: "100 B", 1_000_000: "1 MB"}


def aims(numbers: dict[str, Any]) -> list[Aim]:
    """The aims, in the order of the tables."""
    small, large = numbers["calls"][100], numbers["calls"][1_000_000]
    starts, runner = numbers["starts"], numbers["memory"][BULKHEAD][0]
    gate = starts[NETWORKED][BULKHEAD] - starts[ECHO][BULKHEAD]
    return [
        *(
            Aim(f"start of {server}, to docker run -i", taken[BULKHEAD] / taken[DOCKER], 1.3, "x")
            for server, taken in starts.items()
            if server != NETWORKED
        ),
        Aim(f"start of {NETWORKED}, over {ECHO}", gate * 1e3, 250, "ms"),
        Aim("100 B call p50, over docker run -i", (small[BULKHEAD]["p50"] - small[DOCKER]["p50"]) * 1e6, 150, "us"),
        Aim("1 MB call p50, to docker run -i", large[BULKHEAD]["p50"] / large[DOCKER]["p50"], 1.5, "x"),
        Aim("runner, resident after 100 calls", runner.rss / MB, 45, "MB"),
        *network_report.aims(numbers["network"]),
        *judging_report.aims(numbers["judging"]),
    ]


def report(numbers: dict[str, Any], console: Console) -> dict[str, Any]:
    """Prints the tables; returns the numbers as JSON, with the aims."""
    network = numbers["network"]
    memory = numbers["memory"] | {f"{BULKHEAD}, with a network": network["memory"]}
    judged = aims(numbers)
    console.print(_compared("start to answered tools/list, median", "ms", numbers["starts"].items()))
    console.print(_compared("calls that echo their argument", "us", _call_rows(numbers)))
    secrets, judging = secret_report.tables(numbers["secrets"]), judging_report.tables(numbers["judging"])
    for made in (*network_report.tables(network), *secrets, *judging):
        console.print(made)
    console.print(_memory_table(memory))
    console.print(aim_table(judged))
    return numbers | {
        "network": {key: value for key, value in network.items() if key != "memory"},
        "memory": {way: [asdict(member) for member in members] for way, members in memory.items()},
        "aims": [asdict(aim) | {"held": aim.held} for aim in judged],
    }


def _compared(title: str, unit: str, rows: Iterable[tuple[str, dict[str, float]]]) -> Table:
    scale = {"ms": 1e3, "us": 1e6}[unit]
    cells = (
        (
            name,
            *(f"{taken[way] * scale:,.0f}" for way in WAYS),
            f"{taken[BULKHEAD] / taken[DOCKER]:.2f} x",
            f"{(taken[BULKHEAD] - taken[DOCKER]) * scale:+,.0f}",
        )
        for name, taken in rows
    )
    return table(f"{title} ({unit})", (*WAYS, "to docker", "over docker"), cells)


def _call_rows(numbers: dict[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    for size, ways in numbers["calls"].items():
        for percent in ("p50", "p99"):
            yield f"{_SIZES[size]} {percent}", {way: taken[percent] for way, taken in ways.items()}


def _memory_table(memory: Mapping[str, Sequence[Memory]]) -> Table:
    cells = (
        (
            f"  its child {member.name}" if index else way,
            *(f"{size / MB:.1f}" for size in (member.rss, member.pss, member.uss)),
        )
        for way, members in memory.items()
        for index, member in enumerate(members)
    )
    return table("memory after 100 calls (MB)", ("resident", "shared out", "its own"), cells)
