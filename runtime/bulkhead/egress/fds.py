"""The gate's own sockets in the runner: no byte goes through the gate. Only where both run on one kernel.

take() receives them over a Unix socket that nobody but this gate can have connected to: it stands in a folder of the
runner's user alone, and the kernel says that the peer has the uid that only this gate's process has.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bulkhead.egress.caught import Caught
from bulkhead.egress.gate import DNS, receive_query, reset, send_answer
from bulkhead.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bulkhead.egress.caught import Catch

AT_ONCE = 32  # connections or queries, before the event loop looks at anything else
PAUSE = 0.1  # seconds without accepting, once the process or the machine is out of descriptors
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FDS = 253


def take(listener: socket.socket, uid: int, ports: Sequence[int]) -> list[socket.socket]:
    """The sockets of a gate that is READY, so it has sent them. Raises StartError for what is not the gate's."""
    sockets: list[socket.socket] = []
    try:
        conn, _ = listener.accept()
        with conn:
            conn.setblocking(False)
            _refuse_other(conn, uid)
            while True:
                data, fds, _, _ = socket.recv_fds(conn, 1, _FDS)
                sockets += [socket.socket(fileno=fd) for fd in fds]
                if not data:
                    break
        _refuse_strange(sockets, ports)
    except OSError as error:
        _close(sockets)
        raise StartError("the gate's sockets did not arrive", why=str(error)) from error
    except StartError:
        _close(sockets)
        raise
    return sockets


def _refuse_other(conn: socket.socket, uid: int) -> None:
    _, peer, _ = struct.unpack("3i", conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if peer != uid:
        raise StartError("another process took the gate's place", why=f"its uid is {peer}, the gate's is {uid}")


def _refuse_strange(sockets: Sequence[socket.socket], ports: Sequence[int]) -> None:
    """For each family: one for datagrams on the port of DNS, and a listener on each port."""
    due = {(socket.SOCK_DGRAM, DNS), *((socket.SOCK_STREAM, port) for port in (DNS, *ports))}
    for family in {sock.family for sock in sockets} | {socket.AF_INET}:
        if {(sock.type, sock.getsockname()[1]) for sock in sockets if sock.family == family} != due:
            raise StartError("the gate handed over other sockets than it should", why=f"{len(sockets)} came")


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


@contextmanager
def accepting(sockets: Sequence[socket.socket], catch: Catch) -> Iterator[None]:
    """Within it, what comes in goes to catch; the sockets are closed afterwards."""
    acceptor = _Acceptor(sockets, catch)
    acceptor.resume()
    try:
        yield
    finally:
        acceptor.close()


class _Acceptor:
    def __init__(self, sockets: Sequence[socket.socket], catch: Catch) -> None:
        self._loop = asyncio.get_running_loop()
        self._catch = catch
        self._listeners = [sock for sock in sockets if sock.type == socket.SOCK_STREAM]
        self._datagrams = [sock for sock in sockets if sock.type == socket.SOCK_DGRAM]
        self._paused = True
        self._closed = False
        for sock in self._datagrams:
            self._loop.add_reader(sock, self._answer, sock)

    def resume(self) -> None:
        if self._paused and not self._closed and not self._catch.full:
            self._paused = False
            for sock in self._listeners:
                self._loop.add_reader(sock, self._accept, sock)

    def close(self) -> None:
        self._closed = True
        self._pause()
        for sock in self._datagrams:
            self._loop.remove_reader(sock)
        _close([*self._listeners, *self._datagrams])

    def _pause(self) -> None:
        """Programs wait in the backlog meanwhile."""
        self._paused = True
        for sock in self._listeners:
            self._loop.remove_reader(sock)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            if self._paused:
                return
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause()
                    self._loop.call_later(PAUSE, self.resume)
                    return
                continue  # it was reset before it was accepted
            self._catch_one(sock, peer[0])

    def _catch_one(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address, port = sock.getsockname()[:2]
        self._catch.add(Caught(sock, address, port, peer, self._ended))
        if self._catch.full:
            self._pause()

    def _ended(self, caught: Caught, aborted: bool) -> None:
        if aborted:
            reset(caught.sock)
        else:
            caught.sock.close()
        self._catch.forget(caught)
        self.resume()

    def _answer(self, sock: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                query, ancillary, address = receive_query(sock)
            except OSError:
                return
            answer = self._catch.answer(query, tcp=False)
            if answer is not None:
                send_answer(sock, answer, ancillary, address)
