"""Large and slow transfers through the proxy, and many connections: all arrives, little is kept, nothing is left."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.egress.bounds import Bounds
from tests.conftest import until
from tests.egress.sinks import NAME, PATIENCE, Programs, Sink, echo, keep, rule

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE = 100 * 2**20
# What the kernel keeps of a transfer that nobody reads, over both connections, and the proxy's own piece.
KEPT = 48 * 2**20


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the very listing opens one


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# large and slow


def transfer(program: socket.socket, reader: Callable[[], None]) -> str:
    """Sends LARGE bytes while reader runs in a thread; their digest."""
    digest, piece = hashlib.sha256(), os.urandom(2**20)
    thread = threading.Thread(target=reader)
    thread.start()
    for _ in range(LARGE // len(piece)):
        program.sendall(piece)
        digest.update(piece)
    program.shutdown(socket.SHUT_WR)
    thread.join(30)
    assert not thread.is_alive()
    return digest.hexdigest()


def test_a_large_echo_comes_back_whole() -> None:
    back = hashlib.sha256()

    def serve(conn: socket.socket, sink: Sink) -> None:
        while piece := conn.recv(2**18):
            conn.sendall(piece)

    with Sink(serve) as sink, Programs(rule(sink)) as programs:
        with programs.connect(NAME, sink.port) as program:

            def read() -> None:
                while piece := program.recv(2**18):
                    back.update(piece)

            sent = transfer(program, read)
        told = programs.reported()
    assert back.hexdigest() == sent
    assert (told.sent, told.received) == (LARGE, LARGE)


def until_blocked(sender: socket.socket) -> int:
    """Sends until nobody takes any more for a second; the bytes taken."""
    sender.settimeout(1)
    count, piece = 0, bytes(2**18)
    try:
        while count < LARGE:
            count += sender.send(piece)
    except TimeoutError:
        return count
    raise AssertionError("somebody kept it all")


def test_what_a_server_does_not_read_is_not_kept() -> None:
    go = threading.Event()
    counted: list[int] = []

    def serve(conn: socket.socket, sink: Sink) -> None:
        go.wait(PATIENCE)
        counted.append(sum(iter(lambda: len(conn.recv(2**18)), 0)))

    with Sink(serve) as sink, Programs(rule(sink)) as programs, programs.connect(NAME, sink.port) as program:
        before = resident()
        taken = until_blocked(program)
        assert taken < KEPT
        assert resident() - before < 2**22
        go.set()
        program.shutdown(socket.SHUT_WR)
        assert program.recv(1) == b""
        assert counted == [taken]


def test_what_a_program_does_not_read_is_not_kept() -> None:
    taken: list[int] = []

    def serve(conn: socket.socket, sink: Sink) -> None:
        taken.append(until_blocked(conn))

    with Sink(serve) as sink, Programs(rule(sink)) as programs, programs.connect(NAME, sink.port) as program:
        before = resident()
        until(lambda: bool(taken), 30)
        assert taken[0] < KEPT
        assert resident() - before < 2**22
        assert sum(iter(lambda: len(program.recv(2**18)), 0)) == taken[0]


def test_a_stuck_connection_holds_no_other_back() -> None:
    def serve(conn: socket.socket, sink: Sink) -> None:
        if conn.recv(5) == b"stuck":
            until_blocked(conn)
        else:
            conn.sendall(b"served")

    with Sink(serve) as sink, Programs(rule(sink)) as programs, programs.connect(NAME, sink.port) as stuck:
        stuck.sendall(b"stuck")
        until(lambda: any(live.received > 2**20 for live in programs.proxy.live()), PATIENCE)
        with programs.connect(NAME, sink.port) as other:
            other.sendall(b"other")
            assert keep(other) == b"served"


# many


def test_two_thousand_connections_leave_nothing_behind() -> None:
    bounds = Bounds(rate=1e6, queries=1e6)
    with Sink(echo) as sink, Programs(rule(sink), bounds=bounds) as programs:

        def once(text: bytes) -> None:
            with programs.connect(NAME, sink.port) as program:
                program.sendall(text)
                program.shutdown(socket.SHUT_WR)
                assert keep(program) == text

        once(b"first")
        until(lambda: programs.running == 0, PATIENCE)
        before = open_files()
        for number in range(2000):
            once(b"number %d" % number)
        until(lambda: programs.running == 0, PATIENCE)
        until(lambda: open_files() <= before, PATIENCE)
        programs.reported(2001)
        assert not [told for told in programs.told if told.reason]
        assert programs.proxy.live() == []
