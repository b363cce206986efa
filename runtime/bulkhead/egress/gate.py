"""The gate: one process that owns a sandbox's network namespace, makes every address local, and hands what it catches
to the runner. It decides nothing, knows no names, and reads no byte of what it carries.

It runs in a container of its own as ``python3 -I -S -c SOURCE UID CONNECTIONS SOCKET PORT...``, so it imports nothing
but the standard library, and little of that: import time is start-up time of every session. Rules:

- it starts as root with NET_ADMIN, SETGID and SETUID, because Docker gives another user no capability. Once the routes
  are set and the sockets open it becomes UID, at which the kernel takes all capabilities away; only then is it READY.
- its first line of stdout is ``READY fds`` or ``READY mux``; where anything fails it says why on stderr and exits.
- fds: the sockets go to the runner over SOCKET, and the gate only holds the namespace. Where SOCKET is "" or leads
  nowhere (a daemon in a virtual machine), mux: frames on stdin and stdout carry connections and DNS datagrams.
- mux: each side may send WINDOW bytes of a connection before the other has passed them on. So a slow program holds up
  nobody else, and memory is bounded. Writing to stdout may block: the runner always reads.
- it ends with its stdin, and everything that it carried with it.

The runner imports the frames and what handles a socket alike on both sides from here, so each has one definition.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
import time

DNS = 53
WINDOW = 2**17
CHUNK = 2**16
BACKLOG = 128
_QUERY = 4096  # the largest that a resolver announces with EDNS
_PENDING = 256  # queries whose answers are awaited; the oldest is forgotten first, and its asker asks again
_FDS = 64  # in one message; the kernel takes 253

# Frames: kind, id, length of what follows. OPEN carries "ADDRESS PORT PEER", CREDIT a number of bytes that were passed
# on, QUERY and ANSWER a DNS message. END is a half-close; CLOSE ends both ways once all is passed on, RESET at once.
OPEN, DATA, END, CLOSE, RESET, CREDIT, QUERY, ANSWER = range(8)
_HEADER = struct.Struct(">BII")
_COUNT = struct.Struct(">I")

_IP_PKTINFO, _IPV6_FREEBIND = 8, 78  # the socket module has no names for them
_RTM_NEWROUTE, _NLMSG_ERROR = 24, 2
_ACKNOWLEDGED_NEW = 0x605  # NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE
_LOCAL_TABLE, _STATIC, _HOST_SCOPE, _LOCAL, _RTA_OIF, _LO = 255, 4, 254, 2, 4, 1


def frame(kind: int, number: int, payload: bytes = b"") -> bytes:
    return _HEADER.pack(kind, number, len(payload)) + payload


def credit(number: int, count: int) -> bytes:
    return frame(CREDIT, number, _COUNT.pack(count))


def count_of(payload: bytes) -> int:
    """Of a CREDIT."""
    return int(_COUNT.unpack(payload)[0])


def frames(buffer: bytearray) -> list[tuple[int, int, bytes]]:
    """Takes the whole frames off buffer. Raises ValueError for what is none."""
    found, at = [], 0
    while len(buffer) - at >= _HEADER.size:
        kind, number, length = _HEADER.unpack_from(buffer, at)
        if kind > ANSWER or length > CHUNK:
            raise ValueError(f"no frame: kind {kind}, {length} bytes")
        end = at + _HEADER.size + length
        if end > len(buffer):
            break
        found.append((kind, number, bytes(buffer[at + _HEADER.size : end])))
        at = end
    del buffer[:at]
    return found


def reset(sock: socket.socket) -> None:
    """Closes it so that the other side sees a reset, and nothing that is still queued."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def receive_query(sock: socket.socket) -> tuple[bytes, list[tuple[int, int, bytes]], tuple[str, int]]:
    """One datagram, and what send_answer() needs to answer it from the address that was asked. Raises OSError."""
    query, ancillary, _, address = sock.recvmsg(_QUERY, 64)
    return query, ancillary, address


def send_answer(
    sock: socket.socket, answer: bytes, ancillary: list[tuple[int, int, bytes]], to: tuple[str, int]
) -> None:
    """An asker that is gone, or whose buffer is full, gets none, as with any datagram."""
    try:
        sock.sendmsg([answer], ancillary, 0, to)
    except OSError:
        return


