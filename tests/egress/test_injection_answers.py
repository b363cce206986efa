"""What a host repeats of a secret is taken out of its answers, whatever its form and wherever it is cut."""

from __future__ import annotations

import gc
import json
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.egress.redact import Redactor
from bulkhead.egress.substitute import Substitution
from tests.conftest import until
from tests.egress.sinks import PATIENCE
from tests.egress.vaults import Canary, Host, Sandbox, answer, answering, head_of, request, some_of

if TYPE_CHECKING:
    import ssl

CLOSE = b"Connection: close"
SECRET = b'the "value" of/it+is=\\this\xc3\xa9'
PLACEHOLDER = b"a placeholder, just as long"


@pytest.fixture
def canary() -> Canary:
    return Canary()


FORMS = {
    "plain": SECRET,
    "quoted": quote(SECRET, safe="").encode(),
    "quoted-lower": quote(SECRET, safe="").lower().encode(),
    "path": quote(SECRET).encode(),
    "plus": quote_plus(SECRET).encode(),
    "json": json.dumps(SECRET.decode())[1:-1].encode(),
    "json-php": json.dumps(SECRET.decode())[1:-1].replace("/", "\\/").encode(),
    "json-utf8": json.dumps(SECRET.decode(), ensure_ascii=False)[1:-1].encode(),
    "html": SECRET.replace(b'"', b"&quot;"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_forms(form: str, size: int) -> None:
    text = b"before " + FORMS[form] + FORMS[form] + b" after"
    redactor = Redactor({PLACEHOLDER: SECRET})
    pieces = [redactor.feed(text[at : at + size]) for at in range(0, len(text), size)]
    found = b"".join(pieces) + redactor.rest()
    assert len(found) == len(text)
    assert found.startswith(b"before ")
    assert found.endswith(b" after")
    assert FORMS[form] not in found
    assert b"value" not in found.replace(b"a placeholder", b"")


def test_the_plain_form_becomes_the_placeholder() -> None:
    redactor = Redactor({b"AAAA-BBBB-CCCC": b"1111-2222-3333"})
    assert redactor.text(b"<1111-2222-3333>") == b"<AAAA-BBBB-CCCC>"


@pytest.mark.parametrize("placeholder", [b"short", b"longer than the secret is by far"])
def test_a_secret_that_has_become_longer_or_shorter_keeps_lengths(placeholder: bytes) -> None:
    found = Redactor({placeholder: b"1111-2222-3333"}).text(b"<1111-2222-3333>")
    assert found == b"<" + placeholder[:14].ljust(14, b"*") + b">"


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("before", range(4))
def test_within_base64(before: int, encode: type[bytes]) -> None:
    secret = bytes(range(0xC0, 0xE0)) + b"?>~"
    redactor = Redactor({b"p" * len(secret): secret})
    text = encode(b"x" * before + secret + b"y" * 5)
    found = redactor.text(text)
    assert len(found) == len(text)
    assert all(text[at : at + 12] not in found for at in range(4, len(text) - 20))


PARTS = [b"sec", b"ret-", b"secret-value", b"s", b"se", b"x", b"ret-value", b"\r\n"]


@given(st.lists(st.sampled_from(PARTS)), st.data())
def test_however_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    text = b"".join(parts)
    redactor, at, found = Redactor({b"placeholder!": b"secret-value"}), 0, b""
    while at < len(text):
        size = data.draw(st.integers(1, 9))
        found += redactor.feed(text[at : at + size])
        at += size
        assert text.startswith(found.replace(b"placeholder!", b"secret-value"))
    found += redactor.rest()
    assert found == text.replace(b"secret-value", b"placeholder!")


def test_nothing_is_held_back_that_is_no_beginning() -> None:
    redactor = Redactor({b"placeholder!": b"secret-value"})
    assert redactor.feed(b"data: event\n\n") == b"data: event\n\n"
    assert redactor.feed(b"data: secret") == b"data: "
    assert redactor.feed(b"s\n\n") == b"secrets\n\n"


def test_what_was_let_go_of_is_the_beginning_of_a_secret_still() -> None:
    redactor = Redactor({b"placeholder!": b"secret-value"})
    assert redactor.feed(b"<sec") == b"<"
    assert redactor.holds
    assert redactor.rest() == b"sec"
    assert not redactor.holds
    assert redactor.feed(b"ret-") == b""
    assert redactor.rest() == b"ret-"
    assert redactor.feed(b"value>") == b"lder!>"
    assert redactor.feed(b"sec") == b""
    assert redactor.rest() + redactor.feed(b"ond") == b"second"


# Over the wire


def test_echoes_come_back_with_the_placeholder(canary: Canary) -> None:
    def echo(head: bytes) -> bytes:
        line = next(line for line in head.split(b"\r\n") if line.startswith(b"A: "))
        body = json.dumps({"headers": line.decode()}).encode()
        return answer(body, b"X-Echo: " + line, b"Set-Cookie: a=" + quote(canary.secret, safe="").encode())

    with Host(answering(echo)) as host, Sandbox(host, canary) as sandbox:
        answered = sandbox.say(request(b"A: Bearer " + canary.placeholder, CLOSE))
    head, _, body = answered.partition(b"\r\n\r\n")
    assert json.loads(body) == {"headers": f"A: Bearer {canary.placeholder.decode()}"}
    assert b"X-Echo: A: Bearer " + canary.placeholder in head
    assert canary.secret not in answered
    assert quote(canary.secret, safe="").encode() not in answered


def test_basic_credentials_come_back_as_the_program_sent_them(canary: Canary) -> None:
    def echo(head: bytes) -> bytes:
        return answer(head, b"X-Echo: " + b64encode(b"me:" + canary.secret))

    sent = b64encode(b"me:" + canary.placeholder)
    with Host(answering(echo)) as host, Sandbox(host, canary) as sandbox:
        answered = sandbox.say(request(b"Authorization: Basic " + sent, CLOSE))
    assert b64encode(b"me:" + canary.secret) in host.data
    assert answered.count(sent) == 2
    assert b64encode(b"me:" + canary.secret) not in answered


def test_across_chunks_and_records(canary: Canary) -> None:
    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        conn.sendall(b"HTTP/1.1 200 " + canary.secret + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in b"<" + canary.secret + b">":
            conn.sendall(b"1\r\n" + bytes([byte]) + b"\r\n")
        conn.sendall(b"0\r\n\r\n")
        conn.recv(1)

    with Host(serve) as host, Sandbox(host, canary) as sandbox:
        answered = sandbox.say(request(b"A: " + canary.placeholder, CLOSE))
    head, _, body = answered.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 " + canary.placeholder + b"\r\n")
    assert b"".join(body.split(b"\r\n")[1::2]) == b"<" + canary.placeholder + b">"


def test_events_come_at_once(canary: Canary) -> None:
    event = b"data: something\n\n"

    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * len(event)))
        conn.sendall(event)
        conn.recv(1)

    with Host(serve) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(request(b"A: " + canary.placeholder))
        expected = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * len(event)) + event
        assert some_of(program, len(expected)) == expected


