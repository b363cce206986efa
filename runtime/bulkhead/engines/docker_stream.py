"""The stdio of one container: Docker's attach socket under anyio byte streams.

One socket carries all three. What comes from the daemon are frames of 8 bytes of header (the stream, three zeros, the
length in big endian) and the payload; what goes to it is plain. The socket is read by a callback of the event loop, so
a call costs no task and no thread. Rules:
- stdout is held until it is received; above HIGH bytes the socket is left alone, and so the server blocks in time.
- stderr never blocks anything: only its newest RING bytes are held.
- closing stdin half-closes the socket, and the server reads end of file.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, notify_closing, wait_writable
from anyio.abc import ByteReceiveStream, ByteSendStream

if TYPE_CHECKING:
    from collections.abc import Callable

READ = 2**17
HIGH = 2**18
RING = 2**16
_HEADER = struct.Struct(">B3xL")
_STDOUT, _STDERR, _SYSTEM = 1, 2, 3


class Output(ByteReceiveStream):
    """stdout or stderr: the chunks that arrived and were not received yet. drained is called as they are received."""

    def __init__(self, drained: Callable[[], None]) -> None:
        self.size = 0
        self._drained = drained
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """The next bytes, at most max_bytes. Does not yield to other tasks when there are some already."""
        while not self._chunks and not self._ended:
            if self._waiter is not None and not self._waiter.done():
                raise RuntimeError("another task is receiving already")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._closed:
            raise ClosedResourceError
        if not self._chunks:
            raise EndOfStream
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
        self._closed = True
        self._chunks.clear()
        self.size = 0
        self.end()
        self._drained()

    def put(self, chunk: bytes) -> None:
        if not self._closed:
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

    def end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Input(ByteSendStream):
    """stdin. Sends at once what the socket takes, and waits for the rest; one task at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sending = False
        self._closed = False

    async def send(self, item: bytes) -> None:
        if self._closed:
            raise ClosedResourceError
        if self._sending:
            raise RuntimeError("another task is sending already")
        self._sending = True
        try:
            await self._send(memoryview(item))
        except OSError as error:
            raise BrokenResourceError from error
        finally:
            self._sending = False

    async def _send(self, rest: memoryview) -> None:
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                await wait_writable(self._sock)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the daemon has closed its side already


class Attachment:
    """Owns the attach socket from its creation, in a running event loop, until close()."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._view = memoryview(bytearray(READ))
        self._kept = 0  # bytes of an unfinished header, at the front of the view
        self._left = 0  # bytes of the payload that are still to come
        self._target = self.stdout = Output(self._resume)
        self.stderr = Output(lambda: None)
        self.stdin = Input(sock)
        self._reading = False
        self._over = False
        self._resume()

    def close(self) -> None:
        """Ends all three streams; what has arrived can still be received."""
        if not self._over:
            self._end()
        notify_closing(self._sock)  # a sender that waits for the daemon would wait for ever
        self._sock.close()

    def _resume(self) -> None:
        if not self._reading and not self._over and self.stdout.size <= HIGH:
            self._loop.add_reader(self._sock, self._readable)
            self._reading = True

    def _pause(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._sock)
            self._reading = False

    def _end(self) -> None:
        self._over = True
        self._pause()
        self.stdout.end()
        self.stderr.end()

    def _readable(self) -> None:
        try:
            count = self._sock.recv_into(self._view[self._kept :])
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count or not self._split(self._kept + count):
            self._end()
            return
        self.stderr.keep_newest(RING)
        if self.stdout.size > HIGH:
            self._pause()

    def _split(self, end: int) -> bool:
        """Hands out the first end bytes of the view; False if they are no frames of Docker's."""
        view, at = self._view, 0
        while at < end:
            if not self._left:
                if end - at < _HEADER.size:
                    break
                stream, self._left = _HEADER.unpack_from(view, at)
                if stream not in (_STDOUT, _STDERR, _SYSTEM):
                    return False
                self._target = self.stdout if stream == _STDOUT else self.stderr
                at += _HEADER.size
            size = min(self._left, end - at)
            if size:
                self._target.put(bytes(view[at : at + size]))
            self._left -= size
            at += size
        self._kept = end - at
        view[: self._kept] = view[at:end]
        return True
