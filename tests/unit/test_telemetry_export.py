"""Where spans go, and that none of it delays or breaks a call: real files, pipes and HTTP servers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bulkhead import telemetry as names
from bulkhead.telemetry import Telemetry, TelemetrySettings
from bulkhead.trace_file import read_spans

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
RESOURCE = {names.SERVER: "everything"}


class Collector(ThreadingHTTPServer):
    """Records what it is sent, and answers with a status; 0: it never answers, -1: with garbage."""

    daemon_threads = True

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.requests: list[tuple[str, bytes, str]] = []
        self.asked = threading.Event()
        self.done = threading.Event()

    @property
    def url(self) -> str:
        """The base that settings name."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> list[Any]:
        """The decoded spans."""
        bodies = [body for path, body, _ in self.requests if path == "/v1/traces"]
        requests = [ExportTraceServiceRequest.FromString(body) for body in bodies]
        return [span for r in requests for rs in r.resource_spans for ss in rs.scope_spans for span in ss.spans]

    def metrics(self) -> set[str]:
        """The names of the metrics that came."""
        bodies = [body for path, body, _ in self.requests if path == "/v1/metrics"]
        requests = [ExportMetricsServiceRequest.FromString(body) for body in bodies]
        return {m.name for r in requests for rm in r.resource_metrics for sm in rm.scope_metrics for m in sm.metrics}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """A request of OTLP."""
        collector = self.server
        assert isinstance(collector, Collector)
        body = self.rfile.read(int(self.headers["content-length"]))
        collector.requests.append((self.path, body, self.headers.get("x-key", "")))
        collector.asked.set()
        if collector.status == 0:
            collector.done.wait(60)
        elif collector.status < 0:
            self.wfile.write(b"\x00garbage\r\n\r\n")
        else:
            self.send_response(collector.status)
            self.end_headers()

    def log_message(self, *args: object) -> None:
        """Not to stderr."""


@contextmanager
def collecting(status: int = 200) -> Iterator[Collector]:
    """A collector that runs."""
    with Collector(status) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.done.set()
        collector.shutdown()
        thread.join()


