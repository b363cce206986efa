"""http1.py: every request of a connection is for the name, however it is framed, and what is ambiguous is refused."""

from __future__ import annotations

import sys
from contextlib import suppress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.egress.http1 import Requests
from bulkhead.errors import DeniedError

NAME = "api.example.com"
HOST = b"Host: api.example.com\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
EVIL = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"
UPGRADE = (
    b"GET /chat HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
)


def get(*fields: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"POST /x HTTP/" + version + b"\r\n" + HOST + b"".join(f + b"\r\n" for f in fields) + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def to(target: bytes, method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n"


def fed(data: bytes, size: int = 2**16) -> tuple[bytes, str]:
    """What is forwarded of data that comes in pieces of a size, and why no more is."""
    requests, passed = Requests(NAME), b""
    for at in range(0, len(data), size):
        try:
            passed += requests.feed(data[at : at + size])
        except DeniedError as error:
            assert (error.reason, error.what) == ("host", "an HTTP request was refused")  # noqa: PT017  # fed by all
            return passed, error.why
    return passed, ""


ACCEPTED = {
    "a request": GET,
    "HTTP/1.0": b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
    "the port": get(b"Host: api.example.com:80"),
    "another case": get(b"hOST: API.Example.Com"),
    "no space": get(b"Host:api.example.com"),
    "spaces and a tab": get(b"Host: \t api.example.com \t"),
    "a URL": to(b"http://api.example.com/x?y"),
    "a URL with the port": to(b"HTTP://API.example.com:80"),
    "a URL with a query alone": to(b"http://api.example.com?http://evil.example/"),
    "a path like a URL": to(b"/http://evil.example/"),
    "a path that is not ASCII": to("/ü".encode()),
    "OPTIONS": to(b"*", b"OPTIONS"),
    "a body": post(b"Content-Length: 5", body=b"hello"),
    "no body": post(b"Content-Length: 0"),
    "a body that looks like a request": post(b"Content-Length: %d" % len(EVIL), body=EVIL),
    "a GET that says that it has no body": get(HOST[:-2], b"Content-Length: 0"),
    "a DELETE with a body": b"DELETE" + post(b"Content-Length: 1", body=b"x")[4:],
    "Expect": post(b"Expect: 100-continue", b"Content-Length: 2", body=b"ok"),
    "chunks": chunked(b"5\r\nhello\r\n0A\r\n0123456789\r\n0\r\n\r\n"),
    "chunks in another case": post(b"transfer-encoding: Chunked", body=b"0\r\n\r\n"),
    "a chunk that looks like a request": chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVIL), EVIL)),
    "trailers": chunked(b"1\r\nx\r\n0\r\nDigest: y\r\nX: Host: evil\r\n\r\n"),
    "an old body": post(b"Content-Length: 1", body=b"x", version=b"1.0"),
    "cookies": get(HOST[:-2], b"Cookie: " + b"x" * 16000),
    "bytes beyond ASCII": get(HOST[:-2], "X: ü".encode()),
    "an empty field": get(HOST[:-2], b"X:"),
    "Connection": get(HOST[:-2], b"Connection: keep-alive, TE"),
}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 2**16])
@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_and_so_is_what_comes_behind(case: str, size: int) -> None:
    data = ACCEPTED[case]
    assert fed(data, size) == (data, "")
    assert fed(data + GET, size) == (data + GET, "")
    assert fed(data + EVIL, size)[1] == "it is for 'evil.example'"
    assert b"evil.example\r\n\r\n" not in fed(data + EVIL, 1)[0].removeprefix(data)


def test_no_head_is_half_forwarded() -> None:
    requests = Requests(NAME)
    assert [requests.feed(GET[at : at + 1]) for at in range(len(GET))] == [b""] * (len(GET) - 1) + [GET]


