"""Runs inside a sandbox behind a gate, before inside.py: what a hostile program tries, to get out of it.

Where a program's own call is refused, its errno is told, as with all of inside.py.
"""

import errno
import os
import select
import socket
import struct
import time
from typing import Any

_PATIENCE = 15.0
held: list[socket.socket] = []  # what stays open between two questions


def tcp(options: list[list[Any]] | None = None, *, family: int = socket.AF_INET) -> socket.socket:
    """A socket with options: level, name and value, a number or hexadecimal."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(_PATIENCE)
    for level, name, value in options or ():
        sock.setsockopt(level, name, bytes.fromhex(value) if isinstance(value, str) else value)
    return sock


def spoken(address: str, port: int, said: str, options: list[list[Any]] | None = None) -> list[str]:
    """What comes back on a connection on which hexadecimal bytes are said, and whether it "ended" or was "reset"."""
    with tcp(options, family=socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        try:
            sock.connect((address, port))
        except ConnectionResetError:  # already, so nothing was said
            return ["", "reset"]
        return _heard(sock, bytes.fromhex(said))


def spoken_in_the_syn(address: str, port: int, said: str) -> list[str]:
    """The same, with the bytes in the connection's first packet (TCP Fast Open)."""
    with tcp() as sock:
        sock.setblocking(True)  # else it would not wait for the connection
        sock.sendto(bytes.fromhex(said), socket.MSG_FASTOPEN, (address, port))
        return _heard(sock, b"")


def _heard(sock: socket.socket, said: bytes) -> list[str]:
    heard = b""
    try:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(2**16):
            heard += piece
    except OSError as error:
        if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
            raise
        return [heard.decode("latin-1"), "reset"]
    return [heard.decode("latin-1"), "ended"]


def asked(query: str, address: str = "127.0.0.1") -> list[str]:
    """The hexadecimal answers to a DNS message of whoever has this address, as a datagram and over TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_PATIENCE)
        sock.sendto(bytes.fromhex(query), (address, 53))
        answer, _ = sock.recvfrom(4096)
    return [answer.hex(), asked_over_tcp(query, address)]


def asked_over_tcp(query: str, address: str = "127.0.0.1") -> str:
    """The same; "" if there is none, which is told at once."""
    message = bytes.fromhex(query)
    with tcp() as stream:
        stream.connect((address, 53))
        stream.sendall(len(message).to_bytes(2, "big") + message)
        return stream.recv(4096)[2:].hex()


def flooded_with_queries(queries: list[str], seconds: float) -> int:
    """Asks as fast as it can, and hears no answer: how often."""
    messages, count = [bytes.fromhex(query) for query in queries], 0
    until = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", 53))
        while time.monotonic() < until:
            for message in messages:
                sock.send(message)
                count += 1
    return count


def datagram(address: str, port: int) -> str:
    """What a datagram meets."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.sendto(b"out", (address, port))
        sock.connect((address, port))
        sock.send(b"out")
        return "answered " + sock.recv(1).decode()


def half_open(address: str, port: int, count: int) -> int:
    """Connections that say nothing and stay: how many the kernel has made of count, within a second."""
    for _ in range(count):
        sock = tcp()
        sock.setblocking(False)
        sock.connect_ex((address, port))
        held.append(sock)
    poll = select.poll()
    for sock in held:
        poll.register(sock, select.POLLOUT)
    time.sleep(0.5)
    return len(poll.poll(500))


def let_go() -> None:
    """Closes all that stayed."""
    for sock in held:
        sock.close()
    held.clear()


def reset_storm(address: str, port: int, count: int) -> int:
    """Connections that are reset as soon as they are made: by this end, or by the other, which bounds them."""
    for _ in range(count):
        with tcp([[socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0).hex()]]) as sock:
            sock.connect_ex((address, port))
    return count


def poured(address: str, port: int, most: int, count: int = 1) -> int:
    """Sends on count connections until nobody takes any more, or most bytes went: the bytes. They stay open."""
    socks, sent, piece = [], 0, bytes(2**16)
    for _ in range(count):
        socks.append(tcp())
        socks[-1].connect((address, port))
        socks[-1].setblocking(False)
    held.extend(socks)
    poll = select.poll()
    for sock in socks:
        poll.register(sock, select.POLLOUT)
    by_fd = {sock.fileno(): sock for sock in socks}
    while sent < most and (ready := poll.poll(500)):
        for fd, _ in ready:
            sent += by_fd[fd].send(piece)
    return sent


def configured(kind: int, body: str) -> None:
    """A request to the kernel to change the namespace's network: a kind of rtnetlink's, and what follows its header."""
    message = bytes.fromhex(body)
    flags = 0x605  # NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(message), kind, flags, 1, 0) + message)
        code = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    if code:
        raise OSError(-code, os.strerror(-code))


def made(family: int, kind: int, protocol: int) -> None:
    """A socket of a kind."""
    socket.socket(family, kind, protocol).close()
