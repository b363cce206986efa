"""The bench's tables of secrets. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.bench.secret_costs import INJECTED, PLAIN, WAYS
from tests.bench.tables import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.table import Table

_HEADINGS = (*WAYS, "over plain")


def tables(secrets: dict[str, Any]) -> Iterator[Table]:
    """Of requests, and of calls with a lease."""
    rows = (
        _row(f"{kind} {percent}", ways, percent)
        for kind, ways in secrets["requests"].items()
        for percent in ("p50", "p99")
    )
    yield table("HTTPS requests through the gate (us)", _HEADINGS, rows)
    lease = [_row("100 B p50", secrets["calls"], "p50")]
    yield table("calls without and with a lease (us)", _HEADINGS, lease)


def _row(name: str, ways: Mapping[str, Mapping[str, float]], percent: str) -> tuple[str, ...]:
    over = ways[INJECTED][percent] - ways[PLAIN][percent]
    return name, *(f"{ways[way][percent] * 1e6:,.0f}" for way in WAYS), f"{over * 1e6:+,.0f}"
