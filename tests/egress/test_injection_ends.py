"""How connections to a secret's host end, what bounds them, and whom the proxy takes for the host."""

from __future__ import annotations

import os
import socket
import ssl
from datetime import UTC, datetime

import pytest
import trustme

from bulkhead.egress.bounds import Bounds
from bulkhead.egress.gate import reset
from bulkhead.egress.injection import system_trust
from tests.conftest import until
from tests.egress.sinks import NAME, PATIENCE, Sink
from tests.egress.test_proxy_judge import hello
from tests.egress.vaults import (
    OK,
    Canary,
    Host,
    Sandbox,
    all_of,
    answer,
    answering,
    asking,
    assert_cut_off,
    head_of,
    scripted,
    server_context,
    some_of,
)


@pytest.fixture
def canary() -> Canary:
    return Canary()


# Ends


def test_a_half_closed_request_is_answered(canary: Canary) -> None:
    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        assert conn.recv(1) == b""
        conn.sendall(OK)

    with Host(serve) as host, Sandbox(host, canary) as sandbox:
        raw = sandbox.connect(NAME, host.port)
        with sandbox.client().wrap_socket(raw, server_hostname=NAME) as program:
            program.sendall(asking(canary))
            raw_fd = socket.socket(fileno=os.dup(program.fileno()))
            with raw_fd:
                until(lambda: canary.secret in host.data, PATIENCE)
                raw_fd.shutdown(socket.SHUT_WR)
            assert all_of(program) == OK
        assert sandbox.reported().reason == ""


def test_a_connection_that_the_program_ends_is_ended(canary: Canary) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        with sandbox.open() as program:
            program.sendall(asking(canary))
            assert some_of(program, len(OK)) == OK
        told = sandbox.reported()
        assert (told.decision, told.reason) == ("allow", "")


def test_a_connection_that_the_host_ends_while_it_is_idle_is_ended(canary: Canary) -> None:
    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        conn.sendall(OK)

    with Host(serve) as host, Sandbox(host, canary) as sandbox:
        assert sandbox.say(asking(canary)) == OK
        assert sandbox.reported().reason == ""


def test_a_host_that_waits_no_longer(canary: Canary) -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    with Host(scripted(None, OK + late)) as host, Sandbox(host, canary) as sandbox:
        assert sandbox.say(asking(canary)) == OK
        assert sandbox.reported().reason == ""


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n1234",
        b"what is this?\r\n\r\n",
    ],
)
def test_an_answer_that_is_cut_off_is_a_reset(canary: Canary, begun: bytes) -> None:
    """A body that goes up to the end is cut off, too, where TLS has not ended."""

    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        conn.sendall(begun)

    with Host(serve) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(asking(canary))
        assert_cut_off(program)
        assert sandbox.reported().reason == ""


def test_resets_are_passed_on(canary: Canary) -> None:
    ends: list[str] = []

    def serve(conn: ssl.SSLSocket, host: Host) -> None:
        head_of(conn, host)
        assert_cut_off(conn)
        ends.append("reset")

    with Host(serve) as host, Sandbox(host, canary) as sandbox:
        program = sandbox.open()
        program.sendall(asking(canary))
        until(lambda: canary.secret in host.data, PATIENCE)
        reset(program)
        until(lambda: bool(ends), PATIENCE)
        assert sandbox.reported().reason == ""
    assert ends == ["reset"]


@pytest.mark.parametrize("was_reset", [True, False])
def test_a_pair_of_sockets_ends_with_a_reset_if_the_gate_said_so(canary: Canary, was_reset: bool) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        program, caught = sandbox.open_pair()
        with program:
            program.sendall(asking(canary))
            assert some_of(program, len(OK)) == OK
            caught.was_reset = was_reset
        assert sandbox.reported().reason == ""
        assert sandbox.aborted == [was_reset]
    assert canary.secret in host.data


def test_a_request_that_is_cut_off_is_no_refusal(canary: Canary) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        with sandbox.open() as program:
            program.sendall(asking(canary)[:-5])
        told = sandbox.reported()
        assert (told.decision, told.reason) == ("allow", "")
    assert host.data == b""


# Bounds


def test_a_connection_that_is_idle_ends(canary: Canary) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary, bounds=Bounds(idle=0.3)) as sandbox:
        with sandbox.open() as program:
            program.sendall(asking(canary))
            assert some_of(program, len(OK)) == OK
            assert_cut_off(program)
        assert sandbox.reported().reason == "idle"


