"""A connection through the proxy ends as a plain one would: half-closes and resets of both sides, the session's end."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from bulkhead.egress.bounds import Meter
from bulkhead.egress.caught import Caught
from bulkhead.egress.gate import reset
from bulkhead.egress.proxy import EgressProxy
from bulkhead.egress.pump import PIECE, Pump
from tests.conftest import until
from tests.egress.sinks import NAME, PATIENCE, Programs, Sink, assert_reset, keep, rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkhead.egress.connection import Connection


def test_the_programs_half_close_is_passed_on() -> None:
    def serve(conn: socket.socket, sink: Sink) -> None:
        sink.arrived.append(keep(conn))
        conn.sendall(b"an answer after the end")

    with Sink(serve) as sink, Programs(rule(sink)) as programs:
        with programs.connect(NAME, sink.port) as program:
            program.sendall(b"all that there is")
            program.shutdown(socket.SHUT_WR)
            assert keep(program) == b"an answer after the end"
        told = programs.reported()
    assert sink.data == b"all that there is"
    assert (told.reason, told.sent, told.received) == ("", 17, 23)


def test_the_servers_half_close_is_passed_on() -> None:
    def serve(conn: socket.socket, sink: Sink) -> None:
        conn.sendall(b"greeting")
        conn.shutdown(socket.SHUT_WR)
        sink.arrived.append(keep(conn))

    with Sink(serve) as sink, Programs(rule(sink)) as programs:
        with programs.connect(NAME, sink.port) as program:
            assert keep(program) == b"greeting"
            program.sendall(b"said after the server's end")
        assert programs.reported().reason == ""
    assert sink.data == b"said after the server's end"


def test_the_programs_reset_is_passed_on() -> None:
    ends: list[str] = []

    def serve(conn: socket.socket, sink: Sink) -> None:
        sink.arrived.append(conn.recv(100))
        try:
            ends.append(repr(conn.recv(100)))
        except ConnectionResetError:
            ends.append("reset")

    with Sink(serve) as sink, Programs(rule(sink)) as programs:
        program = programs.connect(NAME, sink.port)
        program.sendall(b"begun")
        until(lambda: sink.data == b"begun", PATIENCE)
        reset(program)
        until(lambda: bool(ends), PATIENCE)
        assert programs.reported().reason == ""
    assert ends == ["reset"]


def test_the_servers_reset_is_passed_on() -> None:
    def serve(conn: socket.socket, sink: Sink) -> None:
        sink.arrived.append(conn.recv(100))
        reset(conn)

    with Sink(serve) as sink, Programs(rule(sink)) as programs:
        with programs.connect(NAME, sink.port) as program:
            program.sendall(b"begun")
            assert_reset(program)
        assert programs.reported().reason == ""


def test_an_answer_before_the_servers_reset_still_arrives() -> None:
    """A server that refuses a large upload answers and closes, which resets what it has not read."""

    def serve(conn: socket.socket, sink: Sink) -> None:
        sink.arrived.append(conn.recv(1000))
        conn.sendall(b"413")

    with Sink(serve) as sink, Programs(rule(sink)) as programs, programs.connect(NAME, sink.port) as program:
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            program.sendall(bytes(2**26))
        assert program.recv(3) == b"413"


def test_the_session_ends_what_is_open() -> None:
    with Sink() as sink:
        with Programs(rule(sink)) as programs:
            program = programs.connect(NAME, sink.port)
            program.sendall(b"open")
            until(lambda: sink.data == b"open", PATIENCE)
            assert [live.sent for live in programs.proxy.live()] == [4]
        assert programs.reported().reason == "closed"
        assert programs.proxy.live() == []
        assert_reset(program)
        program.close()


def test_what_comes_after_the_sessions_end_is_refused() -> None:
    asked: list[str] = []

    def lookup(name: str) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"]

    with Sink() as sink, Programs(rule(sink), lookup=lookup) as programs:
        programs.proxy.close()
        with programs.connect(NAME, sink.port) as program:
            assert_reset(program)
        assert (programs.reported().decision, programs.reported().reason) == ("deny", "closed")
        assert asked == []
        sink.assert_silent()


def test_a_connection_may_have_a_report_of_its_own() -> None:
    of_all: list[Connection] = []
    of_one: list[Connection] = []
    program, sock = socket.socketpair()
    sock.setblocking(False)
    with program, sock:
        caught = Caught(sock, "203.0.113.7", 443, "127.0.0.1", lambda *_: None)
        asyncio.run(EgressProxy((), report=of_all.append).handle(caught, of_one.append))
    assert ([told.reason for told in of_one], of_all) == (["address"], [])


def pumped(program_end: socket.socket, outside: socket.socket, first: bytes, began: Callable[[Caught], None]) -> bool:
    """Whether a pump between the two ended with a reset."""

    async def run() -> bool:
        caught = Caught(program_end, "198.18.0.1", 443, "127.0.0.1", lambda *_: None)
        pump = Pump(caught, outside, (Meter(2**20), Meter(2**20)), memoryview(bytearray(PIECE)), idle=PATIENCE)
        pump.start(None, first)
        began(caught)
        return await asyncio.wait_for(pump.over, PATIENCE)

    program_end.setblocking(False)
    outside.setblocking(False)
    return asyncio.run(run())


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), PATIENCE)
        return client, listener.accept()[0]


def test_what_a_server_sent_before_its_reset_was_seen_in_sending_still_arrives() -> None:
    program, caught = socket.socketpair()
    outside, server = tcp_pair()
    with program, caught, outside:
        server.sendall(b"413")
        reset(server)
        until(lambda: len(outside.recv(3, socket.MSG_PEEK)) == 3, PATIENCE)
        assert pumped(caught, outside, b"what the server reads no more", lambda _: None)
        assert program.recv(10) == b"413"


@pytest.mark.parametrize("was_reset", [True, False])
def test_an_end_of_a_pair_of_sockets_is_a_reset_if_the_gate_said_so(was_reset: bool) -> None:
    """Through the gate's stdio a connection is a pair of Unix sockets, which knows no reset."""
    program, caught = socket.socketpair()
    outside, server = tcp_pair()

    def end(of: Caught) -> None:
        of.was_reset = was_reset
        program.close()
        server.shutdown(socket.SHUT_WR)

    with caught, outside, server:
        assert pumped(caught, outside, b"", end) is was_reset
