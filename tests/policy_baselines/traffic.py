"""Calls as they come day after day: random, and of the same kind all the time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random


class Seen(NamedTuple):
    """One call: when it came, in seconds, its bytes each way, and the hosts that it reached."""

    at: float
    arguments: int
    result: int
    hosts: tuple[str, ...]


def around(middle: float, spread: float) -> Callable[[Random], int]:
    """Sizes of a log-normal distribution; spread is of the logarithm: with 1.0 one of 40 is 7 times the middle."""
    return lambda random: max(1, round(middle * math.exp(random.gauss(0, spread))))


def pareto(least: float, alpha: float) -> Callable[[Random], int]:
    """Sizes with a heavy tail, as files and pages have, up to 4 MB as limits.output allows."""
    return lambda random: min(round(least * random.paretovariate(alpha)), 4_000_000)


def pages(random: Random) -> int:
    """Mostly a page, now and then an error."""
    return round(random.uniform(2_000, 40_000)) if random.random() < 0.8 else 120


def steady(random: Random) -> float:
    """Seconds between calls that come independent of each other, three in a minute."""
    return random.expovariate(3 / 60)


def rare(random: Random) -> float:
    """Once in an hour."""
    return random.expovariate(1 / 3600)


def bursts(random: Random) -> float:
    """An agent at work: some calls at once, then nothing for long."""
    return random.uniform(0.2, 3) if random.random() < 0.8 else random.expovariate(1 / 900)


def of(*hosts: str) -> Callable[[Random], tuple[str, ...]]:
    """One of them, or none, each as often as the other."""
    return lambda random: (random.choice(hosts),) if hosts and random.random() < 0.9 else ()


def crawl(random: Random) -> tuple[str, ...]:
    """Any of very many, some oftener."""
    return (f"h{int(random.paretovariate(0.8))}.example.com",)


KINDS = {
    "a clock": (around(40, 0.3), around(90, 0.2), steady, of()),
    "an API": (around(200, 0.8), around(3_000, 1.0), bursts, of("api.example.com", "uploads.example.com")),
    "files": (around(80, 0.5), pareto(400, 1.2), bursts, of()),
    "pages": (around(120, 0.6), pages, steady, crawl),
    "a search once in an hour": (around(60, 0.7), around(12_000, 0.9), rare, of("s.example.com")),
    "texts that are written": (around(2_000, 1.3), around(60, 0.3), bursts, of("api.example.com")),
}


def calls(kind: str, random: Random) -> Iterator[Seen]:
    """Without an end."""
    arguments, result, pause, hosts = KINDS[kind]
    at = 0.0
    while True:
        at += pause(random)
        yield Seen(at, arguments(random), result(random), hosts(random))
