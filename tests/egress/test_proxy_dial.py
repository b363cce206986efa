"""Which addresses are dialled: only vetted ones; none private, and none of this machine's, unless a rule says so."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from bulkhead.egress import dial
from bulkhead.egress.connection import refusal_hint
from bulkhead.egress.resolver import system
from bulkhead.errors import UnenforceableError
from bulkhead.spec import EgressRule
from tests.conftest import until
from tests.egress.sinks import NAME, PATIENCE, Programs, Sink, assert_reset, echo, keep, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


def own_addresses() -> list[str]:
    """All of this machine's, the bridges' included, but link-local ones."""
    return [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6) and "%" not in entry.address
    ]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink(echo, host="0.0.0.0") as opened:  # noqa: S104 - it stands for whatever listens on this machine
        opened.host = "127.0.0.1"
        yield opened


def refusal(sink: Sink, *addresses: str, private: bool = False) -> str:
    """The reason for which a name with these addresses is refused."""
    with Programs(rule(sink, private=private), lookup=lambda _: addresses) as programs:
        with programs.connect(NAME, sink.port) as program:
            assert_reset(program)
        told = programs.reported()
    assert (told.decision, told.dialled, told.opened_ns, told.sent) == ("deny", "", 0, 0)
    helps = "" if told.reason == "forbidden" else f'[[egress]]\nhost = "{NAME}"\nports = [{sink.port}]\nprivate = true'
    assert refusal_hint(told) == helps
    return told.reason


def test_this_machines_own_addresses_are_refused(sink: Sink) -> None:
    found = own_addresses()
    assert "127.0.0.1" in found
    assert len(found) > 2
    for address in [*found, "127.1.2.3", "::1"]:
        assert refusal(sink, address) == "own", address
    sink.assert_silent()


def test_private_addresses_are_refused(sink: Sink) -> None:
    for address in ["10.255.255.254", "172.31.0.9", "192.168.255.254", "100.64.0.1", "198.18.0.1", "fd12::1"]:
        assert refusal(sink, address) == "private", address
    sink.assert_silent()


@pytest.mark.parametrize("private", [False, True])
def test_some_addresses_are_refused_whatever_a_rule_says(sink: Sink, private: bool) -> None:
    never = ["169.254.169.254", "fd00:ec2::254", "0.0.0.0", "::", "fe80::1", "224.0.0.1", "255.255.255.255"]  # noqa: S104
    for address in [*never, "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fe80::1%lo"]:
        assert refusal(sink, address, private=private) == "forbidden", address
    sink.assert_silent()


def test_broadcasts_count_as_own() -> None:
    broadcasts = {
        entry.broadcast
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET and entry.broadcast
    }
    assert broadcasts
    assert all(dial.is_own(address) for address in broadcasts)


@pytest.mark.parametrize("address", ["203.0.113.7", "198.51.100.1", "2001:db8::7", "240.0.0.1"])
def test_others_addresses_are_not_own(address: str) -> None:
    assert not dial.is_own(address)


def test_a_machine_that_does_not_know_its_own_addresses_runs_no_proxy() -> None:
    # In a network namespace of its own, whose loopback has to be up: without a single route all addresses are local.
    script = """
