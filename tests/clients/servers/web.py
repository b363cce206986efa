"""A web server that tells what arrived: HTTP/1.1 on port 80, and behind TLS on 443, from the standard library."""

from __future__ import annotations

import hashlib
import ssl
import struct
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Any, ClassVar

from tests.clients.servers.content import content
from tests.clients.servers.git import backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import trustme

    from tests.clients.box import Place

PIECE = 2**14


@dataclass(frozen=True)
class Request:
    """One that came, with its body's length and sha256. broken: the client has reset it. key: what lets it in."""

    method: str
    path: str
    host: str
    scheme: str
    size: int = 0
    sha256: str = ""
    broken: bool = False
    key: str = ""


@dataclass
class Web:
    """root is a folder that is served as it is; arrived is what came, a body once it was whole or had broken."""

    place: Place
    authority: trustme.CA
    root: Path
    arrived: list[Request] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator[Web]:
        with ExitStack() as closing:
            for port, context in zip(self.place.ports, (None, self._context()), strict=True):
                server = _Server((self.place.address, port), type("Bound", (_Handler,), {"web": self}))
                server.context = context
                closing.callback(server.server_close)
                threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
                closing.callback(server.shutdown)
            yield self

    def url(self, path: str, scheme: str = "https") -> str:
        return f"{scheme}://{self.place.name}{path}"

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(self.place.name).configure_cert(context)
        return context


class _Server(ThreadingHTTPServer):
    """TLS begins in the connection's own thread."""

    request_queue_size = 512
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)
        if self.context:
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients break connections here because the tests want it."""


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    web: ClassVar[Web]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, directory=str(self.web.root))

    def do_GET(self) -> None:
        self._note()
        word, _, rest = self.path.removeprefix("/").partition("/")
        behaviour = getattr(self, f"say_{word}", None)
        if behaviour:
            behaviour(rest)
        else:
            super().do_GET()

    def do_POST(self) -> None:
        """Takes the body, and tells its sha256."""
        if self.path.startswith("/git/"):
            self._note()
            self.say_git(self.path.removeprefix("/git/"), b"".join(self._body()))
            return
        total, size = hashlib.sha256(), 0
        try:
            for piece in self._body():
                total.update(piece)
                size += len(piece)
        except OSError:
            self._note(size, broken=True)
            raise
        self._note(size, total.hexdigest())
        self._say(f"{total.hexdigest()}\n".encode())

    do_PUT = do_POST

    def say_hello(self, name: str) -> None:
        self._say(f"hello {name}".encode())

    def say_bytes(self, size: str) -> None:
        self._say(content(int(size)))

    def say_chunks(self, size: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = content(int(size))
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def say_slowly(self, count: str) -> None:
        """A byte at a time."""
        self.send_response(200)
        self.send_header("Content-Length", count)
        self.end_headers()
        for byte in content(int(count)):
            self.wfile.write(bytes((byte,)))
            time.sleep(0.02)

    def say_moved(self, path: str) -> None:
        self.send_response(302)
        self.send_header("Location", self.web.url(f"/{path}"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def say_reset(self, _: str) -> None:
        """Half an answer, and a reset."""
        self.send_response(200)
        self.send_header("Content-Length", str(2 * PIECE))
        self.end_headers()
        self.wfile.write(content(PIECE))
        self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()  # before the server shuts it down, which were an end
        self.close_connection = True

    def say_git(self, path: str, body: bytes = b"") -> None:
        """See servers.git."""
        status, head, answer = backend(self.web.root / "git", self.command, f"/{path}", dict(self.headers), body)
        self.send_response(status)
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> Iterator[bytes]:
        if self.headers["Transfer-Encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read1(min(left, PIECE))
            if not piece:
                raise EOFError
            left -= len(piece)
            yield piece

    def _note(self, size: int = 0, sha256: str = "", *, broken: bool = False) -> None:
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        host = self.headers.get("Host", "")
        key = self.headers.get("Authorization", "") or self.headers.get("X-Key", "")
        self.web.arrived.append(Request(self.command, self.path, host, scheme, size, sha256, broken, key))

    def log_message(self, *args: object) -> None:
        del args
