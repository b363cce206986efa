"""clienthello.py: hellos of a real TLS library, and those that no library makes."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.egress.clienthello import Hellos, read
from bulkhead.errors import DeniedError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "api.example.com"
MODERN, OLDER = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2


# What a library says


class Side:
    """One side of a connection that nobody carries."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None, session: ssl.SSLSession | None = None) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, name is None, name, session)

    def step(self, received: bytes = b"") -> bytes:
        """What it sends on what it has received."""
        self._in.write(received)
        try:
            self.tls.do_handshake()
            self.tls.read()
        except ssl.SSLWantReadError:
            pass
        return self._out.read()


def client(version: ssl.TLSVersion = MODERN, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def hello(name: str = NAME, version: ssl.TLSVersion = MODERN, alpn: tuple[str, ...] = ()) -> bytes:
    return Side(client(version, alpn), name).step()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server that shares no group with a client's first guess, so that it asks for a second hello."""
    folder: Path = tmp_path_factory.mktemp("tls")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"]
    files = ["-keyout", f"{folder}/key", "-out", f"{folder}/certificate"]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, "-nodes", *files, "-subj", f"/CN={NAME}"], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    context.set_ecdh_curve("secp384r1")
    return context


def refused(data: bytes, name: str = NAME) -> tuple[str, str]:
    with pytest.raises(DeniedError) as caught:
        Hellos(name).feed(data)
    return caught.value.reason, caught.value.what


def fed(data: bytes, size: int = 1) -> tuple[bytes, str, str]:
    """What is forwarded of data that comes in pieces of a size, and why no more is: reason and what."""
    hellos, passed = Hellos(NAME), b""
    for at in range(0, len(data), size):
        try:
            passed += hellos.feed(data[at : at + size])
        except DeniedError as error:
            return passed, error.reason, error.what
    return passed, "", ""


@pytest.mark.parametrize("version", [MODERN, OLDER])
@pytest.mark.parametrize("alpn", [(), ("h2", "http/1.1")])
@pytest.mark.parametrize("name", [NAME, "a", "xn--bcher-kva.example", f"{'a' * 63}.{'b' * 63}.{'c' * 63}.example"])
def test_a_real_hello_is_forwarded_as_it_came(version: ssl.TLSVersion, alpn: tuple[str, ...], name: str) -> None:
    said = hello(name, version, alpn)
    assert Hellos(name).feed(said) == said
    assert refused(said, "other.example") == ("sni", f"the TLS hello is for '{name}'")


def test_a_hello_cut_anywhere_is_held_until_it_is_whole() -> None:
    said = hello(alpn=("h2",))
    for cut in range(1, len(said)):
        hellos = Hellos(NAME)
        assert hellos.feed(said[:cut]) == b""
        assert hellos.feed(said[cut:]) == said


def test_byte_by_byte() -> None:
    said, hellos = hello(), Hellos(NAME)
    assert [hellos.feed(said[at : at + 1]) for at in range(len(said))] == [b""] * (len(said) - 1) + [said]


def test_the_case_of_a_name_does_not_matter() -> None:
    said = hello("API.Example.com")
    assert Hellos(NAME).feed(said) == said


def test_an_address_is_not_named() -> None:
    assert refused(hello("203.0.113.7"), "203.0.113.7") == ("sni", "the TLS hello names no host")


