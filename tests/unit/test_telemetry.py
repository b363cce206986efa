"""What a recorded call becomes: spans and histograms of the real SDK."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import SpanKind, StatusCode

from bulkhead import telemetry as names
from bulkhead.telemetry import Telemetry, TelemetrySettings, clean
from bulkhead.telemetry_metrics import MAX_SERIES, OTHER
from bulkhead.telemetry_sdk import Exporter, Spans

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from bulkhead.telemetry import Call, Record

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Memory(Exporter):
    """Keeps the SDK's spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """SpanProcessor."""
        self.spans.append(span)


class Recorder(Telemetry):
    """A Telemetry whose records become spans at once, in this thread."""

    def __init__(self, state: Path) -> None:
        super().__init__(TelemetrySettings(otlp_endpoint="http://unused"), resource={}, state=state)
        self.memory = Memory()
        self.reader = InMemoryMetricReader()
        self.sink = Spans({names.SERVER: "everything"}, exporters=[self.memory], readers=[self.reader])

    def finished(self, record: Record) -> None:
        """Instead of the queue."""
        self.sink.write([record])

    def span(self, kind: SpanKind) -> ReadableSpan:
        """The one span of that kind."""
        (span,) = [span for span in self.memory.spans if span.kind is kind]
        return span

    def points(self) -> dict[str, list[Any]]:
        """The histograms' data points by the metric's name."""
        data = self.reader.get_metrics_data()
        assert data is not None
        metrics = [metric for r in data.resource_metrics for scope in r.scope_metrics for metric in scope.metrics]
        assert {metric.unit for metric in metrics} == {"s"}
        return {metric.name: list(metric.data.data_points) for metric in metrics}


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def call(recorder: Recorder, method: str = "tools/call", error: str = "", **begin: Any) -> Call:
    """A call that was sent and answered."""
    arguments: dict[str, Any] = {"request_id": 7, "name": "echo"} | begin
    begun = recorder.begin(method, **arguments)
    begun.sent()
    begun.answered()
    begun.end(error)
    return begun


def context_of(span: ReadableSpan) -> Any:
    """The span's own ids."""
    assert span.context is not None
    return span.context


def test_a_tool_call_is_a_server_span_and_its_client_child(recorder: Recorder) -> None:
    recorder.note(names.PROTOCOL_VERSION, "2025-11-25")
    recorder.sandbox_started("everything-1")
    begun = call(recorder)

    server, client = recorder.span(SpanKind.SERVER), recorder.span(SpanKind.CLIENT)
    assert server.name == client.name == "tools/call echo"
    assert server.parent is None
    assert client.parent is not None
    assert client.parent.span_id == context_of(server).span_id
    assert begun.traceparent == f"00-{context_of(client).trace_id:032x}-{context_of(client).span_id:016x}-01"
    assert (server.start_time, server.end_time) == (begun.begun_at, begun.ended_at)
    assert (client.start_time, client.end_time) == (begun.sent_at, begun.answered_at)
    assert server.status.status_code is StatusCode.UNSET
    shared = {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "echo",
        "gen_ai.operation.name": "execute_tool",
        "jsonrpc.request.id": "7",
        "network.transport": "pipe",
        "mcp.protocol.version": "2025-11-25",
        "bulkhead.sandbox.id": "everything-1",
    }
    assert dict(client.attributes or {}) == shared
    assert dict(server.attributes or {}) == shared | {"bulkhead.origin": "host", "bulkhead.decision": "allow"}
    about = server.resource.attributes
    assert (about["service.name"], about["bulkhead.server"]) == ("bulkhead", "everything")


@pytest.mark.parametrize(
    ("method", "begin", "name", "attribute"),
    [
        ("prompts/get", {"name": "greet"}, "prompts/get greet", ("gen_ai.prompt.name", "greet")),
        ("resources/read", {"uri": "file:///a"}, "resources/read", ("mcp.resource.uri", "file:///a")),
        ("resources/read", {"uri": "https://u:p@h/a?token=x#y"}, "resources/read", ("mcp.resource.uri", "https://h/a")),
        ("tools/list", {"uri": "file:///a", "name": "n"}, "tools/list", ("mcp.resource.uri", None)),
        ("tools/list", {"name": "n"}, "tools/list", ("gen_ai.tool.name", None)),
        ("resources/read", {"name": "n"}, "resources/read", ("gen_ai.operation.name", None)),
        ("tools/call", {"request_id": "a-1"}, "tools/call echo", ("jsonrpc.request.id", "a-1")),
        ("notifications/x", {"request_id": None}, "notifications/x", ("jsonrpc.request.id", None)),
    ],
)
def test_names(recorder: Recorder, method: str, begin: dict[str, Any], name: str, attribute: tuple[str, Any]) -> None:
    call(recorder, method, **begin)
    for span in recorder.memory.spans:
        assert span.name == name
        assert (span.attributes or {}).get(attribute[0]) == attribute[1]


