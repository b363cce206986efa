"""The gate itself: what it may do and for how long, how it ends, what is refused in its place, and its frames."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.egress import beginning, fds, gate
from bulkhead.engines import docker_plan, docker_start, hardening
from bulkhead.errors import StartError
from tests.conftest import until
from tests.egress import program
from tests.egress.conftest import ECHO, MEGABYTE, PATIENCE, STALLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bulkhead.engines.hardening import Bind, Plan
    from tests.egress.conftest import Room, Rooms

engine = pytest.mark.engine
MODES = pytest.mark.parametrize("mode", ["fds", "mux"])
PORTS = (443, 22)


def _status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:  # noqa: PTH123
        return dict(line.rstrip("\n").split(":\t", 1) for line in file)


@engine
def test_one_process_that_has_put_everything_down(room: Room, rooms: Rooms) -> None:
    container = rooms.container(room.gate.id)
    pid = container["State"]["Pid"]
    status = _status(pid)
    own, _ = hardening.own_user(room.gate.id)
    assert status["Uid"].split() == status["Gid"].split() == [str(own)] * 4
    assert status["Groups"].strip() == ""
    assert [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")] == [0, 0, 0, 0]
    assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
    processes = rooms.daemon.containers.get(f"bulkhead-{room.gate.id}").top()["Processes"]
    assert [row[1] for row in processes] == [str(pid)]
    assert container["HostConfig"]["ReadonlyRootfs"]
    assert container["HostConfig"]["Memory"] == 64 * MEGABYTE


@engine
def test_what_it_was_mounted_is_gone(room: Room, rooms: Rooms) -> None:
    assert list(rooms.state.glob("gate-*")) == []


@engine
@MODES
def test_it_ends_with_its_stdin(rooms: Rooms, mode: str) -> None:
    with rooms.room(mode) as room:
        rooms.portal.call(room.gate._sandbox.stdin.aclose)
        assert room.over.wait(PATIENCE)
        assert room.said == ["it ended without a word"]


@engine
@MODES
def test_its_end_ends_all_it_caught(rooms: Rooms, mode: str) -> None:
    with rooms.room(mode) as room:
        room.guest.ask(program.opened, "one", "198.18.0.1", STALLS)
        until(lambda: len(room.seen.caught) == 1, PATIENCE)
        os.kill(rooms.container(room.gate.id)["State"]["Pid"], signal.SIGKILL)
        assert room.over.wait(PATIENCE)
        assert room.guest.answer(program.drained, "one") in ({"value": 0}, {"errno": "ECONNRESET"})
        assert room.guest.refused(program.opened, "two", "198.18.0.1", STALLS) == "ECONNREFUSED"


@engine
def test_it_carries_where_it_cannot_reach_the_socket(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = beginning.listening

    @contextmanager
    def deaf(state: Path) -> Iterator[tuple[socket.socket, str]]:
        with listening(state) as (listener, path):
            listener.close()
            yield listener, path

    monkeypatch.setattr(beginning, "listening", deaf)
    with rooms.room("fds") as room:
        assert room.gate.mode == "mux"
        assert room.guest.ask(program.echoed_at_once, "198.18.0.1", ECHO, 2) == 2


@engine
@MODES
def test_ipv6_is_caught_where_it_is_on(rooms: Rooms, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker switches it off in a namespace of its own, so it is switched on in the gate's."""
    monkeypatch.setattr(docker_start, "container_config", _with_ipv6)
    with rooms.room(mode) as room:
        sent, back, *peer = room.guest.ask(program.echoed, "2001:db8::7", ECHO, 1024)
        assert (sent, peer) == (back, ["2001:db8::7", ECHO])
        assert room.seen.places == [("2001:db8::7", ECHO)]
        assert room.guest.ask(program.asked, "2001:db8::53", "words") == ["udp words", "2001:db8::53"]
        assert room.guest.ask(program.asked_over_tcp, "2001:db8::53", "words") == ["tcp words"]
        assert room.guest.ask(program.refused_within, int(socket.SOCK_STREAM), "2001:db8::7", 7999) < 1
        only = [[int(socket.IPPROTO_IPV6), int(socket.IPV6_V6ONLY), 1]]
        for address in ("::", "::1", "2001:db8::7"):
            arguments = (int(socket.AF_INET6), int(socket.SOCK_STREAM), address, 443, only)
            assert room.guest.refused(program.bound, *arguments) in ("EADDRINUSE", "EADDRNOTAVAIL")


