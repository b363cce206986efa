"""What the gate caught, for the proxy: connections, and DNS queries; whichever way they came, both look alike.

opening.py starts a gate; fds.py accepts on the sockets that it handed over, mux.py takes frames from its stdio.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import anyio

from bulkhead.egress.gate import DNS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from anyio.abc import TaskGroup

# Over TCP a program asks again what did not fit a datagram, so few do: seconds of silence, and how many at once.
DNS_IDLE = 10.0
DNS_CONNECTIONS = 16


class Answer(Protocol):
    """A DNS answer, or None to be silent. Called in the event loop, so it does no I/O."""

    def __call__(self, query: bytes, *, tcp: bool) -> bytes | None: ...


class Caught:
    """A connection that a program made to address and port, coming from peer (an address). All are the namespace's own.

    sock does not block. With mux it is one end of a pair of Unix sockets, which knows no reset: was_reset is true once
    the program has reset its side, and what sock says then (an end, EPIPE) is that reset. Whoever has it ends it with
    close() or abort(), never with sock.close(), and reads and waits for sock no more by then.
    """

    __slots__ = ("_ended", "address", "peer", "port", "sock", "was_reset")

    def __init__(
        self, sock: socket.socket, address: str, port: int, peer: str, ended: Callable[[Caught, bool], None]
    ) -> None:
        self.sock = sock
        self.address = address
        self.port = port
        self.peer = peer
        self.was_reset = False
        self._ended: Callable[[Caught, bool], None] | None = ended

    def close(self) -> None:
        """Both ways; what was sent still arrives."""
        self._end(aborted=False)

    def abort(self) -> None:
        """The program sees a reset."""
        self._end(aborted=True)

    def _end(self, *, aborted: bool) -> None:
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended(self, aborted)


class Catch:
    """Passes on what a way brings, and counts what is open."""

    def __init__(self, tasks: TaskGroup, on_connection: Callable[[Caught], None], answer: Answer, most: int) -> None:
        self._tasks = tasks
        self._on_connection = on_connection
        self.answer = answer
        self._most = most
        self._open: set[Caught] = set()
        self._dns = 0

    @property
    def full(self) -> bool:
        return len(self._open) >= self._most

    def add(self, caught: Caught) -> None:
        self._open.add(caught)
        if caught.port != DNS:
            self._on_connection(caught)
        elif self._dns < DNS_CONNECTIONS:
            self._dns += 1
            self._tasks.start_soon(self._answer_all, caught)
        else:
            caught.abort()

    def forget(self, caught: Caught) -> None:
        self._open.discard(caught)

    async def _answer_all(self, caught: Caught) -> None:
        """DNS over TCP: each message has its length in two bytes before it."""
        loop = asyncio.get_running_loop()
        try:
            with suppress(OSError, EOFError, TimeoutError):
                while True:
                    with anyio.fail_after(DNS_IDLE):
                        query = await _exactly(caught.sock, int.from_bytes(await _exactly(caught.sock, 2)))
                        reply = self.answer(query, tcp=True)
                        if reply is None:
                            break
                        await loop.sock_sendall(caught.sock, len(reply).to_bytes(2) + reply)
        finally:
            self._dns -= 1
            caught.close()


async def _exactly(sock: socket.socket, count: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < count:
        more = await loop.sock_recv(sock, count - len(data))
        if not more:
            raise EOFError
        data += more
    return data
