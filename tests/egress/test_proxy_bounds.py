"""The bounds of one sandbox: connections, their rate, bytes each way, idle and connect time, names and queries."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkhead.egress import names
from bulkhead.egress.bounds import Bounds
from bulkhead.egress.connection import refusal_hint
from bulkhead.egress.proxy import TOLD
from tests.conftest import until
from tests.egress.sinks import NAME, OTHER, PATIENCE, Programs, Sink, assert_reset, echo, rcode, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink(echo) as opened:
        yield opened


def exchange(program: socket.socket, text: bytes = b"text") -> None:
    program.sendall(text)
    assert program.recv(len(text), socket.MSG_WAITALL) == text


def test_connections_at_once(sink: Sink) -> None:
    with ExitStack() as opened:
        programs = opened.enter_context(Programs(rule(sink), bounds=Bounds(connections=2, rate=1e6)))
        first, second = (opened.enter_context(programs.connect(NAME, sink.port)) for _ in range(2))
        exchange(first)
        exchange(second)
        with programs.connect(NAME, sink.port) as third:
            assert_reset(third)
        told = programs.reported()
        assert (told.decision, told.reason, told.name) == ("deny", "connections", NAME)
        first.close()
        programs.reported(2)
        with programs.connect(NAME, sink.port) as fourth:
            exchange(fourth)
    assert sink.connections == 3


def test_connections_a_second(sink: Sink) -> None:
    """Those that come too soon wait for their turn: a loop that connects often is slow, and loses nothing."""
    with Programs(rule(sink), bounds=Bounds(connections=3, rate=5.0)) as programs:
        begun = time.monotonic()
        for _ in range(10):
            with programs.connect(NAME, sink.port) as program:
                exchange(program)
        assert time.monotonic() - begun >= (10 - 3) / 5
        programs.reported(10)
        assert {(told.decision, told.reason) for told in programs.told} == {("allow", "")}


def test_those_that_wait_are_open(sink: Sink) -> None:
    """Else a program would have as many waiting as it likes."""
    with ExitStack() as opened:
        programs = opened.enter_context(Programs(rule(sink), bounds=Bounds(connections=2, rate=0.001)))
        for _ in range(2):
            with programs.connect(NAME, sink.port) as program:
                exchange(program)
        programs.reported(2)
        for _ in range(2):
            opened.enter_context(programs.connect(NAME, sink.port))
        with programs.connect(NAME, sink.port) as fifth:
            assert_reset(fifth)
        assert programs.reported(3).reason == "connections"
    assert sink.connections == 2
    assert [told.reason for told in programs.told[3:]] == ["closed"] * 2


def test_a_flood_of_refusals_is_counted_and_not_told(sink: Sink) -> None:
    """Else one sandbox would fill the trace, which is that of others too."""
    with Programs(rule(sink), bounds=Bounds(connections=1)) as programs, programs.connect(NAME, sink.port) as only:
        exchange(only)

        def refused() -> None:
            with programs.connect(NAME, sink.port) as program:
                assert_reset(program)

        for _ in range(3 * TOLD):
            refused()
        told = programs.told
        assert {connection.reason for connection in told} == {"connections"}
        assert TOLD <= len(told) < 2 * TOLD
        assert {connection.untold for connection in told[:TOLD]} == {0}

        def told_of_all() -> bool:
            refused()
            return programs.told[-1].untold > 0

        until(told_of_all, PATIENCE)


@pytest.mark.parametrize("way", ["sent", "received"])
def test_bytes_each_way(sink: Sink, way: str) -> None:
    with Programs(rule(sink), bounds=Bounds(**{way: 10})) as programs:
        with programs.connect(NAME, sink.port) as program:
            exchange(program, b"12345")
        programs.reported()
        with programs.connect(NAME, sink.port) as program:
            exchange(program, b"12345")
            program.sendall(b"6")
            assert_reset(program)
        told = programs.reported(2)
        assert (told.decision, told.reason) == ("allow", "bytes")
        assert getattr(told, way) == 5
        with programs.connect(NAME, sink.port) as program:
            assert_reset(program)
        assert (programs.reported(3).decision, programs.reported(3).reason) == ("deny", "bytes")
    assert sink.data == b"1234512345" + (b"6" if way == "received" else b"")
    assert sink.connections == 2


def test_idle_time(sink: Sink) -> None:
    with Programs(rule(sink), bounds=Bounds(idle=0.4)) as programs, programs.connect(NAME, sink.port) as program:
        begun = time.monotonic()
        while time.monotonic() < begun + 1.0:
            exchange(program)
        quiet = time.monotonic()
        assert_reset(program)
        assert 0.3 < time.monotonic() - quiet < 2.0
        told = programs.reported()
    assert (told.decision, told.reason) == ("allow", "idle")


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port where the kernel drops what wants to connect, because nobody accepts and its queue is full."""
    with ExitStack() as closing:
        listener = closing.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = closing.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()[1]