@pytest.mark.parametrize("flags", ["01", "00", "03", "02"])
def test_the_hosts_context_is_the_parent(recorder: Recorder, flags: str) -> None:
    begun = call(recorder, parent=f"00-{TRACE}-{PARENT}-{flags}")
    server, client = recorder.span(SpanKind.SERVER), recorder.span(SpanKind.CLIENT)
    assert server.parent is not None
    assert (f"{server.parent.span_id:016x}", server.parent.is_remote) == (PARENT, True)
    assert {f"{context_of(span).trace_id:032x}" for span in (server, client)} == {TRACE}
    sampled = flags in ("01", "03")
    assert begun.traceparent == f"00-{TRACE}-{begun.client_id}-{'01' if sampled else '00'}"
    assert [context_of(span).trace_flags.sampled for span in (server, client)] == [sampled, sampled]


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        TRACEPARENT + "\n",
        "ff" + TRACEPARENT[2:],
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}",
    ],
)
def test_a_context_that_is_not_valid_is_none(recorder: Recorder, parent: str) -> None:
    begun = call(recorder, parent=parent)
    assert recorder.span(SpanKind.SERVER).parent is None
    assert begun.trace_id != TRACE
    assert len(begun.traceparent) == 55


def test_a_later_version_of_the_context_is_understood(recorder: Recorder) -> None:
    assert call(recorder, parent=f"01{TRACEPARENT[2:]}-more").trace_id == TRACE


@pytest.mark.parametrize(
    ("error", "answered", "server_has", "client_has"),
    [
        ("-32602", True, {"error.type": "-32602", "rpc.response.status_code": "-32602"}, True),
        ("tool_error", True, {"error.type": "tool_error"}, True),
        ("denied", True, {"error.type": "denied"}, False),  # the answer was refused by a guard
        ("oom", False, {"error.type": "oom"}, True),
    ],
)
def test_errors(recorder: Recorder, error: str, answered: bool, server_has: dict[str, str], client_has: bool) -> None:
    begun = recorder.begin("tools/call", request_id=1, name="echo")
    begun.sent()
    if answered:
        begun.answered()
    begun.end(error)
    for span, has in ((recorder.span(SpanKind.SERVER), True), (recorder.span(SpanKind.CLIENT), client_has)):
        wanted = server_has if has else {}
        got = {k: v for k, v in (span.attributes or {}).items() if k in ("error.type", "rpc.response.status_code")}
        assert got == wanted
        assert span.status.status_code is (StatusCode.ERROR if has else StatusCode.UNSET)


def test_a_call_that_was_denied_was_never_sent(recorder: Recorder) -> None:
    begun = recorder.begin("tools/call", request_id=1, name="rm")
    begun.set(names.DECISION, "deny")
    begun.end("denied")
    assert [span.kind for span in recorder.memory.spans] == [SpanKind.SERVER]
    assert (recorder.memory.spans[0].attributes or {})["bulkhead.decision"] == "deny"


def test_only_the_first_end_counts(recorder: Recorder) -> None:
    begun = call(recorder, error="cancelled")
    begun.end("")
    assert len(recorder.memory.spans) == 2
    assert (recorder.span(SpanKind.SERVER).attributes or {})["error.type"] == "cancelled"


def test_events_stand_on_the_server_span_with_their_time_and_are_bounded(recorder: Recorder) -> None:
    begun = recorder.begin("tools/call", request_id=1)
    for number in range(100):
        begun.event("approval", number=number)
    begun.end()
    events = recorder.span(SpanKind.SERVER).events
    assert [(event.attributes or {})["number"] for event in events] == list(range(32))
    assert all(begun.begun_at <= event.timestamp <= begun.ended_at for event in events)


