"""What the proxy refuses before anything leaves: each refusal with its reason, and a sink at which nothing arrives."""

from __future__ import annotations

import socket
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from bulkhead.egress import allowlist
from bulkhead.egress.bounds import Bounds
from bulkhead.egress.connection import refusal_hint
from bulkhead.egress.http1 import Requests
from bulkhead.spec import EgressRule
from tests.conftest import until
from tests.egress.sinks import NAME, OTHER, PATIENCE, Programs, Sink, assert_reset, keep, rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as opened:
        yield opened


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key of NAME, which vouch for themselves."""
    folder = tmp_path_factory.mktemp("authority")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run([*argv, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def hello(name: str | None) -> bytes:
    """The first bytes of a TLS client."""
    context = ssl.create_default_context()
    context.check_hostname = False
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def encrypted_hello(name: str) -> bytes:
    """A ClientHello for name that has an encrypted one inside: an extension at its end, and all lengths grown."""
    extension = b"\xfe\x0d\x00\x08" + bytes(8)
    body = bytearray(hello(name)[5:] + extension)
    sessions = 38 + 1 + body[38]
    suites = sessions + 2 + int.from_bytes(body[sessions : sessions + 2])
    at = suites + 1 + body[suites]
    body[at : at + 2] = (len(body) - at - 2).to_bytes(2)
    body[1:4] = (len(body) - 4).to_bytes(3)
    return b"\x16\x03\x01" + len(body).to_bytes(2) + bytes(body)


# TLS


def test_tls_to_the_allowed_name_works(authority: tuple[Path, Path]) -> None:
    certificate, key = authority
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)

    def serve(conn: socket.socket, sink: Sink) -> None:
        with server.wrap_socket(conn, server_side=True) as secure:
            sink.arrived.append(secure.recv(100))
            secure.sendall(b"pong")

    client = ssl.create_default_context(cafile=str(certificate))
    with Sink(serve) as sink, Programs(rule(sink, tls=True)) as programs:
        with client.wrap_socket(programs.connect(NAME, sink.port), server_hostname=NAME) as secure:
            secure.sendall(b"ping")
            assert secure.recv(100) == b"pong"
        told = programs.reported()
    assert sink.data == b"ping"
    assert (told.name, told.port, told.decision, told.reason) == (NAME, sink.port, "allow", "")
    assert (told.rule, told.dialled) == (f"{NAME}:{sink.port}", "127.0.0.1")
    assert told.sent > 4
    assert told.received > 4
    assert 0 < told.begun_ns <= told.opened_ns <= told.ended_ns


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (hello(OTHER), "sni"),
        (hello(None), "sni"),
        (encrypted_hello(NAME), "ech"),
        (b"GET / HTTP/1.1\r\nHost: api.example.org\r\n\r\n", "plaintext"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "plaintext"),
    ],
    ids=["wrong-sni", "no-sni", "ech", "http", "ssh"],
)
def test_what_is_not_for_the_name_on_a_tls_port_is_refused(sink: Sink, said: bytes, reason: str) -> None:
    with Programs(rule(sink, tls=True)) as programs:
        with programs.connect(NAME, sink.port) as program:
            program.sendall(said)
            assert_reset(program)
        told = programs.reported()
    assert (told.decision, told.reason, told.dialled, told.sent) == ("deny", reason, "", 0)
    sink.assert_silent()


def test_a_program_that_says_nothing_on_a_tls_port_is_refused_in_time(sink: Sink) -> None:
    with Programs(rule(sink, tls=True), bounds=Bounds(hello=0.2)) as programs:
        with programs.connect(NAME, sink.port) as program:
            program.sendall(hello(NAME)[:50])
            assert_reset(program)
        assert programs.reported().reason == "silent"
        with programs.connect(NAME, sink.port) as program:
            program.sendall(hello(NAME)[:50])
            program.shutdown(socket.SHUT_WR)
            assert_reset(program)
        assert programs.reported(2).reason == "silent"
    sink.assert_silent()


def test_a_hello_that_comes_byte_by_byte_is_passed_on_whole(sink: Sink) -> None:
    with Programs(rule(sink, tls=True)) as programs, programs.connect(NAME, sink.port) as program:
        program.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = hello(NAME)
        for byte in said:
            program.send(bytes([byte]))
        until(lambda: sink.data == said, PATIENCE)


# HTTP


@pytest.fixture
def http(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    """Programs whose port 80 is the sink's."""
    monkeypatch.setattr(allowlist, "HTTP_PORT", sink.port)
    with Programs(rule(sink)) as programs:
        yield programs


