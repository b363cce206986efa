"""Records become OpenTelemetry spans here. Imported in telemetry's thread alone: the SDK is heavy.

The ids and times are the record's. A trace that its host did not sample is recorded all the same, for the user's own
file; its spans carry the flag, so that no collector is sent them.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased, StaticSampler
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from bulkhead import __version__
from bulkhead import telemetry as names
from bulkhead.telemetry import Call, Connected, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.trace import Span

    from bulkhead.telemetry import Record, Value

# Which attribute a method's params.name is, and which methods' params.uri is a resource.
_NAME_KEYS = {"tools/call": names.TOOL, "prompts/get": names.PROMPT}
_URI_METHODS = frozenset(
    {"resources/read", "resources/subscribe", "resources/unsubscribe", "notifications/resources/updated"}
)
_CODE = re.compile(r"-?\d+")
_USER = re.compile(r"(?<=//)[^/@]*@")
# The event loop needs the interpreter too. After each call it gets a chance, which is most of the work's time (a sleep
# takes up to 0.5 ms). In a batch of a flood, which would never end so, the lock changes hands alone.
_PAUSE = 50e-6
_FLOOD = 1000
_FLUSH = 128  # calls whose spans are in memory as lines
_TALLY = 0.1  # seconds
_SAMPLER = ParentBased(
    ALWAYS_ON,
    remote_parent_not_sampled=StaticSampler(Decision.RECORD_ONLY),
    local_parent_not_sampled=StaticSampler(Decision.RECORD_ONLY),
)


class Exporter(SpanProcessor):
    """One place where spans go. on_end() is called from telemetry's thread and does not wait."""

    @property
    def lost(self) -> int:
        """Spans that did not get there."""
        return 0

    def end(self, deadline: float) -> None:
        """Begins to close, and does not wait."""

    def close(self, deadline: float) -> None:
        """Closes, and waits until deadline in time.monotonic() seconds at most."""


class Spans:
    """The sink of what is recorded: one TracerProvider, and histograms if somebody reads them."""

    def __init__(
        self,
        resource: Mapping[str, str],
        *,
        exporters: Sequence[Exporter],
        readers: Sequence[MetricReader] = (),
        dropped: Callable[[], int] = lambda: 0,
    ) -> None:
        self._exporters = exporters
        self._dropped = dropped
        self._told = 0
        self._ids = _Ids()
        about = Resource(_about(resource))
        self._provider = TracerProvider(
            sampler=_SAMPLER,
            resource=about,
            shutdown_on_exit=False,
            id_generator=self._ids,
            span_limits=SpanLimits(max_span_attributes=64, max_events=32),
        )
        for exporter in exporters:
            self._provider.add_span_processor(exporter)
        self._tracer = self._provider.get_tracer("bulkhead", __version__)
        self._histograms = None
        if readers:
            from bulkhead.telemetry_metrics import Histograms  # noqa: PLC0415 - 25 ms, for whoever has a collector

            self._histograms = Histograms(about, readers)

    @property
    def lost(self) -> int:
        """Spans that an exporter lost."""
        return sum(exporter.lost for exporter in self._exporters)

    def write(self, batch: Sequence[Record]) -> None:
        """Sink."""
        for number, record in enumerate(batch, start=1):
            if isinstance(record, Call):
                self._call(record)
            elif isinstance(record, Connected):
                self._connected(record)
            elif self._histograms is not None:
                self._histograms.session(record)
            time.sleep(_PAUSE if len(batch) < _FLOOD else 0)
            if number % _FLUSH == 0 or number == len(batch):
                self._provider.force_flush()

    def close(self, deadline: float) -> None:
        """Sink. All exporters have the same time, and end a little before whoever reads what they lost."""
        deadline -= _TALLY
        for exporter in self._exporters:
            exporter.end(deadline)
        if self._histograms is not None:
            self._histograms.close(deadline)
        for exporter in self._exporters:
            exporter.close(deadline)

    def _call(self, call: Call) -> None:
        shared = _shared(call)
        self._ids.next = int(call.trace_id, 16), int(call.span_id, 16)
        server = self._start(SpanKind.SERVER, shared | self._own(call), call.begun_at, _parent(call))
        for name, at, attributes in call.events or ():
            server.add_event(clean(name), {key: cleaned(value) for key, value in attributes.items()}, timestamp=at)
        if call.sent_at:
            self._ids.next = int(call.trace_id, 16), int(call.client_id, 16)
            client = self._start(SpanKind.CLIENT, shared, call.sent_at, set_span_in_context(server, Context()))
            ended_at, error_type = call.answered_at or call.ended_at, _their_error(call)
            self._finish(client, names.CLIENT_OPERATION, shared, (call.sent_at, ended_at, error_type))
        self._finish(server, names.SERVER_OPERATION, shared, (call.begun_at, call.ended_at, call.error_type))

    def _connected(self, record: Connected) -> None:
        others = [_context_of(call) for call in record.calls]
        alone = others[0] if len(others) == 1 else None
        self._ids.next = alone.trace_id if alone else _new_id(16), _new_id(8)
        span = self._tracer.start_span(
            clean(record.name),
            set_span_in_context(NonRecordingSpan(alone), Context()) if alone else Context(),
            SpanKind.CLIENT,
            {key: cleaned(value) for key, value in {**record.common, **record.attributes}.items()},
            links=() if alone else [Link(other) for other in others],
            start_time=record.begun_at,
        )
        if record.error_type:
            span.set_attributes(error_attributes(record.error_type))
            span.set_status(Status(StatusCode.ERROR))
        span.end(max(record.begun_at, record.ended_at))

    def _start(self, kind: SpanKind, attributes: Mapping[str, Value], at: int, context: Context) -> Span:
        return self._tracer.start_span(_span_name(attributes), context, kind, attributes, start_time=at)

    def _finish(self, span: Span, metric: str, shared: Mapping[str, Value], end: tuple[int, int, str]) -> None:
        begun, ended, error_type = end
        if error_type:
            span.set_attributes(error_attributes(error_type))
            span.set_status(Status(StatusCode.ERROR))
        span.end(max(begun, ended))  # a clock that was set back
        if self._histograms is not None:
            self._histograms.operation(metric, ended - begun, shared, error_type)

    def _own(self, call: Call) -> dict[str, Value]:
        """What the SERVER span alone has."""
        own: dict[str, Value] = {
            names.ORIGIN: "host" if call.from_host else "server",
            names.DECISION: "allow",
            **{key: cleaned(value) for key, value in call.attributes.items()},
        }
        if (dropped := self._dropped()) > self._told:
            own[names.DROPPED] = dropped - self._told
            self._told = dropped
        return own


