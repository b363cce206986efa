"""What is usual of one tool, and what of a call is not: sizes, calls in a minute, and the hosts that it reached. PURE.

Rules: nothing is strange in the first LEARNING calls. Later a size is that is WIDE times the largest, or up to WIDEST
times where sizes differ much; a rate that is FAST times the highest; and a host that was never reached, unless the tool
reaches new ones all the time. The largest fades, half of it in FADING calls, so that one large call does not blind for
ever. What was strange and passed is learnt slowly. Who goes on in small steps is learnt, too: this finds what is
sudden, and nothing else.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

LEARNING = 20  # calls
WIDE, WIDEST = 16.0, 48.0
FAST = 5.0
SMALL = 4096  # bytes that are never strange
SLOW = 10  # calls in a minute that are never strange
FADING = 2000
MOST_HOSTS = 64
_KEPT: float = 0.5 ** (1 / FADING)
_STEP = 1.25  # what is strange moves the largest by so much a call
_KNOWN = 3  # times that a strange host has to be reached until it is none any more
# Where so many hosts came once, and that is so much of all connections, one more is nothing strange.
_ONCE, _SHARE = 3, 0.02
_ENOUGH = 1000  # times that a host is counted
_WINDOW = 200  # calls of which a mean is, about


class Call(NamedTuple):
    """What is seen of one call, as far as it has come: bytes, calls of the tool in the last minute with it, hosts."""

    arguments: int = 0
    result: int = 0
    minute: int = 0
    hosts: tuple[str, ...] = ()


class Strange(NamedTuple):
    """Why a call is not as usual. kind is the same for two that are alike; size is how much it is, 1 for a host."""

    kind: str
    size: int
    text: str


class Sizes(NamedTuple):
    """What was seen of one kind: the largest in bytes, the mean of the logarithms, and their mean distance from it."""

    seen: int
    largest: float
    middle: float
    spread: float


class Habits(NamedTuple):
    """Of one tool. calls: results seen. minute: the most calls in one.

    hosts: how often each was reached, at most MOST_HOSTS; of one that is strange, how often it has to be yet, below 0.
    """

    calls: int
    arguments: Sizes
    result: Sizes
    minute: float
    hosts: Mapping[str, int]


_NO_SIZES = Sizes(0, 0.0, 0.0, 0.0)
NONE = Habits(0, _NO_SIZES, _NO_SIZES, 0.0, {})


def strange(habits: Habits, call: Call) -> tuple[Strange, ...]:
    """What of a call is not usual; nothing while the tool is being learnt."""
    if habits.calls < LEARNING:
        return ()
    found = []
    for kind, size, seen in (
        ("arguments", call.arguments, habits.arguments),
        ("result", call.result, habits.result),
    ):
        if size > SMALL and _is_wide(seen, size):
            text = f"{kind} of {_bytes(size)} where at most {_bytes(seen.largest)} were seen"
            found.append(Strange(kind, size, text))
    if _is_fast(habits, call):
        text = f"{call.minute} calls in a minute where at most {round(habits.minute)} were seen"
        found.append(Strange("rate", call.minute, text))
    if call.hosts:
        found += [Strange(f"host {host}", 1, f"new host {host}") for host in _new(habits, call.hosts)]
    return tuple(found)


def learnt(habits: Habits, call: Call) -> Habits:
    """What is usual after a call that passed: its arguments, or its result and hosts; minute, once it is over."""
    learning = habits.calls < LEARNING
    return Habits(
        habits.calls + (call.result > 0),
        _sized(habits.arguments, call.arguments, learning=learning) if call.arguments else habits.arguments,
        _sized(habits.result, call.result, learning=learning) if call.result else habits.result,
        _paced(habits, call, learning=learning) if call.minute else habits.minute,
        _counted(habits, call.hosts, learning=learning) if call.hosts else habits.hosts,
    )


def merged(before: Habits, ours: Habits, theirs: Habits) -> Habits:
    """What two have learnt since before, at the same time."""
    return Habits(
        max(0, ours.calls + theirs.calls - before.calls),
        _sizes_of_both(before.arguments, ours.arguments, theirs.arguments),
        _sizes_of_both(before.result, ours.result, theirs.result),
        _later(before.minute, ours.minute, theirs.minute),
        _both(before.hosts, ours.hosts, theirs.hosts),
    )


def as_json(habits: Habits) -> list[Any]:
    """A value that JSON can hold."""
    return [habits.calls, list(habits.arguments), list(habits.result), habits.minute, dict(habits.hosts)]


def from_json(value: Any) -> Habits:
    """Of as_json(). Raises ValueError or TypeError for anything else."""
    calls, arguments, result, minute, hosts = value
    counts = {str(host): int(count) for host, count in dict(hosts).items()}
    return Habits(int(calls), _sizes(*arguments), _sizes(*result), float(minute), counts)


def _is_fast(habits: Habits, call: Call) -> bool:
    return call.minute >= SLOW and call.minute > habits.minute * FAST


def _paced(habits: Habits, call: Call, *, learning: bool) -> float:
    return _largest(habits.minute, call.minute, odd=not learning and _is_fast(habits, call))


def _is_wide(sizes: Sizes, size: int) -> bool:
    # The first is most often false, and spares the second.
    return size > sizes.largest * WIDE and size > sizes.largest * min(WIDE * exp(2 * sizes.spread), WIDEST)


def _sized(sizes: Sizes, size: int, *, learning: bool) -> Sizes:
    seen, largest, middle, spread = sizes
    if not learning and size > SMALL and _is_wide(sizes, size):
        return sizes._replace(largest=_largest(largest, size, odd=True))
    part, now = 1 / min(seen + 1, _WINDOW), log(size)
    middle = middle + (now - middle) * part
    return Sizes(seen + 1, _largest(largest, size, odd=False), middle, spread + (abs(now - middle) - spread) * part)


def _largest(largest: float, seen: int, *, odd: bool) -> float:
    if odd:
        return max(largest, 1.0) * _STEP
    return max(largest * _KEPT, seen)


def _new(habits: Habits, hosts: tuple[str, ...]) -> list[str]:
    """Those that are strange. The share of what came once is how often the next is new (Good and Turing)."""
    counts = habits.hosts
    new = [host for host in hosts if counts.get(host, 0) <= 0]
    if not new or len(counts) >= MOST_HOSTS:
        return []
    once = sum(count <= 1 for count in counts.values())
    many = once >= _ONCE and once > _SHARE * sum(count for count in counts.values() if count > 0)
    return [] if many else new


def _counted(habits: Habits, hosts: tuple[str, ...], *, learning: bool) -> Mapping[str, int]:
    if all(habits.hosts.get(host, 0) >= _ENOUGH for host in hosts):
        return habits.hosts
    counts = dict(habits.hosts)
    odd = () if learning else _new(habits, hosts)
    for host in hosts:
        if host in odd:
            counts[host] = counts.get(host, -_KNOWN) + 1 or _KNOWN
        elif host in counts or len(counts) < MOST_HOSTS:
            counts[host] = max(counts.get(host, 0), 0) + 1
    return counts


def _both(before: Mapping[str, int], ours: Mapping[str, int], theirs: Mapping[str, int]) -> Mapping[str, int]:
    hosts = ours.keys() | theirs.keys()
    counts = {host: ours.get(host, 0) + theirs.get(host, 0) - before.get(host, 0) for host in hosts}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_HOSTS])


def _sizes(seen: int, largest: float, middle: float, spread: float) -> Sizes:
    return Sizes(int(seen), float(largest), float(middle), float(spread))


def _sizes_of_both(before: Sizes, ours: Sizes, theirs: Sizes) -> Sizes:
    """The means are those of the one that has seen more since."""
    more = ours if ours.seen >= theirs.seen else theirs
    seen = max(0, ours.seen + theirs.seen - before.seen)
    return more._replace(seen=seen, largest=_later(before.largest, ours.largest, theirs.largest))


def _later(before: float, ours: float, theirs: float) -> float:
    """Of a value that grows and fades: who has not changed it since does not hold it up."""
    return ours if theirs == before else theirs if ours == before else max(ours, theirs)


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
