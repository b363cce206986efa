"""Secrets that the proxy puts into requests: where they go, where not, and what both sides see of it."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import threading
from base64 import b64encode
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.egress import allowlist, substitute
from bulkhead.egress.authority import Authority
from bulkhead.egress.network import finish_network
from bulkhead.egress.proxy import EgressProxy
from bulkhead.errors import UnenforceableError
from bulkhead.spec import EgressRule
from tests.conftest import until
from tests.egress.sinks import NAME, OTHER, PATIENCE, Sink, assert_reset, rule
from tests.egress.vaults import (
    OK,
    ROOT,
    Canary,
    Host,
    Sandbox,
    all_of,
    answer,
    answering,
    request,
    server_context,
    some_of,
)  # fmt: skip
from tests.unit.test_import_cost import loaded

if TYPE_CHECKING:
    from pathlib import Path

CLOSE = b"Connection: close"


@pytest.fixture
def canary() -> Canary:
    return Canary()


def basic(text: bytes) -> bytes:
    return b"Authorization: Basic " + b64encode(text)


# What is put in


def test_the_value_stands_where_the_placeholder_stood(canary: Canary) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        answered = sandbox.say(request(b"aUTHorization: Bearer " + canary.placeholder, b"Accept-Encoding: gzip", CLOSE))
        told = sandbox.reported()
    assert answered.endswith(b"\r\n\r\nok")
    assert b"\r\naUTHorization: Bearer " + canary.secret + b"\r\n" in host.data
    assert canary.placeholder not in host.data
    assert b"Accept-Encoding: identity" in host.data
    assert b"gzip" not in host.data
    assert (told.name, told.decision, told.reason, told.dialled) == (NAME, "allow", "", "127.0.0.1")
    assert told.sent > len(host.data)
    assert told.received > len(answered)
    assert 0 < told.begun_ns <= told.opened_ns <= told.ended_ns


@pytest.mark.parametrize("field", [b"X-Api-Key: %s", b"Cookie: a=b; session=%s; c=d", b"Authorization: token %s"])
def test_any_field_may_have_it(canary: Canary, field: bytes) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        sandbox.say(request(field % canary.placeholder, CLOSE))
    assert field % canary.secret in host.data


@pytest.mark.parametrize("pattern", [b"user:%s", b"%s:", b"x%s:%s"])
def test_basic_credentials_are_put_together_anew(canary: Canary, pattern: bytes) -> None:
    def filled(text: bytes) -> bytes:
        return pattern.replace(b"%s", text)

    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        sandbox.say(request(basic(filled(canary.placeholder)), CLOSE))
    assert basic(filled(canary.secret)) in host.data


@pytest.mark.parametrize("quoted", [False, True])
def test_path_and_query_have_it_percent_encoded(quoted: bool) -> None:
    canary = Canary(places=("path", "query"))
    written = b"".join(b"%%%02X" % byte for byte in canary.placeholder) if quoted else canary.placeholder
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        sandbox.say(request(CLOSE, target=b"/bot" + written + b"/send?key=" + written + b"&b=%41"))
    tail = canary.secret.removeprefix(b"thevalue/+-=")
    assert b"GET /botthevalue%2F+-=" + tail + b"/send?key=thevalue/%2B-%3D" + tail + b"&b=%41 HTTP/1.1\r\n" in host.data


def test_a_request_without_a_placeholder_passes_as_it_is(canary: Canary) -> None:
    fields = (b"x-lower: a", b"X-Upper: B", b"Accept-Encoding: gzip, br", b"Range: bytes=0-1", b"User-agent: c/1")
    said = request(*fields, target=b"/a%2fb/../c?d=e")
    gzipped = answer(b"\x1f\x8bnot really", b"content-Encoding: gzip", b"X-Kept: y")
    with Host(answering(gzipped)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(said)
        assert some_of(program, len(gzipped)) == gzipped.replace(b"X-Kept: y", b"X-Kept: y")
    assert host.data == said
    assert canary.asked == 0


def test_range_is_left_out_where_something_is_put_in(canary: Canary) -> None:
    fields = (b"Range: bytes=0-1", b"If-Range: x", b"X: " + canary.placeholder, CLOSE)
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        sandbox.say(request(*fields))
    assert b"ange:" not in host.data


def test_two_secrets_in_one_request_and_none_inside_the_other() -> None:
    one, other = Canary("ONE"), Canary("OTHER")
    one.secret = b"has " + other.placeholder + b" inside"
    with Host(answering(OK)) as host, Sandbox(host, one, other) as sandbox:
        sandbox.say(request(b"A: " + one.placeholder + b" " + other.placeholder, CLOSE))
    assert b"A: " + one.secret + b" " + other.secret + b"\r\n" in host.data


def test_a_wildcard_is_for_the_names_below_it() -> None:
    canary = Canary(hosts=("*.example.org",))
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        sandbox.say(request(b"A: " + canary.placeholder, CLOSE))
    assert canary.secret in host.data


def test_each_request_of_a_connection_is_judged_by_itself(canary: Canary) -> None:
    plain, asking = request(), request(b"A: " + canary.placeholder)
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        for said in (plain, asking, plain, asking):
            program.sendall(said)
            assert some_of(program, len(OK)) == OK
    assert host.connections == 1
    assert host.data.count(canary.secret) == canary.asked == 2
    assert host.data.count(plain) == 2


def test_a_lease_that_ends_between_two_requests(canary: Canary) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        with sandbox.open() as program:
            program.sendall(request(b"A: " + canary.placeholder))
            assert some_of(program, len(OK)) == OK
            canary.live = False
            arrived = host.data
            program.sendall(request(b"A: " + canary.placeholder))
            assert all_of(program).startswith(b"HTTP/1.1 403 ")
        told = sandbox.reported()
    assert (told.decision, told.reason) == ("deny", "lease")
    assert host.data == arrived


def test_the_value_is_asked_for_at_each_request_and_not_kept(canary: Canary) -> None:
    first = canary.secret
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        program.sendall(request(b"A: " + canary.placeholder))
        assert some_of(program, len(OK)) == OK
        canary.secret = first[::-1]
        program.sendall(request(b"A: " + canary.placeholder))
        assert some_of(program, len(OK)) == OK
    assert (host.data.count(first), host.data.count(first[::-1])) == (1, 1)


# What is refused


def refused(sandbox: Sandbox, host: Host, *said: bytes, reason: str) -> bytes:
    """The answer's body. Nothing has arrived; the program has an answer and an end, and no reset."""
    answered = sandbox.say(*said)
    told = sandbox.reported()
    assert (told.decision, told.reason) == ("deny", reason)
    assert host.data == b""
    assert answered.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    body = answered.partition(b"\r\n\r\n")[2]
    assert [line.partition(b":")[0] for line in body.splitlines()] == [b"Bulkhead", reason.encode()]
    return body


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        ({"methods": ("GET", "HEAD")}, {"method": b"DELETE"}),
        ({"methods": ("GET",)}, {"method": b"get"}),
        ({"paths": ("/v1/*",)}, {"target": b"/v2/users"}),
        ({"paths": ("/v1/*",)}, {"target": b"/v1/../admin"}),
        ({"paths": ("/v1/*",)}, {"target": b"/v1/%2e%2E/admin"}),
        ({"paths": ("/v1/*",)}, {"target": b"/v1/%252e./admin"}),
        ({"paths": ("/v1/*",)}, {"target": b"/v1/a%2fb"}),
        ({"paths": ("/v1/*",)}, {"target": b"/v1//b"}),
        ({"paths": ("/v1/*",)}, {"target": b"/v1/..\\b"}),
        ({"paths": ("/v1",)}, {"target": b"/v1/"}),
        ({"paths": ("/v1/*",)}, {"target": b"/x?/v1/a"}),
        ({"places": ("query",)}, {}),
        ({"places": ()}, {}),
    ],
)
def test_what_its_binding_does_not_name_is_refused(bound: dict[str, tuple[str, ...]], said: dict[str, bytes]) -> None:
    canary = Canary(methods=bound.get("methods", ("*",)), paths=bound.get("paths", ("*",)))
    canary.places = bound.get("places", ("header",))
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        asked = request(b"A: " + canary.placeholder, **said)
        assert canary.name.encode() in refused(sandbox, host, asked, reason="binding")
    assert canary.asked == 0


