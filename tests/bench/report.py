"""The bench's tables: every number beside the others, and each aim with what became of it. PURE but for printing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tests.bench.ways import WAYS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

DIRECT, DOCKER, BULKHEAD = WAYS
_SIZES = {100: "100 B", 1_000_000: "1 MB"}
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Aim:
    """One promise about speed: what was measured, and the most that it may be."""

    what: str
    measured: float
    most: float
    unit: str

    @property
    def held(self) -> bool:
        """Whether it holds in this run."""
        return self.measured <= self.most

    def __str__(self) -> str:
        return f"{self.measured:{'.2f' if self.unit == 'x' else '.0f'}} {self.unit}"


def aims(numbers: dict[str, Any]) -> list[Aim]:
    """The aims, in the order of the tables."""
    small, large = numbers["calls"][100], numbers["calls"][1_000_000]
    runner = numbers["memory"][BULKHEAD][0]
    return [
        *(
            Aim(f"start of {server}, to docker run -i", taken[BULKHEAD] / taken[DOCKER], 1.3, "x")
            for server, taken in numbers["starts"].items()
        ),
        Aim("100 B call p50, over docker run -i", (small[BULKHEAD]["p50"] - small[DOCKER]["p50"]) * 1e6, 150, "us"),
        Aim("1 MB call p50, to docker run -i", large[BULKHEAD]["p50"] / large[DOCKER]["p50"], 1.5, "x"),
        Aim("runner, resident after 100 calls", runner.rss / _MB, 45, "MB"),
    ]


def report(numbers: dict[str, Any], console: Console) -> dict[str, Any]:
    """Prints the tables; returns the numbers as JSON, with the aims."""
    console.print(_table("start to answered tools/list, median", "ms", numbers["starts"].items()))
    console.print(_table("calls that echo their argument", "us", _call_rows(numbers)))
    console.print(_memory_table(numbers))
    console.print(_aim_table(aims(numbers)))
    memory = {way: [asdict(member) for member in members] for way, members in numbers["memory"].items()}
    judged = [asdict(aim) | {"held": aim.held} for aim in aims(numbers)]
    return numbers | {"memory": memory, "aims": judged}


def _new(title: str) -> Table:
    return Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, pad_edge=False)


def _table(title: str, unit: str, rows: Iterable[tuple[str, dict[str, float]]]) -> Table:
    table = _new(f"{title} ({unit})")
    table.add_column()
    for heading in (*WAYS, "to docker", "over docker"):
        table.add_column(heading, justify="right")
    scale = {"ms": 1e3, "us": 1e6}[unit]
    for name, taken in rows:
        ratio, over = taken[BULKHEAD] / taken[DOCKER], taken[BULKHEAD] - taken[DOCKER]
        cells = (f"{taken[way] * scale:,.0f}" for way in WAYS)
        table.add_row(name, *cells, f"{ratio:.2f} x", f"{over * scale:+,.0f}")
    return table


def _call_rows(numbers: dict[str, Any]) -> Iterable[tuple[str, dict[str, float]]]:
    for size, ways in numbers["calls"].items():
        for percent in ("p50", "p99"):
            yield f"{_SIZES[size]} {percent}", {way: taken[percent] for way, taken in ways.items()}


def _memory_table(numbers: dict[str, Any]) -> Table:
    table = _new("memory after 100 calls (MB)")
    for heading in ("", "resident", "shared out", "its own"):
        table.add_column(heading, justify="right" if heading else "left")
    for way, members in numbers["memory"].items():
        for index, member in enumerate(members):
            name = way if index == 0 else f"  its child {member.name}"
            table.add_row(name, *(f"{size / _MB:.1f}" for size in (member.rss, member.pss, member.uss)))
    return table


def _aim_table(judged: list[Aim]) -> Table:
    table = _new("aims")
    for heading in ("", "measured", "at most", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for aim in judged:
        verdict = "[green]holds[/]" if aim.held else "[red]missed[/]"
        table.add_row(aim.what, str(aim), f"{aim.most:g} {aim.unit}", verdict)
    return table