def _add_route(family: int) -> None:
    """``ip route add local default dev lo``: whatever address a program means is this namespace's own."""
    route = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _LOCAL_TABLE, _STATIC, _HOST_SCOPE, _LOCAL, 0)
    route += struct.pack("=HHI", 8, _RTA_OIF, _LO)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(route), _RTM_NEWROUTE, _ACKNOWLEDGED_NEW, 1, 0) + route)
        answer = netlink.recv(4096)
    _, kind, _, _, _, code = struct.unpack_from("=IHHIIi", answer)
    if kind != _NLMSG_ERROR or code:
        raise OSError(-code, f"the route cannot be set: {os.strerror(-code)}")


def _families() -> tuple[socket.AddressFamily, ...]:
    """IPv6 is on where its loopback address can be used."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return (socket.AF_INET,)
    return (socket.AF_INET, socket.AF_INET6)


def _opened(family: int, kind: int, port: int) -> socket.socket:
    """Bound to every address of its family. No address is reused, so nobody in the namespace can share the port."""
    sock = socket.socket(family, kind)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("", port))
    if kind == socket.SOCK_STREAM:
        sock.listen(BACKLOG)
    elif family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        # A route makes an address local for IPv4 alone: without this, none of them may be the sender of an answer.
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    sock.setblocking(False)
    return sock


def _become(uid: int) -> None:
    """Leaving uid 0 takes every capability, and there is no way back: no-new-privileges is set."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _hand_over(sockets: list[socket.socket], path: str) -> bool:
    """False where nobody listens at path."""
    with socket.socket(socket.AF_UNIX) as runner:
        try:
            runner.connect(path)
        except OSError:
            return False
        for at in range(0, len(sockets), _FDS):
            socket.send_fds(runner, [b"."], [sock.fileno() for sock in sockets[at : at + _FDS]])
    for sock in sockets:
        sock.close()
    return True