@pytest.mark.parametrize(
    ("bound", "field"),
    [("methods", b"X-HTTP-Method-Override: DELETE"), ("paths", b"X-Original-URL: /admin")],
)
def test_a_field_that_means_another_method_or_path_is_refused(bound: str, field: bytes) -> None:
    canary = Canary(**{bound: ("GET", "/v1/*")})  # type: ignore[arg-type]  # patterns
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        asked = request(b"A: " + canary.placeholder, field, target=b"/v1/a")
        refused(sandbox, host, asked, reason="binding")


def test_what_its_binding_names_is_sent() -> None:
    canary = Canary(methods=("PO*",), paths=("/v1/*/send",), places=("header", "path"))
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        target = b"/v1/" + canary.placeholder + b"/send?a=../b//c"
        sandbox.say(request(b"A: " + canary.placeholder, b"Content-Length: 0", CLOSE, target=target, method=b"POST"))
    assert host.data.count(canary.secret) == 1
    assert canary.placeholder not in host.data


@pytest.mark.parametrize("where", ["path", "query", "field", "basic", "name", "body", "chunked", "trailer"])
def test_a_placeholder_where_it_is_not_replaced_is_refused(canary: Canary, where: str) -> None:
    text = canary.placeholder
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)
    said = {
        "path": request(target=b"/" + text),
        "query": request(target=b"/?a=" + text),
        "name": request(text + b": a"),
        "body": request(b"Content-Length: %d" % len(text), body=text, method=b"POST"),
        "chunked": request(b"Transfer-Encoding: chunked", body=chunk, method=b"POST"),
        "trailer": request(b"Transfer-Encoding: chunked", body=b"0\r\nA: %s\r\n\r\n" % text, method=b"POST"),
    }
    if where in ("field", "basic"):
        canary.places = ("query",)
    said |= {"field": request(b"A: " + text), "basic": request(basic(b"a:" + text))}
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        body = refused(sandbox, host, said[where], reason="binding")
    assert canary.asked == 0
    assert canary.secret not in body


