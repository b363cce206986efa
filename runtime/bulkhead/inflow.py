"""What has arrived and was not received yet: the receiving end of a descriptor that a callback of the event loop reads.

So a message costs one wake-up and no system call beside its read, where waiting for a descriptor would register and
forget it each time. Whoever puts chunks in looks at ``size``, stops reading above HIGH, and goes on when ``drained`` is
called: then the other side blocks in time.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteReceiveStream

if TYPE_CHECKING:
    from collections.abc import Callable

HIGH = 2**18
# Bytes a read: a pipe's whole capacity, so that a large frame costs few wake-ups.
CHUNK = 2**16


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


class PolledReader(Inflow):
    """What comes from a descriptor that does not block.

    Not asyncio's: it writes a traceback to stderr where a host dies with bytes unread on its socket.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(self._resume)
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self._resume()

    def _resume(self) -> None:
        if not self._reading and self._end is None and self.size <= HIGH:
            self._loop.add_reader(self._descriptor, self._readable)
            self._reading = True

    def _pause(self) -> None:
        self._loop.remove_reader(self._descriptor)
        self._reading = False

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:  # another process of the host's may have read it
            return
        except OSError:
            self._pause()
            self.end(broken=True)
            return
        if data:
            self.put(data)
        else:
            self.end()
        if not data or self.size > HIGH:
            self._pause()

    async def aclose(self) -> None:
        """The descriptor is whoever's who gave it, and stays."""
