"""The stdio of one container under anyio byte streams: Docker's attach socket, and the pipes of docker_pipes.py.

The socket carries all three. What comes from the daemon are frames of 8 bytes of header (the stream, three zeros, the
length in big endian) and the payload; what goes to it is plain. The socket is read by a callback of the event loop, so
a call costs no task and no thread. Rules:
- stdout is held until it is received; above HIGH bytes the socket is left alone, and so the server blocks in time.
- stderr never blocks anything: only its newest RING bytes are held.
- closing stdin half-closes the socket, and the server reads end of file.
A server that has pipes says nothing on the socket but stderr.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from anyio import BrokenResourceError, ClosedResourceError, notify_closing, wait_writable
from anyio.abc import ByteSendStream

from bulkhead.inflow import HIGH, Inflow, PolledReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkhead.engines.docker_pipes import Pipes

READ = 2**17
RING = 2**16
_HEADER = struct.Struct(">B3xL")
_STDOUT, _STDERR, _SYSTEM = 1, 2, 3


class Input(ByteSendStream):
    """stdin. Sends at once what the descriptor takes, and waits for the rest; one task at a time."""

    def __init__(self, descriptor: int, close: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._close = close
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
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await wait_writable(self._descriptor)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._close()


class Piped:
    """Owns the named pipes from their creation, in a running event loop, until close()."""

    def __init__(self, pipes: Pipes) -> None:
        self._stdin = pipes.stdin
        self._held = list(pipes.held)
        self.stdin = Input(pipes.stdin, self._close_stdin)
        self.stdout = _Output(pipes.stdout, self.release)

    def release(self) -> None:
        """The container has its own ends, or has ended."""
        while self._held:
            os.close(self._held.pop())

    def close(self) -> None:
        """Ends both streams; what has arrived can still be received."""
        self.release()
        self.stdin.close()
        self.stdout.close()

    def _close_stdin(self) -> None:
        notify_closing(self._stdin)  # a sender that waits for the server would wait for ever
        os.close(self._stdin)


class _Output(PolledReader):
    """stdout, without the shell's line."""

    def __init__(self, descriptor: int, opened: Callable[[], None]) -> None:
        super().__init__(descriptor)
        self._opened: Callable[[], None] | None = opened

    def put(self, chunk: bytes) -> None:
        if self._opened is not None:
            self._opened()
            self._opened = None
            chunk = chunk[1:]
        if chunk:
            super().put(chunk)

    def close(self) -> None:
        self._pause()
        self.end()
        os.close(self._descriptor)


class Attachment:
    """Owns the attach socket from its creation, in a running event loop, until close(). over: the daemon ended it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._view = memoryview(bytearray(READ))
        self._kept = 0  # bytes of an unfinished header, at the front of the view
        self._left = 0  # bytes of the payload that are still to come
        self._target = self.stdout = Inflow(self._resume)
        self.stderr = Inflow(lambda: None)
        self.stdin = Input(sock.fileno(), self._half_close)
        self._reading = False
        self.over = anyio.Event()
        self._resume()

    def close(self) -> None:
        """Ends all three streams; what has arrived can still be received."""
        if not self.over.is_set():
            self._end()
        notify_closing(self._sock)  # a sender that waits for the daemon would wait for ever
        self._sock.close()

    def _half_close(self) -> None:
        with suppress(OSError):  # the daemon has closed its side already
            self._sock.shutdown(socket.SHUT_WR)

    def _resume(self) -> None:
        if not self._reading and not self.over.is_set() and self.stdout.size <= HIGH:
            self._loop.add_reader(self._sock, self._readable)
            self._reading = True

    def _pause(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._sock)
            self._reading = False

    def _end(self) -> None:
        self.over.set()
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