def test_a_placeholder_deep_in_a_body_never_arrives_as_a_whole(canary: Canary) -> None:
    """What of the request is on its way already stays less than a request."""
    text, size = canary.placeholder, 2**20

    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        with sandbox.open() as program:
            program.sendall(request(b"Content-Length: %d" % size, b"A: " + text, method=b"POST"))
            program.sendall(bytes(size // 2) + text[:5])
            until(lambda: canary.secret in host.data, PATIENCE)
            program.sendall(text[5:] + bytes(100))
            assert all_of(program).startswith(b"HTTP/1.1 403 ")
        assert sandbox.reported().reason == "binding"
    assert text not in host.data


def test_a_placeholder_for_another_host_is_an_attempt_to_take_it_out() -> None:
    canary, foreign = Canary(), Canary("FOREIGN", hosts=(OTHER,))
    with Host(answering(OK)) as host, Sink() as other:
        rules = (EgressRule(OTHER, (other.port,), private=True, tls=True),)
        for said in (
            request(b"A: " + foreign.placeholder),
            request(basic(b"a:" + foreign.placeholder)),
            request(target=b"/?" + foreign.placeholder),
            request(b"Content-Length: 64", body=foreign.placeholder.ljust(64), method=b"POST"),
        ):
            with Sandbox(host, canary, foreign, rules=rules) as sandbox:
                assert NAME.encode() in refused(sandbox, host, said, reason="exfiltration")
        other.assert_silent()
    assert (canary.asked, foreign.asked) == (0, 0)


@pytest.mark.parametrize("value", [b"a\r\nEvil: b", b"a\0b", b"a\nb", b"\x7f", b"", b" a", b"a "])
def test_a_value_that_is_no_text_goes_nowhere(canary: Canary, value: bytes) -> None:
    canary.secret = value
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        refused(sandbox, host, request(b"A: " + canary.placeholder), reason="secret")


def test_a_value_that_only_h11_refuses_is_in_no_error(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(substitute, "_TEXT", re.compile(b".*", re.DOTALL))
    canary.secret = b"a\r\nEvil: b"
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        assert b"Evil" not in refused(sandbox, host, request(b"A: " + canary.placeholder), reason="secret")
        assert "Evil" not in sandbox.told[0].detail


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: other.example.org\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: api.example.org\r\nHost: api.example.org\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: api.example.org:1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org\r\n\r\n",
        request(target=b"https://other.example.org/"),
        request(target=b"https://user@api.example.org/"),
        request(target=b"http://api.example.org/"),
        request(target=b"*"),
        request(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", method=b"POST"),
        request(b"Content-Length: 3", b"Content-Length: 4", body=b"abc", method=b"POST"),
        request(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n", method=b"POST"),
        request(b"Content_Length: 3"),
        request(b"Connection: close, Host"),
        request(b"Connection: upgrade", b"Upgrade: h2c"),
        request(b"Connection: upgrade", b"Upgrade: websocket", method=b"POST"),
        request(b"Transfer-Encoding: chunked", body=b"0\r\nHost: a\r\n\r\n", method=b"POST"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        request(b"A: " + bytes(200_000).replace(b"\0", b"a")),
    ],
)
def test_a_request_that_is_not_plainly_for_the_name_is_refused(canary: Canary, said: bytes) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        refused(sandbox, host, said, reason="host")


@pytest.mark.parametrize("host_field", [b"API.example.ORG", b"api.example.org:%d"])
def test_host_may_have_the_port_and_capitals(canary: Canary, host_field: bytes) -> None:
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        field = host_field.replace(b"%d", b"%d" % host.port)
        target = b"https://" + field + b"/a"
        assert sandbox.say(b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, field)).endswith(
            b"ok"
        )


def test_a_refusal_says_nothing_of_the_value_and_has_no_body_for_head(canary: Canary) -> None:
    canary.live = False
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox:
        answered = sandbox.say(request(b"A: " + canary.placeholder, method=b"HEAD"))
    assert answered.startswith(b"HTTP/1.1 403 ")
    assert answered.endswith(b"\r\n\r\n")


def test_bytes_one_by_one(canary: Canary) -> None:
    said = request(b"A: " + canary.placeholder, b"Content-Length: 3", CLOSE, method=b"POST", body=b"abc")
    with Host(answering(OK)) as host, Sandbox(host, canary) as sandbox, sandbox.open() as program:
        for byte in said:
            program.sendall(bytes([byte]))
        assert all_of(program).endswith(b"ok")
    assert canary.secret in host.data


# In the clear


def test_a_placeholder_on_a_raw_connection_never_arrives(canary: Canary) -> None:
    with Host(answering(OK)) as host, Sink() as sink:
        with Sandbox(host, canary, rules=[rule(sink, OTHER)]) as sandbox, sandbox.connect(OTHER, sink.port) as program:
            program.sendall(b"before")
            until(lambda: sink.data == b"before", PATIENCE)
            for piece in (canary.placeholder[:7], canary.placeholder[7:9]):
                program.sendall(piece)
                until(lambda piece=piece: sink.data.endswith(piece), PATIENCE)  # type: ignore[misc]
            program.sendall(canary.placeholder[9:])
            assert_reset(program)
            told = sandbox.reported()
        assert (told.decision, told.reason, told.name) == ("deny", "exfiltration", OTHER)
        assert sink.data == b"before" + canary.placeholder[:9]


def test_a_server_that_speaks_first_is_heard_still(canary: Canary) -> None:
    def serve(conn: socket.socket, _: Sink) -> None:
        conn.sendall(b"SSH-2.0-server\r\n")
        conn.recv(1)

    with (
        Host(answering(OK)) as host,
        Sink(serve) as sink,
        Sandbox(host, canary, rules=[rule(sink, OTHER)]) as sandbox,
        sandbox.connect(OTHER, sink.port) as program,
    ):
        assert some_of(program, 16) == b"SSH-2.0-server\r\n"


@pytest.mark.parametrize(("name", "reason"), [(OTHER, "exfiltration"), (f"www.{NAME}", "binding")])
def test_a_placeholder_in_a_plain_request_never_arrives(
    monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    canary = Canary(hosts=(f"*.{NAME}",))
    with Host(answering(OK)) as host, Sink() as sink:
        monkeypatch.setattr(allowlist, "HTTP_PORT", sink.port)
        rules = [rule(sink, name), rule(host, f"*.{NAME}", tls=True)]
        with Sandbox(host, canary, rules=rules) as sandbox, sandbox.connect(name, sink.port) as program:
            plain = b"GET / HTTP/1.1\r\nHost: " + name.encode() + b"\r\n"
            program.sendall(plain + b"\r\n")
            until(lambda: sink.data == plain + b"\r\n", PATIENCE)
            program.sendall(plain + b"A: " + canary.placeholder + b"\r\n\r\n")
            assert_reset(program)
            assert (sandbox.reported().decision, sandbox.reported().reason) == ("deny", reason)
        assert sink.data == plain + b"\r\n"


# Without secrets, and before the start


def test_other_hosts_are_not_looked_into(canary: Canary) -> None:
    """Their own certificate arrives, so the proxy has ended no TLS."""
    with Host(answering(OK)) as host, Host(answering(OK), server_context(OTHER)) as other:
        rules = [EgressRule(OTHER, (other.port,), private=True, tls=True)]
        with Sandbox(host, canary, rules=rules) as sandbox:
            context = sandbox.client()
            ROOT.configure_trust(context)
            with context.wrap_socket(sandbox.connect(OTHER, other.port), server_hostname=OTHER) as program:
                program.sendall(b"GET /any HTTP/1.1\r\n\r\n")
                assert some_of(program, len(OK)) == OK


def test_nothing_of_it_is_imported_without_secrets() -> None:
    modules = loaded(
        "import bulkhead.egress.network, bulkhead.egress.proxy\nbulkhead.egress.proxy.EgressProxy((), report=print)"
    )
    assert [name for name in ("h11", "cryptography", "bulkhead.egress.injection") if name in modules] == []


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        ((EgressRule(NAME, (443,)),), True),
        ((EgressRule(NAME, (1234,), tls=True),), True),
        ((EgressRule("*.example.org", (443,)),), True),
        ((), False),
        ((EgressRule(OTHER, (443,)),), False),
        ((EgressRule(NAME, (80,)),), False),
        ((EgressRule(NAME, (443,), tls=False),), False),
    ],
)
def test_a_secret_needs_a_rule_for_its_host(canary: Canary, rules: tuple[EgressRule, ...], allowed: bool) -> None:
    authority = Authority([NAME])
    if allowed:
        EgressProxy(rules, report=print, injectables=[canary], authority=authority)
        return
    with pytest.raises(UnenforceableError, match=f"API_TOKEN cannot be injected for {NAME}"):
        EgressProxy(rules, report=print, injectables=[canary], authority=authority)


def test_a_secret_needs_an_authority_and_a_placeholder(canary: Canary) -> None:
    rules = (EgressRule(NAME, (443,)),)
    with pytest.raises(UnenforceableError, match="secrets cannot be injected"):
        EgressProxy(rules, report=print, injectables=[canary])
    canary.placeholder = b""
    with pytest.raises(UnenforceableError, match="API_TOKEN cannot be injected"):
        EgressProxy(rules, report=print, injectables=[canary], authority=Authority([NAME]))


def test_a_secret_that_cannot_be_injected_leaves_no_gate(canary: Canary) -> None:
    discarded: list[object] = []

    begun, journal, engine = SimpleNamespace(discard=discarded.append), SimpleNamespace(report=print), object()
    arguments: Any = ((), engine, begun, journal)
    with pytest.raises(UnenforceableError, match="API_TOKEN cannot be injected"):
        asyncio.run(finish_network(*arguments, injectables=[canary], authority=Authority([NAME])))
    assert discarded == [engine]


# Real clients


def test_curl(canary: Canary, tmp_path: Path) -> None:
    trusted = tmp_path / "authority.pem"
    body = b"x" * 100_000
    with Host(answering(answer(body))) as host, Sandbox(host, canary) as sandbox:
        trusted.write_bytes(sandbox.authority.pem)
        with socket.create_server(("127.0.0.1", 0)) as door:
            port = door.getsockname()[1]

            def carry() -> None:
                client, _ = door.accept()
                with client, sandbox.connect(NAME, host.port) as program:
                    ways = [(client, program), (program, client)]
                    threads = [threading.Thread(target=_pump, args=way) for way in ways]
                    for thread in threads:
                        thread.start()
                    for thread in threads:
                        thread.join(PATIENCE)

            carrier = threading.Thread(target=carry)
            carrier.start()
            argv = [
                "curl",
                "--silent",
                "--show-error",
                "--cacert",
                str(trusted),
                "--resolve",
                f"{NAME}:{port}:127.0.0.1",
            ]
            argv += ["-H", f"Host: {NAME}", "-u", f"me:{canary.placeholder.decode()}", f"https://{NAME}:{port}/"]
            done = subprocess.run(argv, capture_output=True, check=False, timeout=30)
            carrier.join(PATIENCE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == body
    assert basic(b"me:" + canary.secret) in host.data


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(2**16):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
