"""What has arrived and was not received yet: the receiving end of a descriptor that a callback of the event loop reads.

So a message costs one wake-up and no system call beside its read, where waiting for a descriptor would register and
forget it each time. Whoever puts chunks in looks at ``size``, stops reading above HIGH, and goes on when ``drained`` is
called: then the other side blocks in time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteReceiveStream

if TYPE_CHECKING:
    from collections.abc import Callable

HIGH = 2**18


class Inflow(ByteReceiveStream):
    """Bytes in chunks. drained is called as they are received."""

    def __init__(self, drained: Callable[[], None]) -> None:
        self.size = 0
        self._drained = drained
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._end: type[Exception] | None = None

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """The next bytes, at most max_bytes. Does not yield to other tasks when there are some already."""
        while not self._chunks and self._end is None:
            if self._waiter is not None and not self._waiter.done():
                raise RuntimeError("another task is receiving already")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if not self._chunks:
            raise self._end or EndOfStream
        return self._take(max_bytes)

    def _take(self, max_bytes: int) -> bytes:
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self.size -= len(chunk)
        self._drained()
        return chunk

    async def aclose(self) -> None:
        self._chunks.clear()
        self.size = 0
        self._end = ClosedResourceError
        self._wake()
        self._drained()

    def put(self, chunk: bytes) -> None:
        if self._end is not ClosedResourceError:
            self._chunks.append(chunk)
            self.size += len(chunk)
            self._wake()

    def keep_newest(self, limit: int) -> None:
        while self.size > limit:
            oldest = self._chunks.popleft()
            rest = oldest[self.size - limit :]
            self.size -= len(oldest) - len(rest)
            if rest:
                self._chunks.appendleft(rest)

    def end(self, *, broken: bool = False) -> None:
        """Nothing comes any more; what has arrived can still be received."""
        self._end = self._end or (BrokenResourceError if broken else EndOfStream)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
