"""Secrets of tests, hosts that speak TLS, and programs that trust the sandbox's own authority and nobody else."""

from __future__ import annotations

import os
import re
import secrets
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from bulkhead.egress.authority import Authority
from bulkhead.egress.caught import Caught
from bulkhead.egress.injection import system_trust
from bulkhead.egress.proxy import EgressProxy
from tests.egress.sinks import NAME, PATIENCE, Programs, Sink, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bulkhead.spec import EgressRule

_LENGTH = re.compile(rb"content-length: ([0-9]+)", re.IGNORECASE)
ROOT = trustme.CA()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _token(prefix: str) -> bytes:
    return (prefix + secrets.token_hex(12)).encode()


@dataclass
class Canary:
    """A secret whose value may be at its host alone. live: a call is in flight; asked: how often for it."""

    name: str = "API_TOKEN"
    placeholder: bytes = field(default_factory=partial(_token, "placeholder-"))
    hosts: tuple[str, ...] = (NAME,)
    methods: tuple[str, ...] = ("*",)
    paths: tuple[str, ...] = ("*",)
    places: tuple[str, ...] = ("header",)
    secret: bytes = field(default_factory=partial(_token, "thevalue/+-="))
    live: bool = True
    asked: int = 0

    def value(self) -> bytes | None:
        self.asked += 1
        return self.secret if self.live else None


def server_context(name: str = NAME, root: trustme.CA = ROOT, **issued: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    root.issue_cert(name, **issued).configure_cert(context)
    return context


def trust(root: trustme.CA = ROOT) -> ssl.SSLContext:
    context = system_trust()
    root.configure_trust(context)
    return context


_SERVER = server_context()


class Host(Sink):
    """A host that proves its name and has serve() speak what is inside. data is what came, decrypted."""

    def __init__(self, serve: Callable[[ssl.SSLSocket, Host], None], context: ssl.SSLContext = _SERVER) -> None:
        self._context = context
        self._inside = serve
        super().__init__(self._secured)

    def _secured(self, conn: socket.socket, _: Sink) -> None:
        conn.settimeout(PATIENCE)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._context.wrap_socket(conn, server_side=True) as secure:
            self._inside(secure, self)


def head_of(conn: socket.socket, sink: Sink) -> bytes:
    """Reads to a head's end, byte by byte; raises OSError at the connection's."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = conn.recv(1)
        if not piece:
            raise OSError
        head += piece
        sink.arrived.append(piece)
    return head


def body_of(conn: socket.socket, sink: Sink, count: int) -> bytes:
    body = b""
    while len(body) < count:
        piece = conn.recv(min(count - len(body), 2**16))
        if not piece:
            raise OSError
        body += piece
        sink.arrived.append(piece)
    return body


def answering(*answers: bytes | Callable[[bytes], bytes]) -> Callable[[ssl.SSLSocket, Host], None]:
    """Answers each request, after its body; the last answer is for all that follow. A function gets the head."""

    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        left = list(answers)
        with suppress(OSError):
            while True:
                head = head_of(conn, host)
                if length := _LENGTH.search(head):
                    body_of(conn, host, int(length[1]))
                answer = left.pop(0) if len(left) > 1 else left[0]
                conn.sendall(answer if isinstance(answer, bytes) else answer(head))

    return serve


def answer(body: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *fields, b"", body))


def request(*fields: bytes, target: bytes = b"/", method: bytes = b"GET", body: bytes = b"") -> bytes:
    return b"\r\n".join((b"%s %s HTTP/1.1" % (method, target), b"Host: " + NAME.encode(), *fields, b"", body))


def scripted(*steps: int | bytes | None) -> Callable[[ssl.SSLSocket, Host], None]:
    """A host that goes by steps: None reads a head, a number so many bytes, and bytes are sent. Then it waits."""

    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        for step in steps:
            if step is None:
                head_of(conn, host)
            elif isinstance(step, int):
                body_of(conn, host, step)
            else:
                conn.sendall(step)
        while piece := conn.recv(2**16):
            host.arrived.append(piece)

    return serve


def asking(canary: Canary, *fields: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    return request(b"A: " + canary.placeholder, *fields, method=method, body=body)


class Sandbox(Programs):
    """Programs of a sandbox that has secrets. aborted: how pairs have ended."""

    def __init__(
        self,
        host: Sink,
        *injectables: Canary,
        rules: Sequence[EgressRule] = (),
        believed: ssl.SSLContext | None = None,
        **more: Any,
    ) -> None:
        allowed = (*rules, rule(host, tls=True))
        super().__init__(*allowed, **more)
        self.authority = Authority(sorted({name for each in injectables for name in each.hosts}))
        self.proxy = EgressProxy(
            allowed,
            report=self.told.append,
            lookup=more.pop("lookup", lambda _: ["127.0.0.1"]),
            injectables=injectables,
            authority=self.authority,
            trust=believed or trust(),
            **more,
        )
        self.port = host.port
        self.aborted: list[bool] = []

    def client(self, **options: Any) -> ssl.SSLContext:
        """What a program has: it trusts the authority, and nobody else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.authority.pem.decode())
        for key, value in options.items():
            setattr(context, key, value)
        return context

    def open(self, name: str = NAME, **options: Any) -> ssl.SSLSocket:
        return self.client(**options).wrap_socket(self.connect(name, self.port), server_hostname=name)

    def open_pair(self) -> tuple[ssl.SSLSocket, Caught]:
        """As through a gate's stdio: the connection is a pair of Unix sockets."""
        program, sock = socket.socketpair()
        program.settimeout(PATIENCE)
        sock.setblocking(False)
        caught = Caught(sock, self.resolve(NAME), self.port, "198.18.0.2", self._end)
        self._loop.call_soon_threadsafe(self._handle, caught)
        return self.client().wrap_socket(program, server_hostname=NAME), caught

    def _end(self, caught: Caught, aborted: bool) -> None:
        self.aborted.append(aborted)
        caught.sock.close()

    def say(self, *said: bytes) -> bytes:
        """All that comes back on one connection, until its end."""
        with self.open() as program:
            for piece in said:
                program.sendall(piece)
            return all_of(program)


def all_of(program: socket.socket) -> bytes:
    parts = []
    while piece := program.recv(2**16):
        parts.append(piece)
    return b"".join(parts)


def assert_cut_off(program: ssl.SSLSocket) -> None:
    """TCP says so. Python's ssl makes the same of a reset as of an end."""
    with socket.socket(fileno=os.dup(program.fileno())) as beneath:
        beneath.settimeout(PATIENCE)
        with pytest.raises(ConnectionResetError):
            all_of(beneath)


def some_of(program: socket.socket, count: int) -> bytes:
    """Exactly count bytes."""
    data = b""
    while len(data) < count:
        piece = program.recv(count - len(data))
        assert piece, data
        data += piece
    return data