def _with_ipv6(plan: Plan, labels: Mapping[str, str], files: Sequence[Bind], *, piped: bool) -> dict[str, Any]:
    config = docker_plan.container_config(plan, labels, files, piped=piped)
    if plan.network == "gate":
        config["HostConfig"]["Sysctls"] = {"net.ipv6.conf.all.disable_ipv6": "0"}
    return config


@engine
def test_what_it_cannot_do_stops_the_start(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _containers(rooms)
    monkeypatch.setattr(hardening, "GATE_CAPABILITIES", ("SETGID", "SETUID"))
    with pytest.raises(StartError, match="the gate did not start") as caught:
        rooms.portal.call(rooms.gate, "fds")
    assert caught.value.why == "PermissionError: [Errno 1] the route cannot be set: Operation not permitted"
    assert _containers(rooms) == before


def _containers(rooms: Rooms) -> set[str]:
    found = rooms.daemon.containers.list(all=True, filters={"name": "bulkhead-egress-tests-"})
    return {str(container.id) for container in found}


def test_a_port_that_is_not_its_own_to_give() -> None:
    with pytest.raises(ValueError, match="port 53 is the gate's own"):
        beginning.command(1, (53,), 1, shared=False)


def test_more_connections_than_its_memory_is_for() -> None:
    with pytest.raises(ValueError, match="more than the gate's memory"):
        beginning.command(1, (443,), beginning.MOST + 1, shared=False)


class TestTaking:
    """Only the gate's own sockets are taken, from nobody but the gate."""

    def test_from_another_user(self, tmp_path: Path) -> None:
        with beginning.listening(tmp_path) as (listener, path), _sent(path, []):
            with pytest.raises(StartError, match="another process took the gate's place") as caught:
                fds.take(listener, os.getuid() + 1, PORTS)
            assert caught.value.why == f"its uid is {os.getuid()}, the gate's is {os.getuid() + 1}"

    def test_other_sockets(self, tmp_path: Path) -> None:
        with (
            beginning.listening(tmp_path) as (listener, path),
            _opened(*PORTS[:1]) as sockets,
            _sent(path, sockets),
            pytest.raises(StartError, match="other sockets than it should"),
        ):
            fds.take(listener, os.getuid(), PORTS)

    def test_nothing(self, tmp_path: Path) -> None:
        with beginning.listening(tmp_path) as (listener, _), pytest.raises(StartError, match="did not arrive"):
            fds.take(listener, os.getuid(), PORTS)

    def test_the_folder_is_the_runners_alone_and_gone_afterwards(self, tmp_path: Path) -> None:
        long = tmp_path / ("a-name-that-no-address-of-a-socket-could-hold-" * 3)
        long.mkdir()
        with beginning.listening(long) as (_, path):
            assert len(path) > 108
            assert [entry.stat().st_mode & 0o777 for entry in long.iterdir()] == [0o700]
        assert list(long.iterdir()) == []


@contextmanager
def _opened(*ports: int) -> Iterator[list[socket.socket]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in ports]
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


@contextmanager
def _sent(path: str, sockets: list[socket.socket]) -> Iterator[None]:
    folder = os.open(os.path.dirname(path), os.O_PATH)  # noqa: PTH120
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"/proc/self/fd/{folder}/socket")
            if sockets:
                socket.send_fds(sock, [b"."], [other.fileno() for other in sockets])
            sock.shutdown(socket.SHUT_WR)
            yield
    finally:
        os.close(folder)


class TestFrames:
    def test_whole_ones_are_taken_however_they_come(self) -> None:
        sent = [(gate.OPEN, 1, b"198.18.0.1 443 198.18.0.1"), (gate.DATA, 1, secrets.token_bytes(gate.CHUNK)),
                (gate.END, 1, b""), (gate.CREDIT, 2**32 - 1, b"\0\1\0\0")]  # fmt: skip
        stream = b"".join(gate.frame(*row) for row in sent)
        for piece in (1, 7, gate.CHUNK, len(stream)):
            buffer, found = bytearray(), []
            for at in range(0, len(stream), piece):
                buffer += stream[at : at + piece]
                found += gate.frames(buffer)
            assert (found, len(buffer)) == (sent, 0)

    def test_credit(self) -> None:
        [(kind, number, payload)] = gate.frames(bytearray(gate.credit(5, 65536)))
        assert (kind, number, gate.count_of(payload)) == (gate.CREDIT, 5, 65536)

    @pytest.mark.parametrize(("kind", "size"), [(8, 0), (gate.DATA, gate.CHUNK + 1)], ids=["kind", "size"])
    def test_what_is_none_is_refused(self, kind: int, size: int) -> None:
        with pytest.raises(ValueError, match="no frame"):
            gate.frames(bytearray(gate.frame(kind, 1, bytes(size))))
