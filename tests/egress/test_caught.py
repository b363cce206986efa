"""What a program sends is caught with the address that it meant, in both modes alike; nothing else goes anywhere."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bulkhead.egress.caught import DNS_IDLE
from tests.conftest import until
from tests.egress import program
from tests.egress.conftest import ECHO, LISTENS, MEGABYTE, PATIENCE, PORTS, RESETS, SPEAKS_FIRST, STALLS, STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.egress.conftest import Room, Rooms, Seen

pytestmark = pytest.mark.engine

ADDRESSES = ["198.18.0.7", "203.0.113.9", "10.0.0.1", "169.254.169.254", "127.0.0.1", "127.8.9.10"]
V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
STREAM, DATAGRAM = int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM)
ANSWERED = 1.0  # seconds: at once, on a busy machine


class TestConnections:
    @pytest.mark.parametrize("address", ADDRESSES)
    def test_where_the_program_meant_to_go(self, room: Room, seen: Seen, address: str) -> None:
        sent, back, *peer = room.guest.ask(program.echoed, address, ECHO, 1024)
        assert sent == back
        assert peer == [address, ECHO]
        assert seen.places == [(address, ECHO)]

    @pytest.mark.usefixtures("seen")
    def test_a_megabyte_each_way_with_a_half_close(self, room: Room) -> None:
        sent, back, *_ = room.guest.ask(program.echoed, "198.18.0.1", ECHO, MEGABYTE)
        assert sent == back != hashlib.sha256(b"").hexdigest()

    def test_the_other_side_ends_first(self, room: Room, seen: Seen) -> None:
        assert room.guest.ask(program.received_then_said, "198.18.0.1", SPEAKS_FIRST, "afterwards") == MEGABYTE
        assert seen.ended.wait(PATIENCE)
        assert seen.ends == {SPEAKS_FIRST: "afterwards"}

    def test_the_programs_end_is_seen(self, room: Room, seen: Seen) -> None:
        room.guest.ask(program.opened, "one", "198.18.0.1", LISTENS)
        room.guest.ask(program.closed, "one")
        assert seen.ended.wait(PATIENCE)
        assert seen.ends == {LISTENS: hashlib.sha256(b"").hexdigest()}

    def test_the_programs_reset_is_seen(self, room: Room, seen: Seen) -> None:
        room.guest.ask(program.opened, "one", "198.18.0.1", LISTENS)
        room.guest.ask(program.reset, "one")
        assert seen.ended.wait(PATIENCE)
        assert seen.ends == {LISTENS: "ConnectionResetError"}

    @pytest.mark.usefixtures("seen")
    def test_ours_is_seen_by_the_program(self, room: Room) -> None:
        assert room.guest.refused(program.until_reset, "198.18.0.1", RESETS) == "ECONNRESET"

    @pytest.mark.usefixtures("seen")
    def test_many_at_once(self, room: Room) -> None:
        assert room.guest.ask(program.echoed_at_once, "198.18.0.1", ECHO, 60) == 60

    @pytest.mark.usefixtures("seen")
    def test_resets_before_they_are_accepted(self, room: Room) -> None:
        room.guest.ask(program.flooded, "198.18.0.1", ECHO, 300)
        assert room.guest.ask(program.echoed_at_once, "198.18.0.1", ECHO, 5) == 5


class TestSlowReaders:
    """Nobody else waits for one, and what it leaves unread is bounded."""

    @pytest.mark.usefixtures("seen")
    def test_the_runner(self, room: Room) -> None:
        room.guest.ask(program.opened, "slow", "198.18.0.1", STALLS)
        assert room.guest.ask(program.stuffed, "slow", 2**16) < 16 * MEGABYTE
        sent, back, *_ = room.guest.ask(program.echoed, "198.18.0.1", ECHO, MEGABYTE)
        assert sent == back
        room.guest.ask(program.closed, "slow")

    def test_the_program(self, room: Room, seen: Seen) -> None:
        room.guest.ask(program.opened, "slow", "198.18.0.1", STREAMS)
        sent, back, *_ = room.guest.ask(program.echoed, "198.18.0.1", ECHO, MEGABYTE)
        assert sent == back
        room.guest.ask(program.closed, "slow")
        assert seen.ended.wait(PATIENCE)
        assert seen.ends[STREAMS] in ("ConnectionResetError", "BrokenPipeError")


class TestNames:
    @pytest.mark.parametrize("address", ADDRESSES)
    def test_whomever_is_asked_answers(self, room: Room, address: str) -> None:
        assert room.guest.ask(program.asked, address, "words") == ["udp words", address]

    def test_over_tcp(self, room: Room) -> None:
        assert room.guest.ask(program.asked_over_tcp, "127.0.0.1", "words", "words 2") == ["tcp words", "tcp words 2"]

    def test_no_answer_ends_the_connection_at_once(self, room: Room) -> None:
        begun = time.monotonic()
        assert room.guest.ask(program.asked_over_tcp, "127.0.0.1", "silent") == [""]
        assert time.monotonic() < begun + DNS_IDLE / 2

    def test_the_system_resolver(self, room: Room) -> None:
        assert room.guest.ask(program.text_of, "/etc/resolv.conf") == ""  # to a resolver, 127.0.0.1
        assert room.guest.ask(program.resolved, "name.example") == ["198.18.0.7"]


class TestNothingElse:
    def test_only_loopback(self, room: Room) -> None:
        assert room.guest.ask(program.interfaces) == ["lo"]

    @pytest.mark.parametrize("kind", [STREAM, DATAGRAM], ids=["tcp", "udp"])
    @pytest.mark.parametrize("address", ADDRESSES)
    def test_another_port_is_refused_at_once(self, room: Room, seen: Seen, address: str, kind: int) -> None:
        assert room.guest.ask(program.refused_within, kind, address, 7999) < ANSWERED
        assert seen.places == []

    def test_udp_on_a_caught_port_is_refused(self, room: Room) -> None:
        assert room.guest.ask(program.refused_within, DATAGRAM, "203.0.113.9", 443) < ANSWERED

    def test_no_capability(self, room: Room) -> None:
        for pid in room.guest.pids:
            status = dict(line.split(":\t", 1) for line in _text(f"/proc/{pid}/status").splitlines())
            assert {name: int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == (
                dict.fromkeys(("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"), 0)
            )

    @pytest.mark.parametrize("kind", [24, 25], ids=["add", "remove"])
    def test_routes_stay(self, room: Room, kind: int) -> None:
        assert room.guest.refused(program.route_message, kind) == "EPERM"

    @pytest.mark.parametrize("port", [53, *PORTS])
    @pytest.mark.parametrize(
        ("family", "address"),
        [
            (V4, "0.0.0.0"),  # noqa: S104
            (V4, "127.0.0.1"),
            (V4, "198.18.0.1"),
            (V6, "::"),
            (V6, "::ffff:198.18.0.1"),
        ],
    )
    @pytest.mark.parametrize("option", [0, socket.SO_REUSEADDR, socket.SO_REUSEPORT], ids=["", "address", "port"])
    def test_no_port_of_the_gates_can_be_had(
        self, room: Room, family: int, address: str, port: int, option: int
    ) -> None:
        options = [[int(socket.SOL_SOCKET), int(option), 1]] if option else []
        if family == V6:
            options.append([int(socket.IPPROTO_IPV6), int(socket.IPV6_V6ONLY), 0])
        kinds = [STREAM, DATAGRAM] if port == 53 else [STREAM]
        for kind in kinds:
            assert room.guest.refused(program.bound, family, kind, address, port, options) == "EADDRINUSE"


@pytest.mark.parametrize("mode", ["fds", "mux"])
def test_more_than_are_allowed_at_once_wait(rooms: Rooms, mode: str) -> None:
    with rooms.room(mode, connections=2) as room:
        for name in ("one", "two", "three"):
            room.guest.ask(program.opened, name, "198.18.0.1", STALLS)
        until(lambda: len(room.seen.places) == 2, PATIENCE)
        assert room.guest.ask(program.asked, "127.0.0.1", "words") == ["udp words", "127.0.0.1"]
        assert len(room.seen.places) == 2
        rooms.portal.call(room.seen.caught[0].close)
        room.guest.ask(program.closed, "one")
        until(lambda: len(room.seen.places) == 3, PATIENCE)


@contextmanager
def _no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_out_of_descriptors_programs_wait(rooms: Rooms) -> None:
    with rooms.room("fds") as room:
        with _no_descriptor_left():
            room.guest.ask(program.opened, "late", "198.18.0.1", ECHO)
            assert room.guest.ask(program.asked, "127.0.0.1", "words") == ["udp words", "127.0.0.1"]
            assert room.seen.places == []
        until(lambda: room.seen.places == [("198.18.0.1", ECHO)], PATIENCE)


def test_out_of_descriptors_programs_are_reset_where_the_gate_carries(rooms: Rooms) -> None:
    with rooms.room("mux") as room:
        with _no_descriptor_left():
            assert room.guest.refused(program.until_reset, "198.18.0.1", ECHO) == "ECONNRESET"
        assert room.guest.ask(program.echoed_at_once, "198.18.0.1", ECHO, 3) == 3


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.read()
