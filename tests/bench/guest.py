"""The program whose connections are measured, the same in every way: an MCP server, alone with the standard library.

A call's text is JSON. Each connection begins with a byte of the sink's, so what is measured has reached the far end; a
request has reached it with the secret that it is to have, or its answer would be another.
"""

import json
import os
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPSConnection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

GREETING = b"!"
DOWN, UP = b"D", b"U"
MORE, LAST = b".", b"!"
BLOCK = 2**18
PATIENCE = 30.0

_NAMES = ("connect", "transfer", "ask", "ask_anew")
_TOOLS = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in _NAMES]}
_HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "guest", "version": "1"},
}

Place = list[Any]  # a name or an address, and a port


def connect(place: Place, proxy: Place | None, sni: str, count: int, apart: float) -> list[float]:
    """Seconds from connect() to the sink's first byte, count times. sni: a ClientHello for it is sent in between."""
    family, where = _found(proxy or place)
    hello, taken = _hello(sni) if sni else b"", []
    for _ in range(count):
        time.sleep(apart)
        before = time.perf_counter()
        with _connected(family, where, place if proxy else None) as sock:
            if hello:
                sock.sendall(hello)
            _greeted(sock)
            taken.append(time.perf_counter() - before)
    return taken


def transfer(place: Place, proxy: Place | None, up: bool, count: int, seconds: float) -> tuple[int, float]:
    """The bytes that count connections carried together, and the seconds that it took.

    Up ends when the sink has the last of them, down when this program has.
    """
    family, where = _found(proxy or place)
    socks = [_connected(family, where, place if proxy else None) for _ in range(count)]
    for sock in socks:
        _greeted(sock)
    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        carried = sum(threads.map(_sent if up else _received, socks, [begun + seconds] * count))
    elapsed = time.perf_counter() - begun
    for sock in socks:
        sock.close()
    return carried, elapsed


def ask(place: Place, variable: str, count: int) -> list[float]:
    """Seconds of each of count requests on one connection, which has carried one before.

    variable: the one whose value is sent as a bearer's token; "": none is sent.
    """
    with closing(_secured(place, _unverified())) as connection:
        _asked(connection, variable)
        return [_asked(connection, variable) for _ in range(count)]


def ask_anew(place: Place, variable: str, count: int, apart: float) -> list[float]:
    """The same, each on a connection of its own, from its name to its answer."""
    context, taken = _unverified(), []
    for _ in range(count):
        time.sleep(apart)
        with closing(_secured(place, context)) as connection:
            taken.append(_asked(connection, variable))
    return taken


def _secured(place: Place, context: ssl.SSLContext) -> HTTPSConnection:
    """It connects at its first request."""
    return HTTPSConnection(place[0], place[1], timeout=PATIENCE, context=context)


def _asked(connection: HTTPSConnection, variable: str) -> float:
    headers = {"Authorization": f"Bearer {os.environ[variable]}"} if variable else {}
    before = time.perf_counter()
    connection.request("GET", "/", headers=headers)
    answer = connection.getresponse()
    answer.read()
    elapsed = time.perf_counter() - before
    if answer.status != 200:
        raise OSError(f"answered {answer.status} {answer.reason}")
    return elapsed


def _unverified() -> ssl.SSLContext:
    """It is the way that is measured."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _received(sock: socket.socket, end: float) -> int:
    buffer, count = bytearray(BLOCK), 0
    sock.sendall(DOWN)
    while time.perf_counter() < end:
        count += _some(sock.recv_into(buffer))
    return count


def _sent(sock: socket.socket, end: float) -> int:
    more, last, count = MORE.ljust(BLOCK), LAST.ljust(BLOCK), BLOCK
    sock.sendall(UP)
    while time.perf_counter() < end:
        sock.sendall(more)
        count += BLOCK
    sock.sendall(last)
    _greeted(sock)
    return count


def _found(place: Place) -> tuple[socket.AddressFamily, Any]:
    family, _, _, _, where = socket.getaddrinfo(place[0], place[1], type=socket.SOCK_STREAM)[0]
    return family, where


def _connected(family: socket.AddressFamily, where: Any, beyond: Place | None) -> socket.socket:
    """beyond: where a proxy is to connect to."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    sock.connect(where)
    if beyond:
        host = "{}:{}".format(*beyond)
        sock.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        _leave_behind(sock, b"\r\n\r\n")
    return sock


def _leave_behind(sock: socket.socket, end: bytes) -> None:
    """Reads the proxy's answer, and nothing of what is after it."""
    while (at := (said := sock.recv(BLOCK, socket.MSG_PEEK)).find(end)) < 0:
        _some(len(said))
    if b" 200 " not in sock.recv(at + len(end)):
        sock.close()
        raise OSError(said.decode(errors="replace"))


def _greeted(sock: socket.socket) -> None:
    _some(len(sock.recv(1)))


def _some(count: int) -> int:
    if not count:
        raise EOFError("the connection ended early")
    return count


def _hello(name: str) -> bytes:
    """A ClientHello, without a server."""
    said = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname=name).do_handshake()
    return said.read()


def main() -> None:
    """Until the end of stdin."""
    calls: dict[str, Callable[..., Any]] = dict(zip(_NAMES, (connect, transfer, ask, ask_anew), strict=True))
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message:
            continue
        result: dict[str, Any] = _HELLO if message["method"] == "initialize" else _TOOLS
        if message["method"] == "tools/call":
            value = calls[message["params"]["name"]](**message["params"]["arguments"])
            result = {"content": [{"type": "text", "text": json.dumps(value)}]}
        sys.stdout.buffer.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