def refusing() -> str:
    """The URL of a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def calls(telemetry: Telemetry, count: int, parent: str | None = None) -> float:
    """Records count calls; the seconds that it took."""
    begun = time.monotonic()
    for number in range(count):
        call = telemetry.begin("tools/call", request_id=number, name="echo", parent=parent)
        call.sent()
        call.answered()
        call.end()
    return time.monotonic() - begun


def test_spans_are_in_the_file_after_close(tmp_path: Path) -> None:
    telemetry = Telemetry(TelemetrySettings(), resource=RESOURCE, state=tmp_path)
    calls(telemetry, 300, SAMPLED)
    telemetry.close(30)
    spans = list(read_spans(tmp_path))
    servers = {span.attributes["jsonrpc.request.id"]: span for span in spans if span.kind == "SERVER"}
    clients = {span.attributes["jsonrpc.request.id"]: span for span in spans if span.kind == "CLIENT"}
    assert len(spans) == 600
    assert list(servers) == list(clients) == [str(number) for number in range(300)]
    assert {span.parent_id for span in servers.values()} == {"00f067aa0ba902b7"}
    assert all(clients[key].parent_id == server.span_id for key, server in servers.items())
    assert {(span.name, span.status, span.resource["bulkhead.server"]) for span in spans} == {
        ("tools/call echo", "UNSET", "everything")
    }
    assert telemetry.dropped == 0


def test_spans_are_in_the_file_while_the_session_goes_on(tmp_path: Path) -> None:
    telemetry = Telemetry(TelemetrySettings(), resource=RESOURCE, state=tmp_path)
    calls(telemetry, 1)
    deadline = time.monotonic() + 20
    while not list(read_spans(tmp_path)):
        assert time.monotonic() < deadline, "no span was written"
        time.sleep(0.02)
    telemetry.close(10)


def test_what_does_not_fit_is_counted_and_told_by_the_next_span(tmp_path: Path) -> None:
    telemetry = Telemetry(TelemetrySettings(queue=10), resource=RESOURCE, state=tmp_path)
    calls(telemetry, 1000)
    dropped = telemetry.dropped
    telemetry.close(10)
    kept = [span for span in read_spans(tmp_path) if span.kind == "SERVER"]
    assert telemetry.dropped == dropped
    assert len(kept) + dropped == 1000
    assert kept[-1].attributes["jsonrpc.request.id"] == "999"
    assert sum(span.attributes.get("bulkhead.dropped", 0) for span in kept) == dropped > 0


def test_a_full_disk_costs_spans_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "spans.jsonl").mkdir()  # as root, permissions would not fail
    telemetry = Telemetry(TelemetrySettings(), resource=RESOURCE, state=tmp_path)
    calls(telemetry, 50)
    telemetry.close(10)
    assert telemetry.dropped == 100
    assert capfd.readouterr().err == ""


def test_a_collector_gets_the_spans_and_the_histograms(tmp_path: Path) -> None:
    with collecting() as collector:
        settings = TelemetrySettings(file=False, otlp_endpoint=collector.url + "/", otlp_headers={"x-key": "k"})
        telemetry = Telemetry(settings, resource=RESOURCE, state=tmp_path)
        telemetry.sandbox_started("one")
        calls(telemetry, 20, SAMPLED)
        telemetry.close(30)
        assert telemetry.dropped == 0
        spans = collector.spans()
        assert {(span.kind, span.parent_span_id.hex()) for span in spans if span.kind == span.SPAN_KIND_SERVER} == {
            (spans[0].SPAN_KIND_SERVER, "00f067aa0ba902b7")
        }
        assert len(spans) == 40
        assert {span.trace_id.hex() for span in spans} == {SAMPLED[3:35]}
        assert collector.metrics() == {
            f"mcp.{side}.{what}.duration" for side in ("server", "client") for what in ("operation", "session")
        }
        assert {key for *_, key in collector.requests} == {"k"}
    assert not (tmp_path / "traces").exists()


def test_a_trace_that_its_host_did_not_sample_stays_here(tmp_path: Path) -> None:
    with collecting() as collector:
        telemetry = Telemetry(TelemetrySettings(otlp_endpoint=collector.url), resource=RESOURCE, state=tmp_path)
        calls(telemetry, 5, SAMPLED[:-2] + "00")
        telemetry.close(30)
        assert collector.spans() == []
    assert len(list(read_spans(tmp_path))) == 10


@pytest.mark.parametrize("status", [0, -1, 400, 503])
def test_a_collector_that_does_not_do_its_work_delays_nothing(
    tmp_path: Path, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with collecting(status) as collector:
        settings = TelemetrySettings(otlp_endpoint=collector.url, otlp_timeout=20)
        telemetry = Telemetry(settings, resource=RESOURCE, state=tmp_path)
        calls(telemetry, 1)
        assert collector.asked.wait(30)
        slow = calls(telemetry, 2000)
        begun = time.monotonic()
        telemetry.close(1)
        closing = time.monotonic() - begun
    assert slow < 2, "2000 records are 20 ms of work"
    assert closing < 3
    assert telemetry.dropped > 0
    assert capfd.readouterr().err == ""


def test_what_a_collector_did_not_take_in_time_is_counted(tmp_path: Path) -> None:
    with collecting(0) as collector:
        settings = TelemetrySettings(otlp_endpoint=collector.url, otlp_timeout=60)
        telemetry = Telemetry(settings, resource=RESOURCE, state=tmp_path)
        calls(telemetry, 1)
        assert collector.asked.wait(30)
        calls(telemetry, 10)
        telemetry.close(2)
        assert telemetry.dropped == 22
    assert len(list(read_spans(tmp_path))) == 22


def test_a_collector_that_is_not_there_costs_spans_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = TelemetrySettings(otlp_endpoint=refusing(), otlp_timeout=0.2)
    telemetry = Telemetry(settings, resource=RESOURCE, state=tmp_path)
    calls(telemetry, 100)
    telemetry.close(10)
    assert len(list(read_spans(tmp_path))) == 200, "the file is written all the same"
    assert telemetry.dropped == 200
    assert capfd.readouterr().err == ""


def test_memory_stays_bounded_while_a_collector_hangs(tmp_path: Path) -> None:
    with collecting(0) as collector:
        settings = TelemetrySettings(file=False, otlp_endpoint=collector.url, otlp_timeout=60, queue=100)
        telemetry = Telemetry(settings, resource=RESOURCE, state=tmp_path)
        calls(telemetry, 1)
        assert collector.asked.wait(30)
        deadline = time.monotonic() + 60
        sent = 1
        while telemetry.dropped < 2000:
            assert time.monotonic() < deadline, "a queue grows without bound"
            calls(telemetry, 100)
            sent += 100
            time.sleep(0.01)
        # The queue of calls, the queue of spans, and what is in hand of both.
        assert 2 * sent - 2 * telemetry.dropped <= 2 * (100 + 100) + 2 * 2048
        telemetry.close(0.1)


SESSION = """
import sys, pathlib, time
from bulkhead.telemetry import Telemetry, TelemetrySettings
settings = TelemetrySettings(console=sys.argv[3] == "console", otlp_endpoint=sys.argv[2])
telemetry = Telemetry(settings, resource={}, state=pathlib.Path(sys.argv[1]))
for number in range(int(sys.argv[4])):
    call = telemetry.begin("tools/call", request_id=number, name="echo")
    call.sent(); call.answered(); call.end()
telemetry.close(1)
"""


def session(state: Path, url: str, console: str, count: int) -> subprocess.Popen[bytes]:
    """A process that records, closes and ends."""
    command = [sys.executable, "-c", SESSION, str(state), url, console, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_process_ends_though_its_collector_hangs(tmp_path: Path) -> None:
    with collecting(0) as collector, session(tmp_path, collector.url, "", 50) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_a_collector_that_is_not_there_is_no_noise(tmp_path: Path) -> None:
    with session(tmp_path, refusing(), "", 50) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_a_process_ends_though_nobody_reads_its_stderr(tmp_path: Path) -> None:
    with session(tmp_path, "", "console", 1000) as process:
        assert process.wait(20) == 0
    assert list(read_spans(tmp_path)), "the file is written all the same"


def test_the_console_is_stderr(tmp_path: Path) -> None:
    with session(tmp_path, "", "console", 3) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, b"")
    assert [json.loads(line)["name"] for line in err.splitlines()] == ["tools/call echo"] * 6


def test_without_exporters_nothing_is_kept_and_the_context_goes_on(tmp_path: Path) -> None:
    telemetry = Telemetry(TelemetrySettings(file=False), resource=RESOURCE, state=tmp_path)
    call = telemetry.begin("tools/call", request_id=1, parent=SAMPLED)
    call.end()
    telemetry.close()
    assert call.traceparent[:36] == SAMPLED[:36]
    assert (telemetry.dropped, list(tmp_path.iterdir())) == (0, [])