def cleaned(value: Value) -> Value:
    """clean() for text; a number as it is."""
    return clean(value) if isinstance(value, str) else value


def error_attributes(error_type: str) -> dict[str, Value]:
    """None for "". A JSON-RPC code is the answer's status too."""
    if not error_type:
        return {}
    kind = clean(error_type)
    return {names.ERROR_TYPE: kind, names.STATUS_CODE: kind} if _CODE.fullmatch(kind) else {names.ERROR_TYPE: kind}


class _Ids(IdGenerator):
    """Gives out the ids that the record has already."""

    next = (0, 0)

    def generate_trace_id(self) -> int:
        return self.next[0]

    def generate_span_id(self) -> int:
        return self.next[1]


def _about(resource: Mapping[str, str]) -> dict[str, Any]:
    """Each runner is an instance of its own, or a collector takes their histograms for one."""
    instance = os.urandom(16).hex()
    given = {key: clean(value) for key, value in resource.items()}
    return {"service.name": "bulkhead", "service.version": __version__, "service.instance.id": instance} | given


def _parent(call: Call) -> Context:
    if not call.parent_id:
        return Context()
    return set_span_in_context(NonRecordingSpan(_context_of(call, call.parent_id)), Context())


def _context_of(call: Call, span_id: str = "") -> SpanContext:
    """Of one of its spans: the CLIENT span, where none is named."""
    flags = TraceFlags(TraceFlags.SAMPLED if call.sampled else TraceFlags.DEFAULT)
    span = int(span_id or call.client_id, 16)
    return SpanContext(int(call.trace_id, 16), span, is_remote=bool(span_id), trace_flags=flags)


def _new_id(size: int) -> int:
    return int.from_bytes(os.urandom(size)) or 1


def _shared(call: Call) -> dict[str, Value]:
    """What both spans of a call have."""
    shared = {key: cleaned(value) for key, value in call.common.items()}
    shared[names.METHOD] = clean(call.method)
    shared[names.TRANSPORT] = "pipe"
    if call.request_id is not None:
        shared[names.REQUEST_ID] = clean(str(call.request_id))
    if call.name and call.method in _NAME_KEYS:
        shared[_NAME_KEYS[call.method]] = clean(call.name)
    if call.method == "tools/call":
        shared[names.OPERATION] = "execute_tool"
    if call.uri and call.method in _URI_METHODS:
        shared[names.RESOURCE_URI] = clean(_public(call.uri))
    return shared


def _public(uri: str) -> str:
    """Without what can hold a credential: user, query and fragment."""
    return _USER.sub("", uri.partition("?")[0].partition("#")[0])


def _span_name(attributes: Mapping[str, Value]) -> str:
    name = attributes.get(names.TOOL) or attributes.get(names.PROMPT)
    method = str(attributes[names.METHOD])
    return f"{method} {name}" if name else method


def _their_error(call: Call) -> str:
    """The error as far as the other side made it: an answer that a guard refused was none of its own."""
    theirs = call.error_type == names.TOOL_ERROR or _CODE.fullmatch(call.error_type)
    return call.error_type if theirs or not call.answered_at else ""