import fcntl, pathlib, socket, struct
from bulkhead.egress.dial import require_own_known
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))
require_own_known()
pathlib.Path("/proc/sys/net/ipv4/ip_nonlocal_bind").write_text("1")
require_own_known()
"""
    argv = ["unshare", "--map-root-user", "--net", sys.executable, "-c", script]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"{UnenforceableError.__name__}: this machine's own addresses" in ended.stderr
    assert 'File "<string>", line 7' in ended.stderr


def test_of_a_names_addresses_only_those_that_may_be_are_dialled(sink: Sink) -> None:
    found = ["169.254.169.254", "127.0.0.1"]
    with Programs(rule(sink), lookup=lambda _: found) as programs:
        with programs.connect(NAME, sink.port) as program:
            program.sendall(b"to the second")
            program.shutdown(socket.SHUT_WR)
            assert keep(program) == b"to the second"
        assert programs.reported().dialled == "127.0.0.1"


def test_a_name_is_resolved_once_a_connection_and_what_was_vetted_is_dialled(sink: Sink) -> None:
    """DNS rebinding: the second answer is another one, and would be refused."""
    asked: list[str] = []

    def lookup(name: str) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    with Programs(rule(sink), lookup=lookup) as programs:
        with programs.connect(NAME, sink.port) as program:
            program.sendall(b"vetted")
            until(lambda: sink.data == b"vetted", PATIENCE)
        assert programs.reported().dialled == "127.0.0.1"
        assert asked == [NAME]
        with programs.connect(NAME, sink.port) as program:
            assert_reset(program)
        assert programs.reported(2).reason == "forbidden"
        assert asked == [NAME, NAME]
    assert sink.connections == 1


def test_the_next_address_is_tried_where_the_first_refuses() -> None:
    with Sink(host="127.0.0.1") as sink, Programs(rule(sink), lookup=lambda _: ["127.3.3.3", "127.0.0.1"]) as programs:
        with programs.connect(NAME, sink.port) as program:
            program.sendall(b"there")
            until(lambda: sink.data == b"there", PATIENCE)
        assert programs.reported().dialled == "127.0.0.1"


def test_nothing_is_resolved_before_the_connection_was_judged(sink: Sink) -> None:
    asked: list[str] = []

    def lookup(name: str) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"]

    with Programs(rule(sink, tls=True), lookup=lookup) as programs:
        with programs.connect(NAME, sink.port) as program:
            program.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert_reset(program)
        assert programs.reported().reason == "plaintext"
    assert asked == []


@pytest.mark.parametrize("failure", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
def test_a_name_without_an_address(failure: Exception) -> None:
    def lookup(_: str) -> list[str]:
        raise failure

    with Programs(rule(443, tls=False), lookup=lookup) as programs:
        with programs.connect(NAME, 443) as program:
            assert_reset(program)
        told = programs.reported()
    assert (told.decision, told.reason) == ("allow", "unresolved")


def test_a_name_with_no_address_at_all() -> None:
    with Programs(rule(443, tls=False), lookup=lambda _: []) as programs:
        with programs.connect(NAME, 443) as program:
            assert_reset(program)
        assert programs.reported().reason == "unresolved"


def test_a_server_that_is_not_there() -> None:
    with Sink() as gone:
        pass
    with Programs(rule(gone)) as programs:
        with programs.connect(NAME, gone.port) as program:
            assert_reset(program)
        told = programs.reported()
    assert (told.decision, told.reason) == ("allow", "unreachable")


def test_a_resolver_that_hangs_holds_no_process_back() -> None:
    script = """
import asyncio, time
from bulkhead.egress.resolver import Resolver

async def main():
    async with asyncio.timeout(0.1):
        await Resolver(lambda name: time.sleep(60)).addresses("api.example.org")

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert "TimeoutError" in ended.stderr


def test_the_machines_own_resolver_is_asked(sink: Sink) -> None:
    assert "127.0.0.1" in system("localhost")
    with (
        Programs(rule(sink, "localhost"), lookup=system) as programs,
        programs.connect("localhost", sink.port) as program,
    ):
        program.sendall(b"resolved")
        until(lambda: sink.data == b"resolved", PATIENCE)
    with pytest.raises(OSError, match=r"."):
        system("name.invalid")


def test_a_rule_for_an_address_does_not_reach_what_is_never_dialled(sink: Sink) -> None:
    rules = EgressRule("169.254.0.0/16", (sink.port,), private=True)
    with Programs(rules) as programs:
        with programs.connect_to("169.254.169.254", sink.port) as program:
            assert_reset(program)
        assert programs.reported().reason == "forbidden"