def get(host: str, path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def test_requests_for_the_name_are_passed_on(http: Programs, sink: Sink) -> None:
    with http.connect(NAME, sink.port) as program:
        program.sendall(get(NAME) + get(NAME, "/2"))
        until(lambda: sink.data == get(NAME) + get(NAME, "/2"), PATIENCE)
        program.sendall(get(NAME, "/3"))
        until(lambda: sink.data.endswith(get(NAME, "/3")), PATIENCE)
    assert http.reported().decision == "allow"


@pytest.mark.parametrize("said", [get(OTHER), b"GET / HTTP/1.0\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_first_request_for_another_host_is_refused(http: Programs, sink: Sink, said: bytes) -> None:
    with http.connect(NAME, sink.port) as program:
        program.sendall(said)
        assert_reset(program)
    assert (http.reported().decision, http.reported().reason) == ("deny", "host")
    sink.assert_silent()


def test_a_second_request_for_another_host_never_arrives(http: Programs, sink: Sink) -> None:
    with http.connect(NAME, sink.port) as program:
        program.sendall(get(NAME))
        until(lambda: sink.data == get(NAME), PATIENCE)
        program.sendall(get(OTHER)[:20])
        program.sendall(get(OTHER)[20:])
        assert_reset(program)
    told = http.reported()
    assert (told.decision, told.reason, told.sent) == ("deny", "host", len(get(NAME)))
    until(lambda: sink.connections == 1, PATIENCE)
    assert sink.data == get(NAME)


def test_a_websocket_is_opaque_once_the_server_has_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: api.example.org\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    agreed = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    frames = b"\x82\x05" + bytes(5) + get(OTHER)

    def serve(conn: socket.socket, sink: Sink) -> None:
        while not sink.data.endswith(b"\r\n\r\n"):
            sink.arrived.append(conn.recv(1000))
        conn.sendall(agreed)
        sink.arrived.append(keep(conn))

    with Sink(serve) as sink:
        monkeypatch.setattr(allowlist, "HTTP_PORT", sink.port)
        with Programs(rule(sink)) as programs, programs.connect(NAME, sink.port) as program:
            program.sendall(upgrade + b"held until then")
            assert program.recv(1000) == agreed
            program.sendall(frames)
            program.shutdown(socket.SHUT_WR)
            assert program.recv(1) == b""
            assert programs.reported().reason == ""
    assert sink.data == upgrade + b"held until then" + frames


def test_a_server_that_ends_without_an_answer_to_an_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: api.example.org\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

    def serve(conn: socket.socket, sink: Sink) -> None:
        sink.arrived.append(conn.recv(1000))
        conn.shutdown(socket.SHUT_WR)
        keep(conn)

    with Sink(serve) as sink:
        monkeypatch.setattr(allowlist, "HTTP_PORT", sink.port)
        with Programs(rule(sink)) as programs, programs.connect(NAME, sink.port) as program:
            program.sendall(upgrade)
            assert_reset(program)
            assert programs.reported().reason == ""


def test_a_check_that_fails_is_a_refusal(http: Programs, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    with http.connect(NAME, sink.port) as program:
        program.sendall(get(NAME))
        until(lambda: sink.data == get(NAME), PATIENCE)
        monkeypatch.setattr(Requests, "feed", lambda *_: next(iter(())))
        program.sendall(get(NAME))
        assert_reset(program)
    told = http.reported()
    assert (told.decision, told.reason) == ("deny", "internal")
    http.told.clear()  # elsewhere it is a fault
    assert sink.data == get(NAME)


# raw


def test_a_server_that_speaks_first_is_heard() -> None:
    def serve(conn: socket.socket, sink: Sink) -> None:
        conn.sendall(b"SSH-2.0-server\r\n")
        sink.arrived.append(keep(conn))

    with Sink(serve) as sink, Programs(rule(sink)) as programs, programs.connect(NAME, sink.port) as program:
        assert program.recv(100) == b"SSH-2.0-server\r\n"
        program.sendall(b"SSH-2.0-client\r\n")
        program.shutdown(socket.SHUT_WR)
        until(lambda: sink.data == b"SSH-2.0-client\r\n", PATIENCE)


# names, ports, addresses


def test_a_name_that_no_rule_is_for_is_reported(sink: Sink) -> None:
    with Programs(rule(sink)) as programs:
        for _ in range(3):
            answer = programs.ask(OTHER)
            assert answer is not None
            assert answer[3] & 15 == 3
        told = programs.told[0]
        assert [report.again for report in programs.told] == [False, True, True]
    assert (told.name, told.port, told.decision, told.reason) == (OTHER, 0, "deny", "name")
    assert refusal_hint(told) == f'[[egress]]\nhost = "{OTHER}"\nports = [443]'


def test_a_port_that_another_rule_has_is_refused(sink: Sink) -> None:
    with Programs(EgressRule(NAME, (22, 443)), rule(sink, OTHER)) as programs:
        with programs.connect(NAME, sink.port) as program:
            assert_reset(program)
        told = programs.reported()
    assert (told.name, told.reason, told.rule) == (NAME, "port", f"{NAME}:22,443")
    assert refusal_hint(told).endswith(f"ports = {sorted({22, 443, sink.port})}")
    sink.assert_silent()


@pytest.mark.parametrize("address", ["127.0.0.1", "198.18.0.9", "::1", "203.0.113.7", "169.254.169.254"])
def test_an_address_for_which_no_name_was_asked_is_refused(sink: Sink, address: str) -> None:
    with Programs(rule(sink)) as programs:
        with programs.connect_to(address, sink.port) as program:
            assert_reset(program)
        told = programs.reported()
    assert (told.name, told.address, told.reason) == ("", address, "address")
    sink.assert_silent()


def test_an_address_that_a_rule_names_is_dialled_as_it_is() -> None:
    def unasked(name: str) -> list[str]:
        raise AssertionError(name)

    with Sink(host="127.9.8.7") as sink:
        with (
            Programs(rule(sink, "127.9.8.0/24"), lookup=unasked) as programs,
            programs.connect("127.9.8.7", sink.port) as program,
        ):
            program.sendall(b"to a number")
            until(lambda: sink.data == b"to a number", PATIENCE)
        assert programs.reported().dialled == "127.9.8.7"


def test_an_address_of_a_listener_of_both_families_means_its_name(sink: Sink) -> None:
    with Programs(rule(sink)) as programs:
        mapped = f"::ffff:{programs.resolve(NAME)}"
        with programs.connect_to(mapped, sink.port) as program:
            program.sendall(b"through")
            until(lambda: sink.data == b"through", PATIENCE)
        assert programs.reported().name == NAME
