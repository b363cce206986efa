"""A server that wants out: its tools connect to whatever they are told, and say what came of it.

    python3 -m tests.servers.reaching [--at-start=HOST:PORT]

--at-start: it connects before it has said anything.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.servers.speaker import RpcError, Speaker, handshakes, text

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 5.0
_held: list[socket.socket] = []


def reach(host: str, port: int, say: str = "hello", hold: float = 0) -> dict[str, Any]:
    """Says something, waits for hold seconds, and answers with what came back; an error is the tool's."""
    try:
        return text(_heard(host, port, say, hold))
    except OSError as error:
        return text(str(error)) | {"isError": True}


def try_to_reach(host: str, port: int) -> dict[str, Any]:
    """The same, and an error is no error."""
    return text(str(reach(host, port)["content"][0]["text"]))


def _heard(host: str, port: int, say: str, hold: float) -> str:
    with socket.create_connection((host, port), PATIENCE) as sock:
        sock.sendall(say.encode())
        time.sleep(hold)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as stream:
            return stream.read().decode()


def flood(host: str, port: int, seconds: float) -> dict[str, Any]:
    """Asks for names that nobody allows, connects and resets, all as fast as it can: how often in all."""
    until, count = time.monotonic() + seconds, 0
    address = socket.getaddrinfo(host, port)[0][4]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dns:
        dns.connect(("127.0.0.1", 53))
        while time.monotonic() < until:
            for _ in range(20):
                label = os.urandom(8).hex().encode()
                dns.send(struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + b"\x10" + label + b"\x07example\0\0\1\0\1")
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.setblocking(False)
                sock.connect_ex(address)
            count += 21
    return text(str(count))


def hold_open(host: str, port: int, count: int) -> dict[str, Any]:
    """Connections that say nothing and stay."""
    address = socket.getaddrinfo(host, port)[0][4]
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        _held.append(sock)
    return text("held")


def pour(host: str, port: int, megabytes: int, count: int) -> dict[str, Any]:
    """Sends on count connections until nobody takes any more, or so much went: the megabytes."""
    sent, piece, poll, socks = 0, bytes(2**16), select.poll(), {}
    for _ in range(count):
        sock = socket.create_connection((host, port), PATIENCE)
        sock.setblocking(False)
        socks[sock.fileno()] = sock
        poll.register(sock, select.POLLOUT)
    _held.extend(socks.values())
    while sent < megabytes * 2**20 and (ready := poll.poll(500)):
        for fd, _ in ready:
            sent += socks[fd].send(piece)
    return text(str(sent // 2**20))


def echo(said: str) -> dict[str, Any]:
    """The same."""
    return text(said)


def crash() -> dict[str, Any]:
    """Ends the server."""
    os._exit(3)


def environment() -> dict[str, Any]:
    """Its variables, as JSON."""
    return text(json.dumps(dict(os.environ)))


TOOLS: dict[str, Callable[..., dict[str, Any]]] = {
    tool.__name__: tool for tool in (reach, try_to_reach, flood, hold_open, pour, echo, crash, environment)
}


def _list(_speaker: Speaker, _message: dict[str, Any]) -> dict[str, Any]:
    return {
        "tools": [
            {"name": name, "description": tool.__doc__, "inputSchema": {"type": "object"}}
            for name, tool in TOOLS.items()
        ]
    }


def _call(_speaker: Speaker, message: dict[str, Any]) -> dict[str, Any]:
    params = message["params"]
    if params["name"] not in TOOLS:
        raise RpcError(-32602, f"no tool {params['name']}")
    return TOOLS[params["name"]](**params.get("arguments", {}))


def main(arguments: list[str]) -> None:
    """Serves until the end of stdin."""
    for argument in arguments:
        host, _, port = argument.removeprefix("--at-start=").rpartition(":")
        reach(host, int(port))
    Speaker().serve(handshakes("reaching", {"tools": {}}) | {"tools/list": _list, "tools/call": _call})


if __name__ == "__main__":
    main(sys.argv[1:])