@pytest.mark.parametrize(("bounds", "way"), [(Bounds(sent=20000), "up"), (Bounds(received=20000), "down")])
def test_bytes_are_metered(canary: Canary, bounds: Bounds, way: str) -> None:
    back = answer(bytes(30000 if way == "down" else 1))
    size = 30000 if way == "up" else 1
    with Host(answering(back)) as host, Sandbox(host, canary, bounds=bounds) as sandbox:
        with sandbox.open() as program:
            program.sendall(asking(canary, b"Content-Length: %d" % size, method=b"POST", body=bytes(size)))
            assert_cut_off(program)
        told = sandbox.reported()
    assert (told.decision, told.reason) == ("allow", "bytes")
    assert max(told.sent, told.received) <= 20000


def test_the_session_ends_what_is_open(canary: Canary) -> None:
    with Host(answering(OK)) as host:
        with Sandbox(host, canary) as sandbox:
            program = sandbox.open()
            program.sendall(asking(canary))
            assert some_of(program, len(OK)) == OK
            assert [live.name for live in sandbox.proxy.live()] == [NAME]
            assert sandbox.proxy.live()[0].sent > 0
        assert sandbox.reported().reason == "closed"
        assert_cut_off(program)
        program.close()


# Who the host is


def certificate_refused(canary: Canary, host: Host, believed: ssl.SSLContext | None = None) -> None:
    with Sandbox(host, canary, believed=believed) as sandbox:
        answered = sandbox.say(asking(canary))
        told = sandbox.reported()
    assert (told.decision, told.reason) == ("deny", "certificate")
    assert answered.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"\r\n\r\nBulkhead: the other side did not prove that it is api.example.org" in answered
    assert (host.data, canary.asked) == (b"", 0)


def test_a_host_with_another_name_gets_nothing(canary: Canary) -> None:
    with Host(answering(OK), server_context("other.example.org")) as host:
        certificate_refused(canary, host)


def test_a_host_that_nobody_vouches_for_gets_nothing(canary: Canary) -> None:
    with Host(answering(OK), server_context(root=trustme.CA())) as host:
        certificate_refused(canary, host)


def test_a_host_whose_certificate_has_expired_gets_nothing(canary: Canary) -> None:
    begun, ended = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    with Host(answering(OK), server_context(not_before=begun, not_after=ended)) as host:
        certificate_refused(canary, host)


def test_by_default_this_machines_authorities_are_believed(canary: Canary) -> None:
    with Host(answering(OK)) as host:
        certificate_refused(canary, host, system_trust())


def test_a_host_that_speaks_no_tls_gets_nothing(canary: Canary) -> None:
    def serve(conn: socket.socket, sink: Sink) -> None:
        sink.arrived.append(conn.recv(1000)[:1])
        conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with Sink(serve) as sink, Sandbox(sink, canary) as sandbox:
        assert sandbox.say(asking(canary)).startswith(b"HTTP/1.1 502 ")
        assert sandbox.reported().reason == "certificate"
    assert (sink.data, canary.asked) == (b"\x16", 0)


def test_a_host_that_never_answers_a_hello(canary: Canary) -> None:
    with Sink() as sink, Sandbox(sink, canary, bounds=Bounds(connect=0.3)) as sandbox:
        assert sandbox.say(asking(canary)).startswith(b"HTTP/1.1 504 ")
        told = sandbox.reported()
        assert (told.decision, told.reason) == ("allow", "connect")


def test_a_host_that_breaks_off(canary: Canary) -> None:
    def serve(conn: socket.socket, _: Sink) -> None:
        conn.recv(1)
        reset(conn)

    with Sink(serve) as sink, Sandbox(sink, canary) as sandbox:
        assert sandbox.say(asking(canary)).startswith(b"HTTP/1.1 502 ")
        assert sandbox.reported().reason == "unreachable"


def test_a_program_that_does_not_trust_the_authority(canary: Canary) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(sandbox.connect(NAME, host.port), server_hostname=NAME)
        told = sandbox.reported()
        assert (told.decision, told.reason) == ("allow", "untrusted")
        assert "UNKNOWN_CA" in told.detail
    assert host.data == b""


def test_a_program_that_stops_in_its_handshake(canary: Canary) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary, bounds=Bounds(hello=0.3)) as sandbox:
        with sandbox.connect(NAME, host.port) as program:
            program.sendall(hello(NAME))
            with pytest.raises(ConnectionResetError):
                all_of(program)
        assert sandbox.reported().reason == "silent"