def test_what_may_be_a_beginning_waits_only_for_a_moment(canary: Canary) -> None:
    """Somebody who waits for the end of a message gets it, and what follows is looked through as before."""
    begun = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"

    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        conn.sendall(begun + b"message " + canary.secret[:5])
        conn.recv(1)
        conn.sendall(canary.secret[5:])
        conn.recv(1)

    with Host(serve) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(request(b"A: " + canary.placeholder, b"Connection: upgrade", b"Upgrade: websocket"))
        assert some_of(program, len(begun) + 13).endswith(b"message " + canary.secret[:5])
        program.sendall(b"x")
        assert some_of(program, len(canary.secret) - 5) == canary.placeholder[5:]


def test_the_answer_to_a_request_without_it_is_left_alone(canary: Canary) -> None:
    """The value is known until the end of the answer to the request that had it, and no longer."""

    def known() -> int:
        return sum(isinstance(found, Redactor | Substitution) for found in gc.get_objects())

    gc.collect()
    before = known()
    echo = answer(canary.secret)
    with Host(answering(echo)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(request(b"A: " + canary.placeholder))
        assert some_of(program, len(echo)) == echo.replace(canary.secret, canary.placeholder)
        until(lambda: known() == before, PATIENCE)
        program.sendall(request())
        assert some_of(program, len(echo)) == echo


@pytest.mark.parametrize(
    "said",
    [
        answer(b"\x1f\x8b...", b"Content-Encoding: gzip"),
        answer(b"\x1f\x8b...", b"Content-Encoding: identity, br"),
        b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    ],
)
def test_an_answer_that_cannot_be_read_is_refused(canary: Canary, said: bytes) -> None:
    upgrade = (b"Connection: upgrade", b"Upgrade: websocket") if b" 101 " in said else ()
    with Host(answering(said)) as host, Sandbox(host, canary) as sandbox:
        answered = sandbox.say(request(b"A: " + canary.placeholder, *upgrade))
        told = sandbox.reported()
    assert (told.decision, told.reason) == ("deny", "encoded")
    assert answered.startswith(b"HTTP/1.1 502 ")
    assert b"\x1f\x8b" not in answered


def test_what_says_that_it_is_not_encoded_is_passed_on(canary: Canary) -> None:
    said = answer(b"plain", b"Content-Encoding: identity")
    with Host(answering(said)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(request(b"A: " + canary.placeholder))
        assert some_of(program, len(said)) == said
        until(lambda: canary.secret in host.data, PATIENCE)
