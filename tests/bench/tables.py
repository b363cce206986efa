"""The tables of the bench, and the aims that a run is judged by. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MB = 1e6


@dataclass(frozen=True, slots=True)
class Aim:
    """One promise about speed: what was measured, and the most that it may be, or the least."""

    what: str
    measured: float
    bound: float
    unit: str
    least: bool = False

    @property
    def held(self) -> bool:
        """Whether it holds in this run."""
        return self.measured >= self.bound if self.least else self.measured <= self.bound

    def __str__(self) -> str:
        return f"{self.measured:{'.2f' if self.unit == 'x' else '.0f'}} {self.unit}"


def table(title: str, headings: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    """The first column is words, the others are numbers."""
    made = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, pad_edge=False)
    made.add_column(no_wrap=True)
    for heading in headings:
        made.add_column(heading, justify="right")
    for row in rows:
        made.add_row(*row)
    return made


def aim_table(judged: Iterable[Aim]) -> Table:
    """Each aim, and what became of it."""
    return table(
        "aims",
        ("measured", "aim", ""),
        (
            (
                aim.what,
                str(aim),
                f"at {'least' if aim.least else 'most'} {aim.bound:.4g} {aim.unit}",
                "[green]holds[/]" if aim.held else "[red]missed[/]",
            )
            for aim in judged
        ),
    )
