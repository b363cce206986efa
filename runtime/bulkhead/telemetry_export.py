"""Where spans go: the trace file, stderr, a collector over HTTP. Each loses alone, and counts what it loses."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from bulkhead.outbox import Outbox
from bulkhead.telemetry_sdk import Exporter, Spans
from bulkhead.trace_file import trace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

    from bulkhead.outbox import Sink
    from bulkhead.telemetry import TelemetrySettings
    from bulkhead.trace_file import TraceFile

_PERIOD = 60_000  # milliseconds between two exports of the histograms
_encode = json.JSONEncoder(separators=(",", ":")).encode


def open_spans(
    settings: TelemetrySettings, resource: Mapping[str, str], state: Path, *, dropped: Callable[[], int]
) -> Spans:
    """The exporters that settings name, and a sink that feeds them."""
    exporters: list[Exporter] = []
    readers: list[MetricReader] = []
    if settings.file:
        exporters.append(ToFile(trace_file(state, max_bytes=settings.file_max_bytes, keep=settings.file_keep)))
    if settings.console:
        exporters.append(Queued("bulkhead-console", Console, sampled_only=False))
    if settings.otlp_endpoint:
        exporters.append(Queued("bulkhead-otlp", lambda: _collector(settings), sampled_only=True))
        readers.append(_metric_reader(settings))
    return Spans(resource, exporters=exporters, readers=readers, dropped=dropped)


class ToFile(Exporter):
    """A batch at a time. A disk that is full costs the batch."""

    def __init__(self, file: TraceFile) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._lost = 0

    @property
    def lost(self) -> int:
        """Spans that are not in the file."""
        return self._lost

    def on_end(self, span: ReadableSpan) -> None:
        """SpanProcessor."""
        self._lines.append(line_of(span))

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """SpanProcessor: the end of a batch."""
        del timeout_millis
        lines, self._lines = self._lines, []
        try:
            if lines:
                self._file.append(lines)
        except OSError:
            self._lost += len(lines)
        return True


class Queued(Exporter):
    """Through an outbox of its own, to a place that can be slow or never answer."""

    def __init__(self, name: str, open_sink: Callable[[], Sink[ReadableSpan]], *, sampled_only: bool) -> None:
        self._outbox: Outbox[ReadableSpan] = Outbox(name, open_sink)
        self._sampled_only = sampled_only

    @property
    def lost(self) -> int:
        """Spans that did not arrive."""
        return self._outbox.lost

    def on_end(self, span: ReadableSpan) -> None:
        """SpanProcessor."""
        if not self._sampled_only or (span.context and span.context.trace_flags.sampled):
            self._outbox.put(span)

    def end(self, deadline: float) -> None:
        """Exporter."""
        self._outbox.end(deadline)

    def close(self, deadline: float) -> None:
        """Exporter."""
        self._outbox.close(deadline)


class Console:
    """Lines to stderr, past Python's buffer: the lock of that would be held at exit by a thread that cannot write."""

    def write(self, batch: Sequence[ReadableSpan]) -> None:
        """Sink."""
        for span in batch:
            os.write(2, line_of(span))

    def close(self, deadline: float) -> None:
        """Sink."""


class Collector:
    """A batch is one request, tried again for as long as the exporter's timeout."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def write(self, batch: Sequence[ReadableSpan]) -> None:
        """Sink."""
        if self._exporter.export(batch) is not SpanExportResult.SUCCESS:
            raise OSError("the collector did not take them")

    def close(self, deadline: float) -> None:
        """Sink."""
        del deadline
        self._exporter.shutdown()


def line_of(span: ReadableSpan) -> bytes:
    """The span in the shape of SpanLine, and a newline."""
    context, parent = span.get_span_context() or INVALID_SPAN_CONTEXT, span.parent
    line: dict[str, Any] = {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "parent_id": f"{parent.span_id:016x}" if parent else "",
        "name": span.name,
        "kind": span.kind.name,
        "start": span.start_time,
        "end": span.end_time,
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes or {}),
        "events": [{"name": e.name, "time": e.timestamp, "attributes": dict(e.attributes or {})} for e in span.events],
        "resource": dict(span.resource.attributes),
        "links": [f"{link.context.trace_id:032x}-{link.context.span_id:016x}" for link in span.links],
    }
    return _encode(line).encode("ascii") + b"\n"


def _collector(settings: TelemetrySettings) -> Collector:
    # 50 ms and 6 MB, for whoever has a collector.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    url = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
    return Collector(OTLPSpanExporter(url, headers=dict(settings.otlp_headers), timeout=settings.otlp_timeout))


def _metric_reader(settings: TelemetrySettings) -> MetricReader:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

    # The exporters log each failure, and where nobody configured logging that goes to stderr. What is lost is counted.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    url = settings.otlp_endpoint.rstrip("/") + "/v1/metrics"
    exporter = OTLPMetricExporter(url, headers=dict(settings.otlp_headers), timeout=settings.otlp_timeout)
    return PeriodicExportingMetricReader(exporter, export_interval_millis=_PERIOD)
