"""The four durations of OpenTelemetry's conventions for MCP, as histograms. For a collector alone: 25 ms and 1 MB.

Rule: a process makes at most MAX_SERIES series, because names come from hosts and servers; what comes after is OTHER.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider

from bulkhead import __version__
from bulkhead import telemetry as names
from bulkhead.telemetry_sdk import cleaned, error_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.metrics import Histogram
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

    from bulkhead.telemetry import SessionEnd, Value

MAX_SERIES = 200
OTHER = "_OTHER"
BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)  # seconds
_DURATIONS = (names.SERVER_OPERATION, names.CLIENT_OPERATION, names.SERVER_SESSION, names.CLIENT_SESSION)
_KEYS = (
    names.METHOD, names.ERROR_TYPE, names.TOOL, names.PROMPT, names.STATUS_CODE, names.OPERATION,
    names.PROTOCOL_VERSION, names.TRANSPORT,
)  # fmt: skip


class Histograms:
    """One MeterProvider. Called from telemetry's thread alone."""

    def __init__(self, resource: Resource, readers: Sequence[MetricReader]) -> None:
        self._provider = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
        meter = self._provider.get_meter("bulkhead", __version__)
        self._of: dict[str, Histogram] = {
            name: meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=BUCKETS) for name in _DURATIONS
        }
        self._series: set[tuple[Value | None, ...]] = set()

    def operation(self, metric: str, nanoseconds: int, attributes: Mapping[str, Value], error_type: str) -> None:
        """attributes: those of the span; the ones that the conventions name for a metric are kept."""
        self._record(metric, max(0, nanoseconds) / 1e9, {**attributes, **error_attributes(error_type)})

    def session(self, end: SessionEnd) -> None:
        """A session's whole length."""
        attributes = {key: cleaned(value) for key, value in end.common.items()}
        self._record(
            end.metric, end.seconds, {**attributes, names.TRANSPORT: "pipe", **error_attributes(end.error_type)}
        )

    def close(self, deadline: float) -> None:
        """Exports for the last time, until deadline in time.monotonic() seconds."""
        self._provider.shutdown(timeout_millis=max(1.0, (deadline - time.monotonic()) * 1000))

    def _record(self, metric: str, seconds: float, attributes: Mapping[str, Value]) -> None:
        series = tuple(attributes.get(key) for key in _KEYS)
        if series not in self._series and len(self._series) >= MAX_SERIES:
            series = tuple(value and OTHER for value in series)
        self._series.add(series)
        kept = {key: value for key, value in zip(_KEYS, series, strict=True) if value is not None}
        self._of[metric].record(seconds, kept, Context())