def test_what_a_server_starts_comes_from_it_and_goes_to_the_host(recorder: Recorder) -> None:
    call(recorder, "sampling/createMessage", from_host=False)
    assert (recorder.span(SpanKind.SERVER).attributes or {})["bulkhead.origin"] == "server"


def test_the_first_call_to_a_new_sandbox_says_that_it_is_one(recorder: Recorder) -> None:
    recorder.sandbox_started("one")
    call(recorder)
    waiting = recorder.begin("tools/call", request_id=1, name="echo")
    recorder.sandbox_started("two")
    waiting.sent()
    waiting.end()
    call(recorder)
    servers = [span.attributes or {} for span in recorder.memory.spans if span.kind is SpanKind.SERVER]
    seen = [(each["bulkhead.sandbox.id"], each.get("bulkhead.restarted", False)) for each in servers]
    assert seen == [("one", False), ("two", True), ("two", False)]


def test_histograms_have_the_buckets_and_attributes_of_the_conventions(recorder: Recorder) -> None:
    recorder.note(names.PROTOCOL_VERSION, "2025-11-25")
    begun = recorder.begin("tools/call", request_id=7, name="echo", uri="file:///a")
    begun.set(names.BYTES_IN, 3)
    begun.sent()
    begun.begun_at, begun.sent_at, begun.answered_at = 10**18, 10**18 + 10**8, 10**18 + 4 * 10**8
    begun.ended_at = 0
    begun.end("-32602")
    points = recorder.points()
    for metric in ("mcp.server.operation.duration", "mcp.client.operation.duration"):
        (point,) = points[metric]
        assert tuple(point.explicit_bounds) == (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
        assert dict(point.attributes) == {
            "mcp.method.name": "tools/call",
            "gen_ai.tool.name": "echo",
            "gen_ai.operation.name": "execute_tool",
            "error.type": "-32602",
            "rpc.response.status_code": "-32602",
            "mcp.protocol.version": "2025-11-25",
            "network.transport": "pipe",
        }
    (client,) = points["mcp.client.operation.duration"]
    assert client.sum == pytest.approx(0.3)


def test_sessions_have_durations(recorder: Recorder) -> None:
    recorder.sandbox_started("one")
    recorder.sandbox_ended("oom")
    recorder.close(0)
    points = recorder.points()
    (client,), (server,) = points["mcp.client.session.duration"], points["mcp.server.session.duration"]
    assert dict(client.attributes) == {"error.type": "oom", "network.transport": "pipe"}
    assert dict(server.attributes) == {"network.transport": "pipe"}
    assert 0 <= client.sum <= server.sum < 60


def test_names_that_others_choose_make_a_bounded_number_of_series(recorder: Recorder) -> None:
    for number in range(3 * MAX_SERIES):
        call(recorder, f"made/up/{number}", error=f"-{number}")
    points = recorder.points()["mcp.server.operation.duration"]
    methods = {point.attributes["mcp.method.name"] for point in points}
    assert len(points) <= MAX_SERIES + 1
    assert OTHER in methods
    assert sum(point.count for point in points) == 3 * MAX_SERIES


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("gen_ai.tool.name", lambda recorder, text: call(recorder, name=text)),
        ("mcp.method.name", call),
        ("jsonrpc.request.id", lambda recorder, text: call(recorder, request_id=text)),
        ("mcp.resource.uri", lambda recorder, text: call(recorder, "resources/read", uri=text)),
        ("error.type", lambda recorder, text: call(recorder, error=text)),
    ],
)
def test_text_of_others_is_bounded_and_printable(
    recorder: Recorder, field: str, make: Callable[[Recorder, str], Call]
) -> None:
    make(recorder, "a\x1b[31m\u202eb\u200b\U000e0041\ud800\n" + "x" * 1000)
    text = (recorder.span(SpanKind.SERVER).attributes or {})[field]
    assert text == ("a\ufffd[31m\ufffdb" + "\ufffd" * 4 + "x" * 1000)[:256]


def test_a_record_holds_no_more_of_others_text_than_its_span(recorder: Recorder) -> None:
    huge = "x" * 10**6
    begun = recorder.begin(huge, request_id=huge, name=huge, uri=huge)
    begun.set(names.LIMIT, huge)
    begun.end(huge)
    kept = (begun.method, begun.request_id, begun.name, begun.uri, begun.error_type, begun.attributes[names.LIMIT])
    assert [len(str(text)) for text in kept] == [256] * 6


