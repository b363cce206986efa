"""The HTTPS server of the measured requests: `python -m tests.bench.far_end FOLDER`, until its stdin ends.

A process of its own, with as little work as TLS allows. FOLDER has the secret, and gets the certificate of who vouches
for this machine's name. Its first line is its port as JSON. It answers whoever sends no token, or the right one.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

import trustme

from tests.bench.sink import opened
from tests.bench.ways import own_name

AUTHORITY, SECRET = "far-end.pem", "far-end.secret"

_PIECE = 2**16
_BODY = b"x" * 100
_HEAD = "HTTP/1.1 {}\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n"


def main(folder: Path) -> None:
    """Serves on all addresses of this machine's name."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(own_name()).configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / AUTHORITY))
    token = b"authorization: bearer " + (folder / SECRET).read_bytes().lower() + b"\r\n"
    listeners = opened(own_addresses(), range(20_000, 30_000))
    for listener in listeners:
        Thread(target=_accept, args=(listener, context, token), daemon=True).start()
    sys.stdout.write(json.dumps(listeners[0].getsockname()[1]) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


def own_addresses() -> list[str]:
    """Where this machine's name leads."""
    return list(dict.fromkeys(str(row[4][0]) for row in socket.getaddrinfo(own_name(), None, type=socket.SOCK_STREAM)))


def _accept(listener: socket.socket, context: ssl.SSLContext, token: bytes) -> None:
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Thread(target=_serve, args=(sock, context, token), daemon=True).start()


def _serve(sock: socket.socket, context: ssl.SSLContext, token: bytes) -> None:
    """A request has no body, and the next one comes after its answer."""
    with suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
        head = b""
        while data := tls.recv(_PIECE):
            head += data
            if head.endswith(b"\r\n\r\n"):
                tls.sendall(_answer(head.lower(), token))
                head = b""


def _answer(head: bytes, token: bytes) -> bytes:
    status = "401 Unauthorized" if b"\r\nauthorization:" in head and token not in head else "200 OK"
    return _HEAD.format(status, len(_BODY)).encode() + _BODY


if __name__ == "__main__":
    main(Path(sys.argv[1]))