NO_REQUEST = "this is no request of HTTP/1"
CONTROL = "it has a control character, or a line that does not end in CR LF"
TWO_WAYS, NO_NUMBER = "its body can be framed in two ways", "its Content-Length is no number"
NO_BODY, NO_NAME = "its method has no body", "a field has no name, or a space before its colon"
TWICE = "two fields transfer-encoding"
CHUNK = "a chunk's size is no number, or has an extension"
TARGET, OTHER = "its target is neither a path nor a URL of http", "it asks for another protocol than WebSocket"
TRAILER, LISTED = "a trailer says what only a head may say", "its Connection lists what every server must see"
REFUSED = {
    # whose request it is
    "another host": (EVIL, "it is for 'evil.example'"),
    "no Host": (get(b"X: y"), "it has no Host"),
    "HTTP/1.0 without a Host": (b"GET / HTTP/1.0\r\n\r\n", "it has no Host"),
    "an empty Host": (get(b"Host:"), "it is for ''"),
    "the Host twice": (get(HOST[:-2], HOST[:-2]), "two fields host"),
    "a second Host": (get(HOST[:-2], b"host: evil.example"), "two fields host"),
    "two hosts in one": (get(b"Host: api.example.com, evil.example"), "it is for 'api.example.com, evil.example'"),
    "another port": (get(b"Host: api.example.com:8080"), "it is for 'api.example.com:8080'"),
    "a port in other words": (get(b"Host: api.example.com:080"), "it is for 'api.example.com:080'"),
    "no port": (get(b"Host: api.example.com:"), "it is for 'api.example.com:'"),
    "a final dot": (get(b"Host: api.example.com."), "it is for 'api.example.com.'"),
    "a user": (get(b"Host: x@api.example.com"), "it is for 'x@api.example.com'"),
    "a host behind": (get(b"Host: api.example.com@evil.example"), "it is for 'api.example.com@evil.example'"),
    "a name below": (get(b"Host: a.api.example.com"), "it is for 'a.api.example.com'"),
    "an escape": (get(b"Host: \xff"), r"it is for '\xff'"),
    "a URL of another": (to(b"http://evil.example/"), "it is for 'evil.example'"),
    "a URL with a user": (to(b"http://api.example.com@evil.example/"), "it is for 'api.example.com@evil.example'"),
    "a URL with a backslash": (to(b"http://evil.example\\@api.example.com/"), "it is for 'evil.example"),
    "a URL with a fragment": (to(b"http://api.example.com#@evil.example/"), "it is for 'api.example.com#@evil"),
    "a URL without a host": (to(b"http:///"), "it is for ''"),
    "a URL and another Host": (b"GET http://api.example.com/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", "'evil.example'"),
    "a URL of TLS": (to(b"https://api.example.com/"), TARGET),
    "CONNECT": (to(b"api.example.com:80", b"CONNECT"), "it asks for a tunnel"),
    "CONNECT to a path": (to(b"/", b"connect"), "it asks for a tunnel"),
    "a star": (to(b"*"), TARGET),
    "a bare word": (to(b"evil.example"), TARGET),
    "a hidden Host": (get(HOST[:-2], b"Connection: close, Host"), LISTED),
    "a hidden length": (post(b"Connection: content-length", b"Content-Length: 1", body=b"x"), LISTED),
    # what is no HTTP/1
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NO_REQUEST),
    "HTTP/0.9": (b"GET /\r\n", NO_REQUEST),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", NO_REQUEST),
    "http/1.1": (b"GET / http/1.1\r\n" + HOST + b"\r\n", NO_REQUEST),
    "TLS": (b"\x16\3\1\2\0\1", NO_REQUEST),
    "an empty line first": (b"\r\n" + GET, NO_REQUEST),
    "a space first": (b" " + GET, NO_REQUEST),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", NO_REQUEST),
    "a space in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", NO_REQUEST),
    "a tab": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", NO_REQUEST),
    "no method": (b"/ HTTP/1.1\r\n" + HOST + b"\r\n", NO_REQUEST),
    "a space behind the version": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", NO_REQUEST),
    # lines
    "LF alone": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", CONTROL),
    "a field that ends in LF": (b"GET / HTTP/1.1\r\nHost: api.example.com\n\r\n", CONTROL),
    "an end that is LF": (b"GET / HTTP/1.1\r\n" + HOST + b"\n", CONTROL),
    "CR alone": (get(HOST[:-2] + b"\rHost: evil.example"), CONTROL),
    "CR CR LF": (get(HOST[:-2] + b"\r"), CONTROL),
    "a NUL": (get(HOST[:-2], b"X: \0"), CONTROL),
    "DEL": (get(HOST[:-2], b"X: \x7f"), CONTROL),
    "a folded field": (get(b"Host: api.example.com", b" evil.example"), NO_NAME),
    "a folded first field": (get(b" X: y", HOST[:-2]), NO_NAME),
    "a space before the colon": (get(b"Host : api.example.com"), NO_NAME),
    "a tab before the colon": (post(b"Content-Length\t: 5"), NO_NAME),
    "a space in a name": (get(b"X Host: evil.example"), NO_NAME),
    "a line without a colon": (get(HOST[:-2], b"Host"), NO_NAME),
    "a field without a name": (get(b": x"), NO_NAME),
    "a name that is not ASCII": (get(b"H\xf6st: x"), NO_NAME),
    "Content_Length": (post(b"Content_Length: 5"), "a field content_length can be taken for another"),
    "Transfer_Encoding": (post(b"Transfer_Encoding: chunked"), "a field transfer_encoding can be taken for another"),
    # bodies
    "two lengths": (post(b"Content-Length: 5", b"Content-Length: 6"), "two fields content-length"),
    "the length twice": (post(b"Content-Length: 5", b"Content-Length: 5"), "two fields content-length"),
    "lengths in a list": (post(b"Content-Length: 5, 5"), NO_NUMBER),
    "a signed length": (post(b"Content-Length: +5"), NO_NUMBER),
    "a negative length": (post(b"Content-Length: -1"), NO_NUMBER),
    "a length with a point": (post(b"Content-Length: 5.0"), NO_NUMBER),
    "a length in hexadecimal": (post(b"Content-Length: 0x5"), NO_NUMBER),
    "a length with a line between": (post(b"Content-Length: 1_0"), NO_NUMBER),
    "a length in other digits": (post("Content-Length: \u0665".encode()), NO_NUMBER),
    "no length": (post(b"Content-Length:"), NO_NUMBER),
    "a length beyond all": (post(b"Content-Length: " + b"9" * 16), NO_NUMBER),
    "a length and chunks": (post(b"Content-Length: 5", b"Transfer-Encoding: chunked"), TWO_WAYS),
    "chunks and a length": (post(b"Transfer-Encoding: chunked", b"Content-Length: 0"), TWO_WAYS),
    "chunks in HTTP/1.0": (post(b"Transfer-Encoding: chunked", version=b"1.0"), TWO_WAYS),
    "two codings": (post(b"Transfer-Encoding: gzip, chunked"), TWO_WAYS),
    "chunks twice": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), TWICE),
    "chunks, then not": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"), TWICE),
    "identity": (post(b"Transfer-Encoding: identity"), TWO_WAYS),
    "xchunked": (post(b"Transfer-Encoding: xchunked"), TWO_WAYS),
    "chunked with a vertical tab": (post(b"Transfer-Encoding: \x0bchunked"), CONTROL),
    "an empty coding": (post(b"Transfer-Encoding:"), TWO_WAYS),
    "a GET with a body": (get(HOST[:-2], b"Content-Length: 5"), NO_BODY),
    "a HEAD with a body": (b"HEAD" + post(b"Content-Length: 5")[4:], NO_BODY),
    "a get with a body": (b"get" + post(b"Content-Length: 5")[4:], NO_BODY),
    "a GET with chunks": (get(HOST[:-2], b"Transfer-Encoding: chunked"), NO_BODY),
    # chunks
    "no size": (chunked(b"\r\n"), CHUNK),
    "a size that is no number": (chunked(b"x\r\n"), CHUNK),
    "a signed size": (chunked(b"-1\r\n"), CHUNK),
    "0x": (chunked(b"0x5\r\nhello\r\n"), CHUNK),
    "a size behind a space": (chunked(b" 5\r\n"), CHUNK),
    "a size before a space": (chunked(b"5 \r\n"), CHUNK),
    "an extension": (chunked(b"5;a=b\r\nhello\r\n"), CHUNK),
    "an extension with LF": (chunked(b"5;a\nx\r\nhello\r\n"), CONTROL),
    "a size that ends in LF": (chunked(b"5\nhello\r\n"), CONTROL),
    "a size that overflows": (chunked(b"1" + b"0" * 16 + b"\r\n"), CHUNK),
    "a chunk too long": (chunked(b"4\r\nhello\r\n"), "a chunk is longer than its size"),
    "a chunk that ends in LF": (chunked(b"5\r\nhello\n0\r\n"), CONTROL),
    "a chunk too short": (chunked(b"6\r\nhello\r\n0\r\n\r\n"), CONTROL),
    "a Host in the trailers": (chunked(b"0\r\nHost: evil.example\r\n\r\n"), TRAILER),
    "a length in the trailers": (chunked(b"0\r\nContent-Length: 5\r\n\r\n"), TRAILER),
    "a folded trailer": (chunked(b"0\r\n x\r\n\r\n"), NO_NAME),
    "a trailer in LF": (chunked(b"0\r\n\n"), CONTROL),
    # other protocols
    "h2c": (get(HOST[:-2], b"Connection: Upgrade", b"Upgrade: h2c"), OTHER),
    "h2c with settings": (get(HOST[:-2], b"Upgrade: websocket", b"HTTP2-Settings: AAMAAABk"), OTHER),
    "settings alone": (get(HOST[:-2], b"HTTP2-Settings: AAMAAABk"), OTHER),
    "TLS inside": (get(HOST[:-2], b"Upgrade: TLS/1.0"), OTHER),
    "two protocols": (get(HOST[:-2], b"Upgrade: websocket, h2c"), OTHER),
    "two upgrades": (get(HOST[:-2], b"Upgrade: websocket", b"Upgrade: h2c"), "two fields upgrade"),
    "a POST that upgrades": (post(b"Upgrade: websocket"), OTHER),
    "an old upgrade": (b"GET / HTTP/1.0\r\n" + HOST + b"Upgrade: websocket\r\n\r\n", OTHER),
    "a later upgrade": (GET + UPGRADE, "a WebSocket begins with a connection's first request"),
    # sizes
    "a long head": (get(HOST[:-2], b"X: " + b"x" * 32768), "it is too long"),
    "a long line": (b"G" * 32769, "it is too long"),
    "a long size": (chunked(b"0" * 32769), "it is too long"),
    "many fields": (get(HOST[:-2], *[b"X: y"] * 6000), "it is too long"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_however_the_bytes_come(case: str) -> None:
    data, why = REFUSED[case]
    assert why in fed(data)[1]
    assert [fed(data, size)[1] for size in (1, 2, 5)] == [fed(data)[1]] * 3
    assert b"evil" not in fed(data, 1)[0]


@pytest.mark.parametrize("case", REFUSED)
def test_refused_behind_a_request_that_is_right(case: str) -> None:
    data, why = REFUSED[case]
    assert fed(GET + data)[0] == b""
    passed, same = fed(GET + data, 1)
    assert passed.startswith(GET)
    assert why in same


class TestWebSocket:
    """Opaque once the server says so, and requests until then."""

    def test_switched(self) -> None:
        requests = Requests(NAME)
        assert requests.feed(UPGRADE) == UPGRADE
        assert (requests.waiting, requests.opaque) == (True, False)
        assert requests.feed(b"\x81\x80early") == b""
        assert requests.answered(b"HTTP/1.1 101 Switching Protocols\r\n") == b"\x81\x80early"
        assert (requests.waiting, requests.opaque) == (False, True)
        assert requests.feed(EVIL) == EVIL

    def test_the_answer_in_pieces(self) -> None:
        requests = Requests(NAME)
        requests.feed(UPGRADE)
        for byte in b"HTTP/1.1 101 ":
            assert not requests.opaque
            assert requests.answered(bytes([byte])) == b""
        assert requests.opaque

    def test_frames_in_one_piece_with_the_request_wait_for_the_answer(self) -> None:
        requests = Requests(NAME)
        assert requests.feed(UPGRADE + b"\x81") == UPGRADE
        assert requests.answered(b"HTTP/1.1 101\r\n\r\n") == b"\x81"

    @pytest.mark.parametrize(
        "answer", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 1010\r\n", b"HTTP/1.0 101 x\r\n", b"x" * 13]
    )
    def test_not_switched(self, answer: bytes) -> None:
        requests = Requests(NAME)
        requests.feed(UPGRADE)
        assert requests.feed(GET) == b""
        assert requests.answered(answer) == GET
        assert (requests.waiting, requests.opaque) == (False, False)
        with pytest.raises(DeniedError):
            requests.feed(EVIL)

    def test_a_request_that_was_hidden_behind_a_refused_upgrade(self) -> None:
        requests = Requests(NAME)
        assert requests.feed(UPGRADE + EVIL) == UPGRADE
        with pytest.raises(DeniedError):
            requests.answered(b"HTTP/1.1 400 Bad Request\r\n")

    def test_what_waits_is_bounded(self) -> None:
        requests = Requests(NAME)
        requests.feed(UPGRADE)
        assert requests.feed(bytes(2**16)) == b""
        with pytest.raises(DeniedError):
            requests.feed(b"\0")

    def test_the_servers_bytes_mean_nothing_otherwise(self) -> None:
        requests = Requests(NAME)
        requests.feed(GET)
        assert requests.answered(b"HTTP/1.1 101 Switching Protocols\r\n") == b""
        assert not requests.opaque


SMALL = sorted(ACCEPTED.values(), key=len)[:20]
PARTS = st.sampled_from([*SMALL, EVIL, b"\r\n", b"\n", b"0\r\n\r\n", b"Host: evil.example\r\n", b" ", b"\0"])


@given(st.lists(PARTS, max_size=5), st.binary(max_size=20), st.integers(1, 60))
def test_pieces_do_not_matter(parts: list[bytes], noise: bytes, size: int) -> None:
    data = b"".join(parts) + noise
    whole, why = fed(data)
    passed, same = fed(data, size)
    assert same == why
    assert data.startswith(passed)
    assert why or passed == whole


@given(st.lists(st.sampled_from(SMALL), max_size=5), PARTS)
def test_no_request_for_another_host_is_forwarded(parts: list[bytes], tail: bytes) -> None:
    data = b"".join(parts)
    assert fed(data + EVIL + tail, 1) == (data, "it is for 'evil.example'")


def hosts_that_h11_sees(data: bytes) -> list[bytes]:
    """The Host of each request that another parser, a server's, finds in data."""
    server, hosts = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20), []
    server.receive_data(data or b"\r\n")  # nothing at all would be the end of the stream
    with suppress(h11.RemoteProtocolError):
        while (event := server.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                hosts.append(dict(event.headers).get(b"host", b""))
            if isinstance(event, h11.EndOfMessage):
                server.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
                server.send(h11.EndOfMessage())
                if server.our_state is h11.MUST_CLOSE:
                    break
                server.start_next_cycle()
    return hosts


@given(st.lists(PARTS | st.sampled_from([case[0] for case in REFUSED.values()]), max_size=5), st.binary(max_size=9))
def test_another_parser_finds_no_other_host_in_what_is_forwarded(parts: list[bytes], noise: bytes) -> None:
    passed, _ = fed(b"".join(parts) + noise, 1)
    assert {host.lower().removesuffix(b":80") for host in hosts_that_h11_sees(passed)} <= {NAME.encode()}


@pytest.mark.parametrize("case", sorted(ACCEPTED.keys() - {"a path that is not ASCII"}))  # h11 takes none
def test_another_parser_finds_as_many_requests(case: str) -> None:
    data = ACCEPTED[case]
    assert len(hosts_that_h11_sees(data + GET)) == (1 if b"HTTP/1.0" in data else 2)


@given(st.binary(max_size=200))
def test_any_bytes_are_judged(data: bytes) -> None:
    assert fed(data, 1) == (b"", fed(data)[1])


@pytest.mark.parametrize("data", [get(HOST[:-2], b"X: " + b"x" * 10000), chunked(b"1\r\nx\r\n" * 2000), b"G" * 20000])
def test_the_work_grows_as_the_bytes_do(data: bytes) -> None:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        fed(data, 1)
    finally:
        sys.setprofile(None)
    assert calls < 60 * len(data)
