"""The bench's table of what judging costs. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.bench.judging_costs import BARE, JUDGED, UNSYNCED, WAYS
from tests.bench.tables import Aim, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table


def aims(judging: dict[str, Any]) -> list[Aim]:
    """With the sync, which is the disk's, and without."""
    calls = judging["calls"]
    return [
        Aim(f"100 B call p50, {way} over bare", (calls[way]["p50"] - calls[BARE]["p50"]) * 1e6, 150, "us")
        for way in (UNSYNCED, JUDGED)
    ]


def tables(judging: dict[str, Any]) -> Iterator[Table]:
    """One: the ways side by side."""
    calls = judging["calls"] | {"with rules": judging["rules"]}
    rows = [
        (percent, *(f"{values[percent] * 1e6:,.0f}" for values in calls.values()), f"{judging['sync'] * 1e6:,.0f}")
        for percent in ("p50", "p99")
    ]
    yield table("guards, pins and audit log, on a 100 B call (us)", (*WAYS, "with rules", "one sync of the disk"), rows)
