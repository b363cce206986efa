"""Where connections come from and go to in the proxy's tests: real sockets of this machine's own addresses.

A Sink records all that arrives at it, so a test can show that nothing did. Programs are the sockets that a gate would
have caught, in front of a proxy that runs in an event loop of its own; a test is such a program and may block.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from bulkhead.egress.caught import Caught
from bulkhead.egress.connection import REASONS
from bulkhead.egress.gate import reset
from bulkhead.egress.proxy import EgressProxy
from bulkhead.spec import EgressRule
from tests.conftest import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bulkhead.egress.bounds import Bounds
    from bulkhead.egress.connection import Connection

NAME = "api.example.org"
OTHER = "other.example.org"
PATIENCE = 10.0
_MARKER = b"a mark of the test's own"


def keep(conn: socket.socket) -> bytes:
    """Reads until the other side has said all."""
    parts = []
    while piece := conn.recv(2**16):
        parts.append(piece)
    return b"".join(parts)


def echo(conn: socket.socket, sink: Sink) -> None:
    """Sends back what comes, piece by piece."""
    while piece := conn.recv(2**18):
        sink.arrived.append(piece)
        conn.sendall(piece)


def swallow(conn: socket.socket, sink: Sink) -> None:
    """Only records."""
    while piece := conn.recv(2**18):
        sink.arrived.append(piece)


class Sink:
    """A TCP server on a port of its own; serve() has each connection in a thread, and its errors are the client's."""

    def __init__(
        self, serve: Callable[[socket.socket, Sink], None] = swallow, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.arrived: list[bytes] = []
        self.connections = 0
        self._serve = serve
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((host, port), backlog=512)
        self.host, self.port = self._listener.getsockname()[:2]
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    @property
    def data(self) -> bytes:
        return b"".join(self.arrived)

    def assert_silent(self) -> None:
        """Nobody but this very call has connected: connections are accepted in the order in which they come."""
        with socket.create_connection((self.host, self.port), PATIENCE) as mark:
            mark.sendall(_MARKER)
        until(lambda: self.connections > 0 and len(self.data) >= len(_MARKER), PATIENCE)
        assert (self.connections, self.data) == (1, _MARKER)

    def _start(self, work: Callable[[], None]) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                conn, _ = self._listener.accept()
                self.connections += 1
                self._start(partial(self._serve_one, conn))

    def _serve_one(self, conn: socket.socket) -> None:
        with conn, suppress(OSError):
            self._serve(conn, self)


def query(name: str, kind: int = 1) -> bytes:
    """A DNS query as programs send it."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, kind, 1)


def rcode(answer: bytes) -> int:
    return answer[3] & 15


def rule(sink: Sink | int, host: str = NAME, *, private: bool = True, tls: bool | None = None) -> EgressRule:
    port = sink if isinstance(sink, int) else sink.port
    return EgressRule(host, (port,), private=private, tls=tls)


class Programs:
    """What one sandbox runs. told: all that the proxy reported."""

    def __init__(
        self,
        *rules: EgressRule,
        lookup: Callable[[str], Sequence[str]] = lambda _: ["127.0.0.1"],
        bounds: Bounds | None = None,
    ) -> None:
        self.told: list[Connection] = []
        self.faults: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self.faults.append(context))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tasks: set[asyncio.Task[None]] = set()
        more: dict[str, Any] = {} if bounds is None else {"bounds": bounds}
        self.proxy = EgressProxy(rules, report=self.told.append, lookup=lookup, **more)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._loop.call_soon_threadsafe(self.proxy.close)
        until(lambda: not self._tasks, PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()
        assert self.faults == []
        assert all(connection.reason in REASONS for connection in self.told)
        assert not [connection for connection in self.told if connection.reason == "internal"]

    @property
    def running(self) -> int:
        return len(self._tasks)

    def ask(self, name: str, kind: int = 1) -> bytes | None:
        return self.proxy.answer(query(name, kind))

    def resolve(self, name: str) -> str:
        """The address that the sandbox's DNS has for name."""
        answer = self.ask(name)
        assert answer is not None
        assert rcode(answer) == 0
        assert answer[7] == 1
        return socket.inet_ntoa(answer[-4:])

    def connect(self, host: str, port: int) -> socket.socket:
        """host: a name, or a literal address."""
        address = host if host[-1].isdigit() else self.resolve(host)
        return self.connect_to(address, port)

    def connect_to(self, address: str, port: int) -> socket.socket:
        program = socket.create_connection(self._listener.getsockname(), PATIENCE)
        sock, peer = self._listener.accept()
        sock.setblocking(False)
        caught = Caught(sock, address, port, peer[0], _ended)
        self._loop.call_soon_threadsafe(self._handle, caught)
        return program

    def reported(self, count: int = 1) -> Connection:
        """The last of count reports."""
        until(lambda: len(self.told) >= count, PATIENCE)
        assert len(self.told) == count
        return self.told[-1]

    def _handle(self, caught: Caught) -> None:
        task = self._loop.create_task(self.proxy.handle(caught))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ended(caught: Caught, aborted: bool) -> None:
    if aborted:
        reset(caught.sock)
    else:
        caught.sock.close()


def assert_reset(program: socket.socket) -> None:
    """The program sees a reset, and not an end."""
    try:
        said = program.recv(2**16)
    except ConnectionResetError:
        return
    raise AssertionError(f"no reset, but {said!r}")
