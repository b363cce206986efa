"""What the gate costs a program that connects: beside Docker's plain bridge, and beside it with tinyproxy, by turns.

One program in the same image under the same limits, in every way, and one sink on this machine for all; "direct" runs
without a container, for scale. The processors are not limited here, for it is the network that is measured.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bench.memory import family
from tests.bench.network_ways import BULKHEAD, BY_NAME, KINDS, WAYS, open_ways
from tests.bench.percentile import p50_and_p99, percentile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.bench.memory import Memory
    from tests.bench.network_ways import Way

# How many connections at once, and whether the program sends.
TRANSFERS = {"1 down": (1, False), "1 up": (1, True), "50 down": (50, False), "50 up": (50, True)}
_BEFORE_MEMORY = 100


@dataclass(frozen=True, slots=True)
class Samples:
    """What was measured of one way: seconds by kind, bytes a second by transfer, the carrier's seconds and bytes."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    used: list[tuple[float, int]] = field(default_factory=list)

    def per_byte(self) -> float:
        """The carrier's seconds a byte."""
        return sum(used for used, _ in self.used) / sum(carried for _, carried in self.used)


def measure_network(folder: Path, *, rounds: int, count: int, seconds: float) -> dict[str, Any]:
    """In each round, every way: count connections of each kind, and a transfer of so many seconds of each.

    {"connect": {kind: {way: {p50, p99}}}, "rates": {transfer: {way: bytes/s}}, "used": {way: processor s/byte},
    "memory": [Memory]}: the runner's, once each of 100 calls has made a connection.
    """
    with ExitStack() as closing:
        ways = open_ways(closing, folder)
        memory = _memory_after_calls(ways[BULKHEAD])
        samples = {way: Samples() for way in WAYS}
        for _ in range(rounds):
            _round(ways, samples, count, seconds)
    return {
        "connect": {kind: {way: p50_and_p99(samples[way].seconds[kind]) for way in WAYS} for kind in KINDS},
        "rates": {name: {way: percentile(samples[way].rates[name], 50) for way in WAYS} for name in TRANSFERS},
        "used": {way: samples[way].per_byte() for way in WAYS},
        "memory": memory,
    }


def _round(ways: Mapping[str, Way], samples: Mapping[str, Samples], count: int, seconds: float) -> None:
    for kind in KINDS:
        for name, way in ways.items():
            samples[name].seconds[kind] += way.connect(kind, count)
    for transfer, (connections, up) in TRANSFERS.items():
        for name, way in ways.items():
            before = way.used()
            carried, elapsed = way.transfer(connections, up=up, seconds=seconds)
            samples[name].used.append((way.used() - before, carried))
            samples[name].rates[transfer].append(carried / elapsed)


def _memory_after_calls(way: Way) -> list[Memory]:
    for _ in range(_BEFORE_MEMORY):
        way.connect(BY_NAME, 1)
    return family(way.session.process.pid)
