"""HTTP/1.1 through the place where secrets are put in: bodies, trailers, 1xx, Upgrade, large transfers, and ends."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.conftest import until
from tests.egress.sinks import PATIENCE
from tests.egress.test_proxy_pump import resident
from tests.egress.vaults import (
    OK,
    Canary,
    Host,
    Sandbox,
    answer,
    answering,
    asking,
    assert_cut_off,
    head_of,
    request,
    scripted,
    some_of,
)

CLOSE = b"Connection: close"
CHUNKED = b"Transfer-Encoding: chunked"
LARGE = 20 * 2**20

if TYPE_CHECKING:
    import ssl


@pytest.fixture
def canary() -> Canary:
    return Canary()


# Bodies


def test_chunks_and_trailers_both_ways(canary: Canary) -> None:
    sent = b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Up: 1\r\n\r\n"
    back = b"4\r\nwxyz\r\n0\r\nX-Down: " + canary.secret + b"\r\n\r\n"
    begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    serve = scripted(None, len(sent), begun + back)
    with Host(serve) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(asking(canary, CHUNKED, method=b"POST", body=sent))
        assert some_of(program, len(begun + back)) == begun + back.replace(canary.secret, canary.placeholder)
    assert host.data.endswith(sent)


def test_a_body_is_passed_on_while_it_is_sent(canary: Canary) -> None:
    with Host(scripted(None, OK)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(asking(canary, b"Content-Length: 10", method=b"POST", body=b"01234"))
        until(lambda: host.data.endswith(b"01234"), PATIENCE)
        assert some_of(program, len(OK)) == OK
        program.sendall(b"56789")
        until(lambda: host.data.endswith(b"0123456789"), PATIENCE)


def test_an_early_answer_ends_nothing(canary: Canary) -> None:
    """The answer comes while the body is still sent; then the next request follows on the same connection."""
    steps = (None, OK, 8, None, OK)
    with Host(scripted(*steps)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(asking(canary, b"Content-Length: 8", method=b"POST", body=b"0123"))
        assert some_of(program, len(OK)) == OK
        program.sendall(b"4567" + asking(canary))
        assert some_of(program, len(OK)) == OK
    assert host.connections == 1
    assert host.data.count(canary.secret) == 2


def test_an_early_answer_that_closes_is_still_read(canary: Canary) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\n413"

    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        conn.sendall(refusal)

    with Host(serve) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(asking(canary, b"Content-Length: %d" % LARGE, method=b"POST"))
        program.sendall(bytes(LARGE))
        assert program.recv(len(refusal)).startswith(b"HTTP/1.1 413 ")


def test_continue_comes_back_and_the_body_follows(canary: Canary) -> None:
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    with Host(scripted(None, go_on, 4, OK)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(asking(canary, b"Expect: 100-continue", b"Content-Length: 4", method=b"PUT"))
        assert some_of(program, len(go_on)) == go_on
        program.sendall(b"body")
        assert some_of(program, len(OK)) == OK
    assert b"Expect: 100-continue" in host.data


def test_an_expectation_that_fails(canary: Canary) -> None:
    with Host(scripted(None, OK)) as host, Sandbox(host, canary) as sandbox:
        with sandbox.open() as program:
            program.sendall(asking(canary, b"Expect: 100-continue", b"Content-Length: 4", method=b"PUT"))
            assert some_of(program, len(OK)) == OK
        assert sandbox.reported().reason == ""
    assert host.data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nContent-Encoding: gzip\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: a\r\nContent-Length: 7\r\n\r\n"),
        (b"GET", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK),
        (b"GET", b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: b\r\n\r\n" + OK),
        (b"GET", b"HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_answers_without_a_body_and_before_the_answer(canary: Canary, method: bytes, said: bytes) -> None:
    with Host(scripted(None, said, None, OK)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(asking(canary, method=method))
        assert some_of(program, len(said)) == said
        program.sendall(asking(canary))
        assert some_of(program, len(OK)) == OK
    assert host.connections == 1


def test_requests_that_are_sent_ahead_are_answered_in_their_order(canary: Canary) -> None:
    answers = [answer(b"number %d" % number) for number in range(5)]
    with Host(answering(*answers)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(b"".join(asking(canary, b"N: %d" % number) for number in range(5)))
        expected = b"".join(answers)
        assert some_of(program, len(expected)) == expected
    assert host.data.count(canary.secret) == 5


def test_a_refused_request_among_those_sent_ahead_takes_no_other_with_it(canary: Canary) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        answered = sandbox.say(asking(canary) + request(target=b"/" + canary.placeholder) + asking(canary))
    assert answered.startswith(OK + b"HTTP/1.1 403 ")
    assert host.data.count(canary.secret) == 1


def test_a_program_of_http_1_0(canary: Canary) -> None:
    body = b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n"
    back = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n" + body
    with Host(scripted(None, back)) as host, Sandbox(host, canary) as sandbox:
        answered = sandbox.say(asking(canary).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answered.endswith(b"\r\n\r\nok")
    assert b"chunked" not in answered
    assert canary.secret in host.data


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_body_up_to_the_end(canary: Canary, version: bytes) -> None:
    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        conn.sendall(b"HTTP/" + version + b" 200 OK\r\n\r\nall ")
        conn.sendall(b"of it")
        conn.unwrap()

    with Host(serve) as host, Sandbox(host, canary) as sandbox:
        answered = sandbox.say(asking(canary))
    assert b"connection: close" in answered.lower()
    chunks = answered.partition(b"\r\n\r\n")[2]
    assert chunks.endswith(b"0\r\n\r\n")
    assert b"".join(chunks.split(b"\r\n")[1::2]) == b"all of it"


# Other protocols


AGREED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket")


def test_after_101_bytes_go_both_ways(canary: Canary) -> None:
    extensions = b"Sec-WebSocket-Extensions: permessage-deflate"
    frame = b"\x81\x30you sent " + canary.secret
    with Host(scripted(None, AGREED + frame[:15], 5, frame[15:])) as host, Sandbox(host, canary) as sandbox:
        with sandbox.open() as program:
            program.sendall(asking(canary, *UPGRADE, extensions))
            expected = AGREED + frame[:11]
            assert some_of(program, len(expected)) == expected
            program.sendall(b"\x81\x83ab")
            program.sendall(b"c")
            assert some_of(program, len(frame) - 11) == canary.placeholder
        assert sandbox.reported().reason == ""
    assert host.data.endswith(b"\x81\x83abc")
    assert canary.secret in host.data
    assert extensions not in host.data


def test_a_placeholder_behind_an_upgrade_never_arrives(canary: Canary) -> None:
    with Host(scripted(None, AGREED)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(asking(canary, *UPGRADE))
        assert some_of(program, len(AGREED)) == AGREED
        program.sendall(b"frames " + canary.placeholder)
        assert_cut_off(program)
        assert sandbox.reported().reason == "binding"
    assert b"frames" not in host.data


def test_an_upgrade_that_is_refused_is_followed_by_requests(canary: Canary) -> None:
    with Host(scripted(None, OK, None, OK)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(asking(canary, *UPGRADE))
        assert some_of(program, len(OK)) == OK
        program.sendall(asking(canary))
        assert some_of(program, len(OK)) == OK
    assert host.connections == 1


def test_a_socket_that_the_program_ends(canary: Canary) -> None:
    ended = threading.Event()

    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        conn.sendall(AGREED)
        assert conn.recv(10) == b""
        ended.set()

    with Host(serve) as host, Sandbox(host, canary) as sandbox:
        with sandbox.open() as program:
            program.sendall(asking(canary, *UPGRADE))
            assert some_of(program, len(AGREED)) == AGREED
        assert ended.wait(PATIENCE)
        assert sandbox.reported().reason == ""


# Large and slow


def pattern(count: int) -> bytes:
    return os.urandom(2**16) * (count // 2**16)


def test_twenty_megabytes_up_and_twenty_down_at_once(canary: Canary) -> None:
    up, down = pattern(LARGE), pattern(LARGE)
    digests: list[str] = []

    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        found = hashlib.sha256()
        for at in range(0, LARGE, 2**16):
            conn.sendall(down[at : at + 2**16])
            left = 2**16
            while left:
                piece = conn.recv(left)
                found.update(piece)
                left -= len(piece)
        digests.append(found.hexdigest())
        conn.recv(1)

    with Host(serve) as host, Sandbox(host, canary) as sandbox:
        with sandbox.open() as program:
            program.sendall(asking(canary, b"Content-Length: %d" % LARGE, method=b"POST"))
            head_end = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE
            assert some_of(program, len(head_end)) == head_end
            found = hashlib.sha256()
            for at in range(0, LARGE, 2**16):
                program.sendall(up[at : at + 2**16])
                found.update(some_of(program, 2**16))
            until(lambda: bool(digests), PATIENCE)
        told = sandbox.reported()
    assert (found.digest(), digests) == (hashlib.sha256(down).digest(), [hashlib.sha256(up).hexdigest()])
    assert told.sent > LARGE
    assert told.received > LARGE


def test_what_is_not_read_is_not_kept(canary: Canary) -> None:
    """A host that sends without an end to a program that does not read, and a program that does to a host."""
    stuck: list[int] = []

    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (LARGE * 100))
        stuck.append(until_blocked(conn))

    with Host(serve) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        before = resident()
        program.sendall(asking(canary, b"Content-Length: %d" % (LARGE * 100), method=b"POST"))
        assert until_blocked(program) < LARGE
        until(lambda: bool(stuck), 30)
        assert stuck[0] < LARGE
        assert resident() - before < 2**23


def until_blocked(sender: ssl.SSLSocket) -> int:
    """Sends until nobody takes any more for a second; the bytes taken."""
    sender.settimeout(1)
    count, piece = 0, bytes(2**16)
    try:
        while count < LARGE * 10:
            count += sender.send(piece)
    except TimeoutError:
        return count
    raise AssertionError("somebody kept it all")
