"""No way out and no way in: no interface but loopback, and behind it nobody but the server itself."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.security import inside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.guest import Guest, Inn

pytestmark = pytest.mark.engine

V4, V6, UNIX = int(socket.AF_INET), int(socket.AF_INET6), int(socket.AF_UNIX)
STREAM, DATAGRAM = int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM)
NO_WAY = ("ENETUNREACH", "EADDRNOTAVAIL")  # the second where IPv6 is switched off

# Documentation addresses, the link-local one of cloud metadata, multicast, and everybody.
ELSEWHERE = ["198.51.100.1", "169.254.169.254", "10.0.0.1", "224.0.0.251"]


@contextmanager
def _services(family: int, address: str) -> Iterator[dict[int, int]]:
    """A stream and a datagram listener of the host's, on one of its addresses or on all: their ports."""
    kinds = {kind: socket.socket(family, kind) for kind in (STREAM, DATAGRAM)}
    try:
        for sock in kinds.values():
            sock.bind((address, 0))
        kinds[STREAM].listen()
        yield {kind: sock.getsockname()[1] for kind, sock in kinds.items()}
    finally:
        for sock in kinds.values():
            sock.close()


def _addresses(family: int) -> list[str]:
    """The machine's own, of every interface; link-local ones need to be told the interface."""
    rows = [row.address for rows in psutil.net_if_addrs().values() for row in rows if row.family == family]
    return sorted({address for address in rows if "%" not in address})


def _reached(family: int, address: str, port: int) -> bool:
    with socket.socket(family, STREAM) as sock:
        sock.settimeout(5)
        return sock.connect_ex((address, port)) == 0


def test_only_loopback(guest: Guest) -> None:
    assert guest.ask(inside.interfaces) == ["lo"]
    assert len(guest.ask(inside.text_of, "/proc/net/route").splitlines()) == 1
    routes = guest.ask(inside.text_of, "/proc/net/ipv6_route").splitlines()
    assert {route.split()[-1] for route in routes} <= {"lo"}


@pytest.mark.parametrize("kind", [STREAM, DATAGRAM], ids=["tcp", "udp"])
@pytest.mark.parametrize("address", ELSEWHERE)
def test_no_route(guest: Guest, address: str, kind: int) -> None:
    assert guest.refused(inside.connected, V4, kind, [address, 53]) == "ENETUNREACH"


def test_no_route_of_ipv6(guest: Guest) -> None:
    assert guest.refused(inside.connected, V6, STREAM, ["2001:db8::1", 443]) in NO_WAY


def test_no_names(guest: Guest) -> None:
    assert guest.ask(inside.text_of, "/etc/resolv.conf") == ""  # to a resolver, 127.0.0.1
    assert guest.ask(inside.resolved, "example.org") == "EAI_AGAIN"
    assert guest.refused(inside.connected, V4, DATAGRAM, ["127.0.0.11", 53]) == "ECONNREFUSED"  # Docker's own resolver


def test_no_service_of_the_host_on_any_of_its_addresses(guest: Guest) -> None:
    with _services(V4, "0.0.0.0") as ports:  # noqa: S104 - the point
        addresses = _addresses(V4)
        assert len(addresses) > 1
        for address in addresses:
            assert _reached(V4, address, ports[STREAM])
            expected = "ECONNREFUSED" if address.startswith("127.") else "ENETUNREACH"
            for kind, port in ports.items():
                assert guest.refused(inside.connected, V4, kind, [address, port]) == expected, address


def test_no_service_of_the_host_over_ipv6(guest: Guest) -> None:
    addresses = _addresses(V6)
    for address in addresses or ["::1"]:
        assert guest.refused(inside.connected, V6, STREAM, [address, 1]) in (*NO_WAY, "ECONNREFUSED")


def test_no_abstract_socket_of_the_host(guest: Guest) -> None:
    with socket.socket(UNIX, STREAM) as sock:
        sock.bind("\0bulkhead-security-test")
        sock.listen()
        assert "@bulkhead-security-test" in Path("/proc/net/unix").read_text(encoding="utf-8")
        assert guest.refused(inside.connected, UNIX, STREAM, ["\0bulkhead-security-test"]) == "ECONNREFUSED"


@pytest.mark.parametrize(
    ("family", "address"), [(V4, ["127.0.0.1", 0]), (UNIX, ["\0bulkhead-security-guest"])], ids=["tcp", "abstract"]
)
def test_no_service_of_another_sandbox(inn: Inn, neighbour: Guest, family: int, address: list[Any]) -> None:
    with inn.guest("listener") as listener:
        name = listener.ask(inside.listening, family, address)
        assert listener.ask(inside.connected, family, STREAM, name) == "connected"
        assert neighbour.refused(inside.connected, family, STREAM, name) == "ECONNREFUSED"


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "/work", "/home/bulkhead"])  # noqa: S108
def test_no_file_of_another_sandbox(guest: Guest, neighbour: Guest, folder: str) -> None:
    guest.ask(inside.written, f"{folder}/of-the-guest", "x")
    assert "of-the-guest" in guest.ask(inside.names_in, folder)
    assert "of-the-guest" not in neighbour.ask(inside.names_in, folder)
