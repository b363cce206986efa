"""Runs in a sandbox behind a gate, alone with the standard library: does what a test asks, and tells the outcome.

A line in is ``["function", argument, ...]``; a line out is ``{"value": ...}``, or ``{"errno": "EPERM"}``.
"""

import errno
import hashlib
import json
import os
import socket
import struct
import sys
import threading
import time
from typing import Any

PATIENCE = 20.0
open_now: dict[str, socket.socket] = {}  # what a later question goes on with


def _connected(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    sock.connect((address, port))
    return sock


def _all_of(sock: socket.socket) -> bytes:
    received = bytearray()
    while data := sock.recv(2**16):
        received += data
    return bytes(received)


def _send_all(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def text_of(path: str) -> str:
    """A file's text."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.read()


def interfaces() -> list[str]:
    """The network's interfaces."""
    return [name for _, name in socket.if_nameindex()]


def echoed(address: str, port: int, size: int) -> list[Any]:
    """Sends size bytes, says that it is all, and reads to the end: the digests of both, and the peer's address."""
    data = os.urandom(1024) * (size // 1024)
    with _connected(address, port) as sock:
        peer = sock.getpeername()[:2]
        sending = threading.Thread(target=_send_all, args=(sock, data))
        sending.start()
        back = _all_of(sock)
        sending.join()
        return [hashlib.sha256(data).hexdigest(), hashlib.sha256(back).hexdigest(), *peer]


def echoed_at_once(address: str, port: int, count: int) -> int:
    """How many of so many connections, open at the same time, bring back their own number."""
    socks = [_connected(address, port) for _ in range(count)]
    for number, sock in enumerate(socks):
        sock.sendall(str(number).encode())
        sock.shutdown(socket.SHUT_WR)
    right = sum(_all_of(sock) == str(number).encode() for number, sock in enumerate(socks))
    for sock in socks:
        sock.close()
    return right


def received_then_said(address: str, port: int, text: str) -> int:
    """Reads until the other side has ended, and only then says something: the bytes read."""
    with _connected(address, port) as sock:
        count = len(_all_of(sock))
        sock.sendall(text.encode())
        return count


def until_reset(address: str, port: int) -> str:
    """What ends a connection on which one byte is said."""
    with _connected(address, port) as sock:
        sock.sendall(b"x")
        return "ended" if not sock.recv(1) else "answered"


def opened(name: str, address: str, port: int) -> None:
    """A connection that stays."""
    open_now[name] = _connected(address, port)


def stuffed(name: str, piece: int) -> int:
    """Sends on it until nothing more is taken for half a second: the bytes."""
    sock, sent = open_now[name], 0
    sock.settimeout(0.5)
    try:
        while True:
            sent += sock.send(b"x" * piece)
    except TimeoutError:
        return sent
    finally:
        sock.settimeout(PATIENCE)


def drained(name: str) -> int:
    """Reads it to its end, and closes it: the bytes."""
    with open_now.pop(name) as sock:
        return len(_all_of(sock))


def closed(name: str) -> None:
    open_now.pop(name).close()


def reset(name: str) -> None:
    """Closes it with a reset."""
    sock = open_now.pop(name)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def flooded(address: str, port: int, count: int) -> None:
    """Connections that are reset before anybody can have looked at them."""
    for number in range(count):
        opened(str(number), address, port)
        reset(str(number))


def refused_within(kind: int, address: str, port: int) -> float:
    """Seconds until a connection, or a datagram, was refused."""
    begun = time.monotonic()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect((address, port))
            sock.send(b"x")
            sock.recv(1)
        except ConnectionRefusedError:
            return time.monotonic() - begun
    return PATIENCE


def asked(address: str, query: str) -> list[str]:
    """A DNS datagram's answer, and whom it came from."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.sendto(query.encode(), (address, 53))
        answer, sender = sock.recvfrom(4096)
        return [answer.decode(), sender[0]]


def asked_over_tcp(address: str, *queries: str) -> list[str]:
    """The answers on one connection; all is asked before the first is read."""
    with _connected(address, 53) as sock:
        for query in queries:
            sock.sendall(len(query).to_bytes(2, "big") + query.encode())
        with sock.makefile("rb") as stream:
            return [stream.read(int.from_bytes(stream.read(2), "big")).decode() for _ in queries]


def resolved(name: str) -> list[str]:
    """What the C library's resolver says."""
    return sorted({str(row[4][0]) for row in socket.getaddrinfo(name, 80)})


def bound(family: int, kind: int, address: str, port: int, options: list[list[int]]) -> str:
    """Only that the port can be had."""
    with socket.socket(family, kind) as sock:
        for level, option, value in options:
            sock.setsockopt(level, option, value)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen()
    return "bound"


def route_message(kind: int) -> str:
    """Adds (24) or removes (25) ``local 0.0.0.0/0 dev lo``."""
    route = struct.pack("=BBBBBBBBIHHI", socket.AF_INET, 0, 0, 0, 255, 4, 254, 2, 0, 8, 4, 1)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(route), kind, 5, 1, 0) + route)
        code = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    if code:
        raise OSError(-code, os.strerror(-code))
    return "changed"


def main() -> None:
    """Answers until its stdin ends."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"value": globals()[name](*arguments)}
        except OSError as error:
            answer = {"errno": errno.errorcode.get(error.errno or 0, str(error))}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
