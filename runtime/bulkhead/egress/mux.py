"""The runner's end of a gate that carries frames: each connection becomes one end of a pair of Unix sockets.

What the gate sends is read whatever else waits, for it blocks until it is: what a slow reader leaves lies here, at most
WINDOW bytes a connection, and the gate reads no more of it than that. The other way is bounded alike.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio

from bulkhead.egress import gate
from bulkhead.egress.caught import Caught

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import ByteReceiveStream, ByteSendStream

    from bulkhead.egress.caught import Catch


async def carry(stdin: ByteSendStream, stdout: ByteReceiveStream, first: bytes, catch: Catch) -> None:
    """Until the gate ends, or sends what is no frame. first: what came after its READY."""
    wire = _Wire()
    mux = _Mux(wire, catch)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.send_to, stdin)
            with suppress(anyio.EndOfStream, anyio.ClosedResourceError, ValueError):
                mux.feed(first)
                while True:
                    mux.feed(await stdout.receive(2**17))
            tasks.cancel_scope.cancel()
    finally:
        mux.close()


class _Wire:
    """Frames on their way to the gate."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._some = asyncio.Event()

    def put(self, data: bytes) -> None:
        self._waiting += data
        self._some.set()

    async def send_to(self, stdin: ByteSendStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # its stdout ends too
            while True:
                await self._some.wait()
                self._some.clear()
                data, self._waiting = self._waiting, bytearray()
                await stdin.send(bytes(data))


class _Mux:
    def __init__(self, wire: _Wire, catch: Catch) -> None:
        self._wire = wire
        self._catch = catch
        self._connections: dict[int, tuple[_Connection, Caught]] = {}
        self._incoming = bytearray()

    def feed(self, data: bytes) -> None:
        self._incoming += data
        for kind, number, payload in gate.frames(self._incoming):
            if kind == gate.OPEN:
                self._open(number, payload.decode())
            elif kind == gate.QUERY:
                answer = self._catch.answer(payload, tcp=False)
                if answer is not None:
                    self._wire.put(gate.frame(gate.ANSWER, number, answer))
            elif number in self._connections:  # else it has ended while this was on its way
                self._obey(number, kind, payload)

    def close(self) -> None:
        for number in list(self._connections):
            self._obey(number, gate.RESET, b"")

    def _open(self, number: int, where: str) -> None:
        address, port, peer = where.split(" ")
        try:
            outer, inner = socket.socketpair()
        except OSError:  # the process or the machine is out of descriptors
            self._wire.put(gate.frame(gate.RESET, number))
            return
        outer.setblocking(False)
        inner.setblocking(False)
        connection = _Connection(number, inner, self._wire, gone=lambda: self._connections.pop(number))
        caught = Caught(outer, address, int(port), peer, partial(self._ended, connection))
        self._connections[number] = connection, caught
        self._catch.add(caught)

    def _obey(self, number: int, kind: int, payload: bytes) -> None:
        connection, caught = self._connections[number]
        if kind == gate.RESET:
            caught.was_reset = True
            connection.drop()
        elif kind == gate.CREDIT:
            connection.allow(gate.count_of(payload))
        elif kind == gate.DATA:
            connection.pass_on(payload)
        else:
            connection.end()

    def _ended(self, connection: _Connection, caught: Caught, aborted: bool) -> None:
        caught.sock.close()
        self._catch.forget(caught)
        connection.closed(aborted=aborted)


class _Connection:
    """Between the wire and inner, the end of the pair that is not the proxy's."""

    def __init__(self, number: int, inner: socket.socket, wire: _Wire, gone: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._number = number
        self._inner = inner
        self._wire = wire
        self._gone: Callable[[], object] | None = gone
        self._allowed = gate.WINDOW
        self._passed_on = 0
        self._pending = bytearray()
        self._program_ended = False
        self._told = False  # the proxy has been told so
        self._proxy_ended = False
        self._deaf = False  # the proxy takes nothing any more
        self._loop.add_reader(inner, self._read)

    def allow(self, count: int) -> None:
        if not self._allowed and not self._proxy_ended:
            self._loop.add_reader(self._inner, self._read)
        self._allowed += count

    def pass_on(self, data: bytes) -> None:
        if self._deaf:
            return
        waiting = bool(self._pending)
        self._pending += data
        if not waiting:
            self._write()
            if self._pending:
                self._loop.add_writer(self._inner, self._write)

    def end(self) -> None:
        self._program_ended = True
        self._settle()

    def closed(self, *, aborted: bool) -> None:
        """By the proxy. What it has written is still carried, unless it aborted."""
        self._deaf = True
        if aborted:
            self.drop(gate.RESET)
        elif self._proxy_ended:
            self.drop(gate.CLOSE)

    def drop(self, kind: int | None = None) -> None:
        """kind: what the gate is told, if it does not know."""
        if self._gone is None:
            return
        if kind is not None:
            self._wire.put(gate.frame(kind, self._number))
        self._loop.remove_reader(self._inner)
        self._loop.remove_writer(self._inner)
        self._inner.close()
        self._gone()
        self._gone = None

    def _read(self) -> None:
        try:
            data = self._inner.recv(min(self._allowed, gate.CHUNK))
        except BlockingIOError:
            return
        except ConnectionResetError:  # all was read, and the proxy closed it with something unread
            data, self._deaf = b"", True
        if data:
            self._allowed -= len(data)
            self._wire.put(gate.frame(gate.DATA, self._number, data))
        else:
            self._proxy_ended = True
        if not data or not self._allowed:
            self._loop.remove_reader(self._inner)
        self._settle(just_ended=not data)

    def _write(self) -> None:
        try:
            self._passed_on += (count := self._inner.send(self._pending))
            del self._pending[:count]
        except BlockingIOError:
            return
        except OSError:  # closed by the proxy, but what it wrote before is still to be read
            self._deaf = True
            self._pending.clear()
        if self._passed_on >= gate.WINDOW // 4:
            self._wire.put(gate.credit(self._number, self._passed_on))
            self._passed_on = 0
        if not self._pending:
            self._loop.remove_writer(self._inner)
            self._settle()

    def _settle(self, *, just_ended: bool = False) -> None:
        """Passes on the ends, and forgets the connection after both."""
        if just_ended:
            self._wire.put(gate.frame(gate.CLOSE if self._deaf else gate.END, self._number))
        if self._program_ended and not self._pending and not self._told:
            self._told = True
            self._inner.shutdown(socket.SHUT_WR)
        if self._proxy_ended and (self._told or self._deaf):
            self.drop()