def test_connect_time(deaf: int) -> None:
    with Programs(rule(deaf), bounds=Bounds(connect=0.3)) as programs:
        with programs.connect(NAME, deaf) as program:
            begun = time.monotonic()
            assert_reset(program)
            assert 0.2 < time.monotonic() - begun < 2.0
        told = programs.reported()
    assert (told.decision, told.reason, told.opened_ns) == ("allow", "connect", 0)


def test_an_address_that_does_not_answer_leaves_time_for_the_next(deaf: int) -> None:
    with (
        Sink(echo, host="127.0.0.2", port=deaf) as sink,
        Programs(rule(sink), lookup=lambda _: ["127.0.0.1", "127.0.0.2"], bounds=Bounds(connect=0.4)) as programs,
        programs.connect(NAME, deaf) as program,
    ):
        exchange(program)


def test_resolve_time_and_threads() -> None:
    release = threading.Event()
    running: list[str] = []

    def lookup(name: str) -> list[str]:
        running.append(name)
        release.wait(PATIENCE)
        return ["127.0.0.1"]

    with Sink() as sink, Programs(rule(sink), lookup=lookup, bounds=Bounds(connect=0.3)) as programs:
        with ExitStack() as opened:
            for program in [opened.enter_context(programs.connect(NAME, sink.port)) for _ in range(20)]:
                assert_reset(program)
        programs.reported(20)
        assert {told.reason for told in programs.told} == {"unresolved"}
        assert len(running) == 8  # none was begun anew before one has ended
        release.set()
        with programs.connect(NAME, sink.port) as program:
            program.sendall(b"once they have ended")
            until(lambda: sink.data == b"once they have ended", PATIENCE)
        assert (sink.connections, len(running)) == (1, 9)


def test_threads_end_with_the_session() -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    with Sink(echo) as sink:
        before = threads()
        with Programs(rule(sink)) as programs:
            with programs.connect(NAME, sink.port) as program:
                exchange(program)
            with programs.connect(NAME, sink.port) as program:
                exchange(program)
            programs.reported(2)
        until(lambda: threads() <= before, PATIENCE)


def test_names_that_get_an_address() -> None:
    with Programs(rule(443, "*.example.org"), bounds=Bounds(names=2)) as programs:
        assert programs.resolve("a.example.org") == "198.18.0.1"
        assert programs.resolve("b.example.org") == "198.18.0.2"
        for _ in range(2):
            answer = programs.ask("c.example.org")
            assert answer is not None
            assert rcode(answer) == names.SERVFAIL
        assert programs.resolve("A.example.ORG") == "198.18.0.1"
        told = programs.told[0]
        assert [report.again for report in programs.told] == [False, True]
    assert (told.name, told.reason, refusal_hint(told)) == ("c.example.org", "names", "")


def test_names_have_addresses_of_their_own() -> None:
    with Programs(rule(443, "*.example.org"), bounds=Bounds(queries=1e6)) as programs:
        given = [programs.resolve(f"n{number}.example.org") for number in range(4096)]
        assert len(set(given)) == 4096
        assert given[255] == "198.18.1.0"
        assert all(address.startswith(("198.18.", "198.19.")) for address in given)
        assert programs.resolve("n0.example.org") == given[0]


def test_refused_names_are_reported_up_to_a_bound() -> None:
    with Programs(rule(443), bounds=Bounds(names=10, queries=1e6)) as programs:
        for number in range(100):
            programs.ask(f"tunnel{number}.example.net")
        assert len(programs.told) == 10
        assert programs.resolve(NAME)


def test_queries_a_second() -> None:
    with Programs(rule(443), bounds=Bounds(queries=5.0)) as programs:
        answers = [programs.ask(OTHER) for _ in range(50)]
        assert 5 <= len([answer for answer in answers if answer]) < 50
        assert [told.reason for told in programs.told if not told.again] == ["name", "rate"]


@pytest.mark.parametrize("kind", [28, 65, 64, 15, 16, 33])
def test_other_records_of_an_allowed_name_are_empty(kind: int) -> None:
    with Programs(rule(443)) as programs:
        answer = programs.ask(NAME, kind)
        assert answer is not None
        assert (rcode(answer), answer[6:8]) == (0, b"\0\0")
        assert programs.told == []


def test_a_reverse_name_is_refused_and_no_news() -> None:
    with Programs(rule(443)) as programs:
        answer = programs.ask("1.0.18.198.in-addr.arpa", 12)
        assert answer is not None
        assert rcode(answer) == 3
        assert programs.told == []
