"""What one sandbox may use of the network, and the two ways to count it. PURE but for the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bulkhead.errors import LimitError


@dataclass(frozen=True, slots=True)
class Bounds:
    """Per sandbox. connections: at once. rate: new ones a second, after a burst of as many as may be open at once; one
    that comes too soon waits for its turn, and counts as open.

    sent and received: bytes over the sandbox's life. idle: seconds without a byte either way. connect: seconds to
    resolve, and again to connect. hello: seconds until the program has said whom it speaks to. queries: of DNS, a
    second. names: those that get an address, and again those that are reported as refused.
    """

    connections: int = 128
    rate: float = 200.0
    sent: int = 16 * 2**30
    received: int = 64 * 2**30
    idle: float = 600.0
    connect: float = 10.0
    hello: float = 10.0
    queries: float = 500.0
    names: int = 4096


DEFAULT = Bounds()


class Bucket:
    """Holds at most size tokens, and gets rate of them a second."""

    def __init__(self, rate: float, size: float) -> None:
        self._rate, self._size = rate, size
        self._tokens, self._seen = size, time.monotonic()

    def take(self) -> bool:
        """Takes one token; False if there is none."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def book(self) -> float:
        """Takes one token, in advance if there is none. Returns the seconds until it is there."""
        self._fill()
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    def _fill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._size, self._tokens + (now - self._seen) * self._rate)
        self._seen = now


class Meter:
    """How many bytes may still go one way, over all connections of a sandbox."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Raises LimitError if fewer than count are left; then none are."""
        if count > self.left:
            self.left = 0
        self.require()
        self.left -= count

    def require(self) -> None:
        """Raises LimitError if none are left."""
        if not self.left:
            raise LimitError("the sandbox has used up the bytes that it may send or receive", reason="bytes")
