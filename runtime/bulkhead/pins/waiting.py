"""What waits for a person: one entry an item, as held.json has it. PURE."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.policy.pins import Held

# A server can invent names for ever.
MOST, MOST_BYTES = 1000, 16 * 2**20


@dataclass(frozen=True, slots=True)
class Waiting:
    """One item. why: a line each; findings: as the scan's. since: when it was first seen.

    odd: why nobody can approve it, "" where one can. rejected: who said no, and when; "" while it waits.
    """

    digest: str
    definition: Any
    why: tuple[str, ...]
    since: str
    findings: tuple[Mapping[str, str], ...] = ()
    odd: str = ""
    rejected: str = ""

    @classmethod
    def read(cls, data: dict[str, Any]) -> Waiting:
        """What asdict() and JSON made of one. Raises TypeError or LookupError."""
        return cls(**data | {"why": tuple(data["why"]), "findings": tuple(data["findings"])})


def entry_of(held: Held, since: str) -> Waiting:
    """How a held item is kept."""
    findings = tuple(asdict(finding) for finding in held.findings)
    return Waiting(held.digest, held.definition, held.why, since, findings, held.odd)


def with_held(waiting: Mapping[str, Waiting], held: Mapping[str, Waiting]) -> dict[str, Waiting]:
    """What waits once held came. What was there already in the same form keeps its date, and that it was rejected."""
    merged = dict(waiting)
    for key, entry in held.items():
        was = waiting.get(key)
        same = was is not None and was.digest == entry.digest
        merged[key] = replace(entry, since=was.since, rejected=was.rejected) if was is not None and same else entry
    return merged


def bounded(waiting: Mapping[str, Waiting]) -> dict[str, Waiting]:
    """As much as there is room for: what waits before what was rejected, changes before new ones, then the oldest."""
    kept, room = set[str](), MOST_BYTES
    for key, entry in sorted(waiting.items(), key=_weight):
        room -= len(json.dumps(asdict(entry)))
        if room >= 0 and len(kept) < MOST:
            kept.add(key)
    return {key: entry for key, entry in waiting.items() if key in kept}


def _weight(item: tuple[str, Waiting]) -> tuple[bool, bool]:
    _, entry = item
    return bool(entry.rejected), not entry.why[0].startswith("changed")