def _say(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


class _Connection:
    """One program's connection: what the runner may still be sent of it, and what it is still to be sent."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.allowed = WINDOW
        self.passed_on = 0
        self.pending = bytearray()
        self.read_all = False  # the program has ended its side
        self.told_all = False  # and we ours
        self.last = DATA  # END or CLOSE once the runner has said it
        self.events = select.EPOLLIN


class _Mux:
    """Carries between the sockets and the runner until stdin ends."""

    def __init__(self, sockets: list[socket.socket], most: int) -> None:
        self._epoll = select.epoll()
        self._epoll.register(0, select.EPOLLIN)
        self._datagrams = {sock.fileno(): sock for sock in sockets if sock.type == socket.SOCK_DGRAM}
        self._listeners = {sock.fileno(): sock for sock in sockets if sock.type == socket.SOCK_STREAM}
        for fd in (*self._datagrams, *self._listeners):
            self._epoll.register(fd, select.EPOLLIN)
        self._most = most
        self._full = False
        self._last_number = 0
        self._asked: dict[int, tuple[socket.socket, list[tuple[int, int, bytes]], tuple[str, int]]] = {}
        self._connections: dict[int, _Connection] = {}
        self._by_fd: dict[int, _Connection] = {}
        self._incoming = bytearray()

    def run(self) -> None:
        while True:
            for fd, events in self._epoll.poll():
                if fd == 0:
                    if not self._read_runner():
                        return
                elif fd in self._datagrams:
                    self._ask(self._datagrams[fd])
                elif fd in self._listeners:
                    self._accept(self._listeners[fd])
                elif connection := self._by_fd.get(fd):
                    self._serve(connection, events)

    def _number(self) -> int:
        self._last_number = self._last_number % 0xFFFFFFFF + 1
        return self._last_number

    def _ask(self, sock: socket.socket) -> None:
        try:
            query, ancillary, address = receive_query(sock)
        except OSError:
            return
        if len(self._asked) >= _PENDING:
            del self._asked[next(iter(self._asked))]
        number = self._number()
        self._asked[number] = sock, ancillary, address
        _say(frame(QUERY, number, query))

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, peer = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                time.sleep(0.05)  # the whole machine is short of it
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(sock, self._number())
        self._connections[connection.number] = self._by_fd[sock.fileno()] = connection
        self._epoll.register(sock.fileno(), connection.events)
        address, port = sock.getsockname()[:2]
        _say(frame(OPEN, connection.number, f"{address} {port} {peer[0]}".encode()))
        self._make_room()

    def _make_room(self) -> None:
        """At most so many connections at once: further programs wait in the backlog."""
        full = len(self._connections) >= self._most
        if full != self._full:
            self._full = full
            for fd in self._listeners:
                self._epoll.modify(fd, 0 if full else select.EPOLLIN)

    def _serve(self, connection: _Connection, events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                self._pass_on(connection)
            if events & select.EPOLLIN:
                self._read(connection)
            elif events & select.EPOLLERR:
                raise ConnectionResetError
            self._settle(connection)
        except OSError:
            _say(frame(RESET, connection.number))
            self._forget(connection)

    def _read(self, connection: _Connection) -> None:
        data = connection.sock.recv(min(connection.allowed, CHUNK))
        connection.allowed -= len(data)
        connection.read_all = not data
        _say(frame(DATA if data else END, connection.number, data))

    def _pass_on(self, connection: _Connection) -> None:
        if connection.pending:
            try:
                count = connection.sock.send(connection.pending)
            except BlockingIOError:
                return
            del connection.pending[:count]
            connection.passed_on += count
        if connection.passed_on >= WINDOW // 4:
            _say(credit(connection.number, connection.passed_on))
            connection.passed_on = 0

    def _settle(self, connection: _Connection) -> None:
        """After anything happened to it: its end, or what is waited for next."""
        if not connection.pending and connection.last != DATA and not connection.told_all:
            connection.told_all = True
            connection.sock.shutdown(socket.SHUT_WR)
        if connection.told_all and (connection.read_all or connection.last == CLOSE):
            self._forget(connection)
            return
        events = select.EPOLLIN if connection.allowed and not connection.read_all else 0
        events |= select.EPOLLOUT if connection.pending else 0
        # Errors and hang-ups are reported whatever is asked for: once, where nothing is.
        events = events or select.EPOLLET
        if events != connection.events:
            connection.events = events
            self._epoll.modify(connection.sock.fileno(), events)

    def _forget(self, connection: _Connection, *, abort: bool = False) -> None:
        del self._connections[connection.number], self._by_fd[connection.sock.fileno()]
        if abort:
            reset(connection.sock)
        else:
            connection.sock.close()
        self._make_room()

    def _read_runner(self) -> bool:
        data = os.read(0, 2**17)
        self._incoming += data
        for kind, number, payload in frames(self._incoming):
            if kind == ANSWER:
                if number in self._asked:
                    sock, ancillary, address = self._asked.pop(number)
                    send_answer(sock, payload, ancillary, address)
            elif number in self._connections:  # else it has ended while this was on its way
                self._obey(self._connections[number], kind, payload)
        return bool(data)

    def _obey(self, connection: _Connection, kind: int, payload: bytes) -> None:
        if kind == RESET:
            self._forget(connection, abort=True)
            return
        if kind == DATA:
            connection.pending += payload
        elif kind == CREDIT:
            connection.allowed += count_of(payload)
        else:
            connection.last = kind
        self._serve(connection, select.EPOLLOUT)


def main(uid: int, connections: int, path: str, ports: list[int]) -> None:
    families = _families()
    for family in families:
        _add_route(family)
    sockets = [_opened(family, socket.SOCK_DGRAM, DNS) for family in families]
    sockets += [_opened(family, socket.SOCK_STREAM, port) for family in families for port in (DNS, *ports)]
    _become(uid)
    if path and _hand_over(sockets, path):
        _say(b"READY fds\n")
        while os.read(0, 4096):
            pass
    else:
        _say(b"READY mux\n")
        _Mux(sockets, connections).run()


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], [int(port) for port in sys.argv[4:]])
    except Exception as error:  # the runner passes on the one line that says why
        sys.exit(f"{type(error).__name__}: {error}")