@pytest.mark.parametrize("version", [MODERN, OLDER])
def test_a_whole_connection_goes_through_until_nothing_can_be_checked(
    server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    here, there, hellos = Side(client(version), NAME), Side(server), Hellos(NAME)
    sent = here.step()
    assert not hellos.opaque
    while sent:
        assert hellos.feed(sent) == sent
        sent = here.step(there.step(sent))
    assert here.tls.version() == version.name.replace("v1_", "v1.")
    here.tls.write(b"request")
    last = here.step()
    assert hellos.feed(last) == last
    assert hellos.opaque


def test_a_resumption_whose_handshake_is_encrypted_goes_through(server: ssl.SSLContext) -> None:
    context = client(OLDER)
    first, there = Side(context, NAME), Side(server)
    sent = first.step()
    while sent:
        sent = first.step(there.step(sent))
    again, there, hellos = Side(context, NAME, first.tls.session), Side(server), Hellos(NAME)
    sent = again.step()
    assert hellos.feed(sent) == sent
    sent = again.step(there.step(sent))
    assert again.tls.session_reused
    assert hellos.feed(sent) == sent
    assert hellos.opaque


def test_a_second_hello_is_judged_as_the_first(server: ssl.SSLContext) -> None:
    here, there = Side(client(), NAME), Side(server)
    first = here.step()
    second = here.step(there.step(first))
    assert second.count(NAME.encode()) == 1
    other = second.replace(NAME.encode(), b"bad.example.com")
    for at in range(len(other)):
        hellos = Hellos(NAME)
        assert hellos.feed(first) == first
        early = hellos.feed(other[:at])
        assert b"bad" not in early
        with pytest.raises(DeniedError, match=r"is for 'bad\.example\.com'"):
            hellos.feed(other[at:])


# What no library says


def extension(kind: int, value: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def entry(name: bytes, kind: int = 0) -> bytes:
    return bytes([kind]) + len(name).to_bytes(2, "big") + name


def names(*entries: bytes) -> bytes:
    listed = b"".join(entries)
    return extension(0, len(listed).to_bytes(2, "big") + listed)


SNI = names(entry(NAME.encode()))


def body(*extensions: bytes, version: bytes = b"\3\3", session: bytes = b"", ciphers: bytes = b"\x13\1") -> bytes:
    block = b"".join(extensions)
    head = version + bytes(32) + bytes([len(session)]) + session
    head += len(ciphers).to_bytes(2, "big") + ciphers + b"\1\0"
    return head + len(block).to_bytes(2, "big") + block


def message(content: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + len(content).to_bytes(3, "big") + content


def record(content: bytes, kind: int = 22, version: bytes = b"\3\1") -> bytes:
    return bytes([kind]) + version + len(content).to_bytes(2, "big") + content


def said(*extensions: bytes) -> bytes:
    return record(message(body(*extensions)))


def in_records(content: bytes, size: int) -> bytes:
    return b"".join(record(content[at : at + size]) for at in range(0, len(content), size))


PLAIN = said(SNI)
GREASE = extension(0x0A0A, b"") + extension(0xFAFA, b"\0")
BIG = extension(21, bytes(12000))
EARLY = said(SNI, extension(42, b""))
BAD = message(body(names(entry(b"bad.example.com"))))


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        said(GREASE, SNI, extension(16, b"\0\3\2h2")),
        said(SNI, BIG),
        record(message(body(SNI)), version=b"\3\0"),
        record(message(body(SNI, session=bytes(32)))),
        in_records(message(body(SNI)), 2),
        in_records(message(body(SNI, BIG)), 1000),
    ],
)
def test_accepted(data: bytes) -> None:
    assert Hellos(NAME).feed(data) == data
    assert fed(data) == (data, "", "")


MALFORMED, NOT_ONE = "a TLS hello is malformed", "the TLS hello does not name exactly one host"
TOO_MUCH = "a TLS hello is too long, in too many records, or followed by something"
ENCRYPTED = "the TLS hello is encrypted, so its true name cannot be seen"
LENGTH = "a TLS record of a hello is empty or too long"
REFUSED = {
    "HTTP": (b"GET / HTTP/1.1\r\n", "plaintext", "this is not TLS"),
    "SSH": (b"SSH-2.0-x\r\n", "plaintext", "this is not TLS"),
    "one strange byte": (b"G", "plaintext", "this is not TLS"),
    "a line after the first byte": (b"\x16\n", "plaintext", "this is not TLS"),
    "an alert first": (record(b"\1\0", 21), "plaintext", "this is not TLS"),
    "data first": (record(b"x", 23), "plaintext", "this is not TLS"),
    "SSL 2": (b"\x80\x2e\1\0\2", "sni", "a hello of SSL 2 names no host"),
    "no extensions": (record(message(body()[:-2])), "sni", "the TLS hello names no host"),
    "no server name": (said(GREASE), "sni", "the TLS hello names no host"),
    "another name": (said(names(entry(b"evil.example"))), "sni", "the TLS hello is for 'evil.example'"),
    "a name below": (said(names(entry(b"a.api.example.com"))), "sni", "the TLS hello is for 'a.api.example.com'"),
    "a final dot": (said(names(entry(b"api.example.com."))), "sni", "the TLS hello is for 'api.example.com.'"),
    "a NUL": (said(names(entry(b"api.example.com\0.x"))), "sni", r"the TLS hello is for 'api.example.com\x00.x'"),
    "no ASCII": (said(names(entry("\uff41pi".encode()))), "sni", r"the TLS hello is for '\xef\xbd\x81pi'"),
    "a terminal's escape": (said(names(entry(b"\x1b[2J"))), "sni", r"the TLS hello is for '\x1b[2J'"),
    "an empty server name": (said(extension(0, b"")), "sni", NOT_ONE),
    "an empty list": (said(names()), "sni", NOT_ONE),
    "an empty name": (said(names(entry(b""))), "sni", NOT_ONE),
    "two names": (said(names(entry(NAME.encode()), entry(b"evil.example"))), "sni", NOT_ONE),
    "the name twice": (said(names(entry(NAME.encode()), entry(NAME.encode()))), "sni", NOT_ONE),
    "a name of another type": (said(names(entry(NAME.encode(), 1))), "sni", NOT_ONE),
    "a list longer than it says": (said(extension(0, SNI[4:] + b"x")), "sni", NOT_ONE),
    "a list shorter than it says": (said(extension(0, SNI[4:-1])), "sni", NOT_ONE),
    "two server names": (said(SNI, SNI), "sni", "an extension stands twice in a TLS hello"),
    "an extension twice": (said(SNI, GREASE, GREASE), "sni", "an extension stands twice in a TLS hello"),
    "ECH": (said(SNI, extension(0xFE0D, b"\0")), "ech", ENCRYPTED),
    "ECH without a name": (said(extension(0xFE0D, b"\0")), "ech", ENCRYPTED),
    "an encrypted name of the draft": (said(SNI, extension(0xFFCE, b"")), "ech", ENCRYPTED),
    "an extension that is too long": (said(SNI, b"\0\x15\0\1"), "sni", MALFORMED),
    "half an extension": (said(SNI, b"\0\x15\0"), "sni", MALFORMED),
    "more than it says": (record(message(body(SNI) + b"x")), "sni", "a TLS hello has more than it says"),
    "less than it says": (record(message(body(SNI)[:-1])), "sni", MALFORMED),
    "half a random": (record(message(body(SNI)[:20])), "sni", MALFORMED),
    "an empty hello": (record(message(b"")), "sni", MALFORMED),
    "version 2": (record(message(body(SNI, version=b"\2\0"))), "sni", MALFORMED),
    "a session of 33": (record(message(body(SNI, session=bytes(33)))), "sni", MALFORMED),
    "half a cipher": (record(message(body(SNI, ciphers=b"\x13"))), "sni", MALFORMED),
    "no cipher": (record(message(body(SNI, ciphers=b""))), "sni", MALFORMED),
    "another message": (record(message(body(SNI), 2)), "sni", "TLS does not begin with a ClientHello"),
    "two hellos in a record": (record(message(body(SNI)) * 2), "sni", TOO_MUCH),
    "something behind the hello": (record(message(body(SNI)) + b"\0"), "sni", TOO_MUCH),
    "too long": (record(b"\1\0\x40\1"), "sni", TOO_MUCH),
    "in too many records": (in_records(message(body(SNI, BIG)), 1), "sni", TOO_MUCH),
    "an empty record": (record(b""), "sni", LENGTH),
    "an empty record between": (record(message(body(SNI))[:9]) + record(b""), "sni", LENGTH),
    "a record of 16385": (b"\x16\3\1\x40\1", "sni", LENGTH),
    "an alert inside": (
        record(message(body(SNI))[:9]) + record(b"\1\0", 21), "sni", "another record stands inside a TLS hello",
    ),
    "a second hello": (PLAIN + record(BAD), "sni", "the TLS hello is for 'bad.example.com'"),
    "a second hello behind an alert": (PLAIN + record(b"\1\0", 21) + record(BAD), "sni", "'bad.example.com'"),
    "a second hello in crumbs": (PLAIN + in_records(BAD, 3), "sni", "the TLS hello is for 'bad.example.com'"),
    "a second hello behind early data": (EARLY + record(b"x" * 99, 23) + record(BAD), "sni", "'bad.example.com'"),
    "a second hello behind nothing": (PLAIN + record(b"") + record(BAD), "sni", LENGTH),
    "a second hello that is too long": (PLAIN + record(b"\1\1\0\0\3\3" + bytes(99)), "sni", TOO_MUCH),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_however_the_bytes_come(case: str) -> None:
    data, reason, what = REFUSED[case]
    assert refused(data)[0] == reason
    assert what in refused(data)[1]
    passed, *why = fed(data)
    assert why == list(refused(data))
    assert b"bad.example" not in passed


@pytest.mark.parametrize(
    "tail",
    [
        record(b"\x10\0\0\1x"),
        record(b"x", 23),
        record(bytes(40)),
        record(b"\1" + bytes(39)),
        record(b"\1\3\0\0\3" + bytes(35)),
        b"\x16\3\3\x41\0",
        b"\x17\3\3\x41\0",
    ],
)
def test_what_is_no_hello_ends_the_check(tail: bytes) -> None:
    hellos = Hellos(NAME)
    assert hellos.feed(PLAIN + record(b"\1", 20) + tail) == PLAIN + record(b"\1", 20) + tail
    assert hellos.opaque
    assert hellos.feed(BAD) == BAD


def test_what_is_held_is_bounded() -> None:
    crumbs = in_records(message(body(SNI, extension(21, bytes(16000)))), 100)
    assert fed(crumbs[: 64 * 105]) == (b"", "", "")
    assert fed(crumbs[: 65 * 105]) == (b"", "sni", TOO_MUCH)
    hellos = Hellos(NAME)
    assert hellos.feed(b"\x16\3\1\x40\0\1\0\x40\0" + bytes(16379)) == b""
    with pytest.raises(DeniedError, match="another record"):
        hellos.feed(bytes(6))


@given(st.binary(max_size=120), st.integers(0, len(PLAIN)), st.integers(1, 120))
def test_any_bytes_are_forwarded_whole_or_refused(noise: bytes, keep: int, cut: int) -> None:
    data = PLAIN[:keep] + noise
    whole, *why = fed(data, len(data) + 1)
    crumbs, *same = fed(data)
    assert (why, data.startswith(crumbs)) == (same, True)
    if not why[0]:
        assert whole == crumbs
        assert len(fed(data, cut)[0]) == len(whole)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_hello_is_read_or_refused(noise: bytes, keep: int) -> None:
    try:
        assert read(body(SNI)[:keep] + noise).sni
    except DeniedError as error:
        reason = error.reason
    else:
        reason = ""
    assert reason in ("", "sni", "ech")