@given(st.text())
def test_clean_text_is_printable_and_bounded(text: str) -> None:
    assert clean(text).isprintable()
    assert len(clean(text)) == min(len(text), 256)


def test_a_clock_that_was_set_back_makes_no_span_that_ends_before_it_begins(recorder: Recorder) -> None:
    begun = recorder.begin("tools/call", request_id=1)
    begun.sent()
    begun.begun_at, begun.sent_at = begun.begun_at + 10**12, begun.sent_at + 10**12
    begun.end()
    assert all((span.end_time or 0) >= (span.start_time or 0) for span in recorder.memory.spans)


class TestConnections:
    """A connection of a sandbox's is a child of the call during which it began, or linked to all of them."""

    def connected(self, recorder: Recorder, *calls: Call, reason: str = "") -> ReadableSpan:
        found: dict[str, str | int] = {names.SERVER_ADDRESS: "api.example.org", names.SERVER_PORT: 443}
        recorder.connected("connect api.example.org:443", (10, 30), found, error_type=reason, calls=calls)
        return recorder.memory.spans[-1]

    def test_of_one_call(self, recorder: Recorder) -> None:
        recorder.sandbox_started("everything-1")
        begun = call(recorder, parent=TRACEPARENT)
        span = self.connected(recorder, begun)
        assert (span.name, span.kind, span.links) == ("connect api.example.org:443", SpanKind.CLIENT, ())
        assert (span.start_time, span.end_time) == (10, 30)
        assert f"{context_of(span).trace_id:032x}" == TRACE
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == begun.client_id
        assert span.status.status_code is StatusCode.UNSET
        assert dict(span.attributes or {}) == {
            "bulkhead.sandbox.id": "everything-1", "server.address": "api.example.org", "server.port": 443,
        }  # fmt: skip

    def test_of_several(self, recorder: Recorder) -> None:
        calls = call(recorder), call(recorder)
        span = self.connected(recorder, *calls)
        assert span.parent is None
        assert [f"{link.context.span_id:016x}" for link in span.links] == [one.client_id for one in calls]
        assert f"{context_of(span).trace_id:032x}" not in {one.trace_id for one in calls}

    def test_of_none(self, recorder: Recorder) -> None:
        first, second = self.connected(recorder), self.connected(recorder)
        assert (first.parent, first.links) == (None, ())
        assert context_of(first).trace_id != context_of(second).trace_id

    def test_a_refusal_is_an_error(self, recorder: Recorder) -> None:
        span = self.connected(recorder, reason="sni")
        assert (span.attributes or {})["error.type"] == "sni"
        assert span.status.status_code is StatusCode.ERROR

    def test_a_call_that_is_not_sampled_takes_its_connections_along(self, recorder: Recorder) -> None:
        begun = call(recorder, parent=f"00-{TRACE}-{PARENT}-00")
        assert not context_of(self.connected(recorder, begun)).trace_flags.sampled

    def test_it_is_text_and_ends_after_it_began(self, recorder: Recorder) -> None:
        evil = {names.SERVER_ADDRESS: "a\x1b\u202e" + "x" * 1000}
        recorder.connected("connect a\x1b", (30, 10), evil, error_type="", calls=())
        span = recorder.memory.spans[-1]
        assert (span.name, span.start_time, span.end_time) == ("connect a\ufffd", 30, 30)
        assert (span.attributes or {})[names.SERVER_ADDRESS] == ("a\ufffd\ufffd" + "x" * 1000)[:256]

    def test_it_makes_no_series(self, recorder: Recorder) -> None:
        before = recorder.reader.get_metrics_data()
        self.connected(recorder)
        assert recorder.reader.get_metrics_data() == before


def test_recording_does_not_import_the_sdk() -> None:
    code = """
import sys, pathlib
from bulkhead.telemetry import Telemetry, TelemetrySettings
telemetry = Telemetry(TelemetrySettings(file=False), resource={}, state=pathlib.Path("/nonexistent"))
call = telemetry.begin("tools/call", request_id=1)
call.sent(); call.end(); telemetry.close()
heavy = {name.partition(".")[0] for name in sys.modules} & {"opentelemetry", "requests", "rich", "mcp"}
sys.exit(", ".join(heavy) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
