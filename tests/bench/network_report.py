"""The bench's tables and aims of the network. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.bench.network_ways import BRIDGE, BULKHEAD, BY_ADDRESS, BY_NAME, DIRECT, WAYS
from tests.bench.tables import MB, Aim, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

_FAST = 500.0  # MB/s: more is not asked for where the bridge is faster


def aims(network: dict[str, Any]) -> list[Aim]:
    """What Bulkhead may add to the bridge, and how much of it must be left."""
    connect, rates = network["connect"], network["rates"]
    return [
        *(
            Aim(
                f"connect {kind} p50, over the bridge",
                (connect[kind][BULKHEAD]["p50"] - connect[kind][BRIDGE]["p50"]) * 1e6,
                1000,
                "us",
            )
            for kind in (BY_ADDRESS, BY_NAME)
        ),
        *(
            Aim(f"transfer, {name}", ways[BULKHEAD] / MB, min(_FAST, ways[BRIDGE] / MB / 2), "MB/s", least=True)
            for name, ways in rates.items()
        ),
        Aim("runner with a network, after 100 calls", network["memory"][0].rss / MB, 45, "MB"),
    ]


def tables(network: dict[str, Any]) -> Iterator[Table]:
    """Of connections, transfers, and what carrying costs."""
    yield table("connections, to the first byte of the far end (us)", (*WAYS, "over bridge"), _connects(network))
    yield table("transfers of 1 and 50 connections (MB/s)", (*WAYS, "to bridge"), _rates(network))


def _connects(network: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, ways in network["connect"].items():
        for percent in ("p50", "p99"):
            over = ways[BULKHEAD][percent] - ways[BRIDGE][percent]
            cells = (f"{ways[way][percent] * 1e6:,.0f}" for way in WAYS)
            yield f"{kind} {percent}", *cells, f"{over * 1e6:+,.0f}"


def _rates(network: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, ways in network["rates"].items():
        cells = (f"{ways[way] / MB:,.0f}" for way in WAYS)
        yield name, *cells, f"{ways[BULKHEAD] / ways[BRIDGE]:.2f} x"
    used = network["used"]
    carriers = (f"{used[way] * 1e9:.2f}" if way not in (DIRECT, BRIDGE) else "" for way in WAYS)
    yield "cpu s/GB", *carriers, ""
