"""The books of a session in a test: a real audit log and real pins, in a folder of the test's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bulkhead.audit.log import AuditLog
from bulkhead.judgement import Books
from bulkhead.killed import Watch
from bulkhead.pins import PinBook

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.baselines import Baseline


def books_in(state: Path, *, mode: Any = "first-use", baseline: Baseline | None = None, values: bool = False) -> Books:
    """Fresh ones; what is pinned in state stays."""
    return Books(
        state=state,
        session="0123456789ab",
        user="ada",
        killed=Watch(state, "test"),
        audit=AuditLog(state / "audit"),
        pins=PinBook(state, "test", mode=mode, others=dict),
        begun={},
        baseline=baseline,
        values=values,
    )


def records_in(state: Path) -> list[dict[str, Any]]:
    """The records, without what a log adds of its own."""
    lines = (state / "audit" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for line in lines if (record := json.loads(line))["event"] != "checkpoint"]
