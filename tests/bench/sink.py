"""What the measured connections reach: `python -m tests.bench.sink ADDRESS...`, until its stdin ends.

A process of its own, and as little work as a kernel allows: bytes go out by sendfile, and those that come in are never
copied to it. Its first line is two ports as JSON: on the first it speaks first, on the second, one known for TLS, it
answers once it was spoken to. Then a connection says DOWN, or UP and after it blocks that begin with MORE or LAST.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from threading import Thread

from bulkhead.egress.allowlist import TLS_PORTS
from tests.bench.guest import BLOCK, DOWN, GREETING, LAST, MORE, UP

_SIZE = 2**24
_BACKLOG = 256
_UNPRIVILEGED = 1024


def main(addresses: list[str]) -> None:
    """Serves all addresses on the same two ports."""
    first, second = opened(addresses, range(20_000, 30_000)), opened(addresses, _known_for_tls())
    content = os.memfd_create("sink")
    os.truncate(content, _SIZE)
    for listeners, asked in ((first, False), (second, True)):
        for listener in listeners:
            Thread(target=_accept, args=(listener, content, asked), daemon=True).start()
    sys.stdout.write(json.dumps([listeners[0].getsockname()[1] for listeners in (first, second)]) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


def _known_for_tls() -> list[int]:
    return sorted(port for port in TLS_PORTS if port >= _UNPRIVILEGED)


def opened(addresses: list[str], ports: range | list[int]) -> list[socket.socket]:
    """Listeners on all addresses and the first port that is free on each."""
    for port in ports:
        listeners: list[socket.socket] = []
        try:
            for address in addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                listeners.append(socket.create_server((address, port), family=family, backlog=_BACKLOG))
        except OSError:
            for listener in listeners:
                listener.close()
        else:
            return listeners
    sys.exit(f"no port of {ports} is free on {addresses}")


def _accept(listener: socket.socket, content: int, asked: bool) -> None:
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not asked:  # before the thread starts, which takes longer than many a connection
            with suppress(OSError):
                sock.sendall(GREETING)
        Thread(target=_serve, args=(sock, content, asked), daemon=True).start()


def _serve(sock: socket.socket, content: int, asked: bool) -> None:
    with sock, suppress(OSError):
        if asked:
            sock.recv(BLOCK)
            sock.sendall(GREETING)
        wish = sock.recv(1)
        while wish == DOWN:
            os.sendfile(sock.fileno(), content, 0, _SIZE)
        if wish == UP:
            _take(sock)


def _take(sock: socket.socket) -> None:
    """Reads the blocks to the last one, and then says so."""
    buffer, kind = bytearray(BLOCK - 1), MORE
    while kind == MORE:
        kind = sock.recv(1)
        if sock.recv_into(buffer, 0, socket.MSG_WAITALL | socket.MSG_TRUNC) < len(buffer):
            return
    if kind == LAST:
        sock.sendall(GREETING)


if __name__ == "__main__":
    main(sys.argv[1:])
