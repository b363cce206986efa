"""Services of this machine on all its addresses, which record whatever reaches them: nothing, unless a rule says so."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple, Self

import psutil

from tests.conftest import until

if TYPE_CHECKING:
    from types import TracebackType

PATIENCE = 10.0
HEARD = b"heard"
_MARK = b"the test's own mark"
WEB = "127.0.77.1"  # of loopback, so that port 80 is free there whatever else the machine serves
_KINDS = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - the point


class Arrival(NamedTuple):
    """A connection or a datagram. kind: "tcp" or "udp"; address and port: where it arrived; data: what was said."""

    kind: str
    address: str
    port: int
    data: bytes


class Sink:
    """port: TCP and UDP, both families, every address; web: TCP port 80 of WEB; deaf: a TCP port that never reads.

    A connection is answered HEARD, and kept until the other side ends. assert_silent() and take() look at what came.
    """

    def __init__(self) -> None:
        self._arrivals: list[Arrival] = []
        self._closing = ExitStack()
        self._selector = self._closing.enter_context(selectors.DefaultSelector())
        self.port = self._open_everywhere()
        self._listen(socket.AF_INET, WEB, 80)
        self._deaf = self._closing.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        self.deaf = int(self._deaf.getsockname()[1])
        self._wake, stop = socket.socketpair()
        self._closing.enter_context(self._wake)
        self._closing.enter_context(stop)
        self._selector.register(stop, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._wake.close()
        self._thread.join(PATIENCE)
        self._closing.close()

    def take(self) -> list[Arrival]:
        """What has arrived since the last look: a mark of our own to every service comes after all of it."""
        marks = [(socket.AF_INET, "127.0.0.1", self.port), (socket.AF_INET6, "::1", self.port)]
        for family, address, port in marks:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.sendto(_MARK, (address, port))
        for family, address, port in (*marks, (socket.AF_INET, WEB, 80)):
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.settimeout(PATIENCE)
                sock.connect((address, port))
                sock.sendall(_MARK)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(64):
                    pass
        until(lambda: sum(arrival.data == _MARK for arrival in self._arrivals) == 5, PATIENCE)
        found, self._arrivals[:] = [arrival for arrival in self._arrivals if arrival.data != _MARK], []
        return found

    def end_deaf(self, count: int) -> None:
        """Ends so many connections of those that were never read: with a reset, since bytes are left."""
        for _ in range(count):
            self._deaf.accept()[0].close()

    def _open_everywhere(self) -> int:
        """A port that is free for both kinds and families."""
        port = self._listen(socket.AF_INET, _KINDS[socket.AF_INET], 0)
        self._listen(socket.AF_INET6, _KINDS[socket.AF_INET6], port)
        for family, address in _KINDS.items():
            sock = self._closing.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            self._selector.register(sock, selectors.EVENT_READ, self._datagram)
        return port

    def _listen(self, family: socket.AddressFamily, address: str, port: int) -> int:
        sock = self._closing.enter_context(socket.create_server((address, port), family=family, backlog=256))
        self._selector.register(sock, selectors.EVENT_READ, self._accept)
        return int(sock.getsockname()[1])

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def _accept(self, listener: socket.socket) -> None:
        sock, _ = listener.accept()
        self._closing.callback(sock.close)
        said = bytearray()
        self._selector.register(sock, selectors.EVENT_READ, lambda _: self._hear(sock, said))

    def _hear(self, sock: socket.socket, said: bytearray) -> None:
        """Recorded with its end, so that all of it is told at once."""
        with suppress(OSError):
            if piece := sock.recv(2**16):
                said += piece
                sock.sendall(HEARD)
                return
        self._selector.unregister(sock)
        address, port = sock.getsockname()[:2]
        self._arrivals.append(Arrival("tcp", address, port, bytes(said)))
        sock.close()

    def _datagram(self, sock: socket.socket) -> None:
        data, _ = sock.recvfrom(4096)
        address, port = sock.getsockname()[:2]
        self._arrivals.append(Arrival("udp", address, port, data))


def machine_addresses(family: int) -> list[str]:
    """This machine's own, of every interface; link-local ones need to be told the interface."""
    rows = [row.address for rows in psutil.net_if_addrs().values() for row in rows if row.family == family]
    return sorted({address for address in rows if "%" not in address})
