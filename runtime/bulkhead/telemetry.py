"""What is recorded of a session: a call on its way takes ids and timestamps here, and a thread makes spans of it later.

Rules: recording costs a few microseconds and neither waits nor raises. OpenTelemetry's SDK is never imported here; the
thread imports it (telemetry_export.py), once there is something to write. Arguments, results and the text of errors
are not recorded. Names come from hosts and servers that nobody trusts: text is bounded when it is recorded, and cleaned
when the span is made. Every call is two spans: SERVER is what whoever asked had to wait for, its child CLIENT is what
the other side took. docs/telemetry.md has the names.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkhead.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bulkhead.telemetry_sdk import Spans

# OpenTelemetry's conventions for MCP; the constants of its Python package are deprecated.
METHOD = "mcp.method.name"
TOOL = "gen_ai.tool.name"
PROMPT = "gen_ai.prompt.name"
OPERATION = "gen_ai.operation.name"
RESOURCE_URI = "mcp.resource.uri"
PROTOCOL_VERSION = "mcp.protocol.version"
SESSION_ID = "mcp.session.id"
REQUEST_ID = "jsonrpc.request.id"
STATUS_CODE = "rpc.response.status_code"
ERROR_TYPE = "error.type"
TRANSPORT = "network.transport"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
PEER_ADDRESS = "network.peer.address"

SERVER_OPERATION = "mcp.server.operation.duration"
CLIENT_OPERATION = "mcp.client.operation.duration"
SERVER_SESSION = "mcp.server.session.duration"
CLIENT_SESSION = "mcp.client.session.duration"

# Ours. The first three are of the resource, the others of a span.
SERVER = "bulkhead.server"
IMAGE_DIGEST = "bulkhead.image.digest"
PROFILE_DIGEST = "bulkhead.profile.digest"
SANDBOX_ID = "bulkhead.sandbox.id"
ORIGIN = "bulkhead.origin"
DECISION = "bulkhead.decision"
LIMIT = "bulkhead.limit"
RESTARTED = "bulkhead.restarted"
CPU_SECONDS = "bulkhead.cpu.seconds"
THROTTLED_SECONDS = "bulkhead.cpu.throttled_seconds"
MEMORY_PEAK = "bulkhead.memory.peak_bytes"
BYTES_IN = "bulkhead.bytes.in"
BYTES_OUT = "bulkhead.bytes.out"
RULE = "bulkhead.egress.rule"
REASON = "bulkhead.egress.reason"
BYTES_SENT = "bulkhead.egress.bytes.sent"
BYTES_RECEIVED = "bulkhead.egress.bytes.received"
DROPPED = "bulkhead.dropped"

TOOL_ERROR = "tool_error"
MAX_TEXT = 256
_MAX_EVENTS = 32

Value = str | int | float | bool

# https://www.w3.org/TR/trace-context/: version 00 has nothing after the flags, a later one may; ff is none.
_TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])(?:-.*)?"
)


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where spans go. otlp_endpoint is the base URL of a collector, as http://127.0.0.1:4318, or "" for none."""

    file: bool = True
    console: bool = False  # to stderr: stdout belongs to the protocol
    otlp_endpoint: str = ""
    otlp_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    otlp_timeout: float = 5.0
    file_max_bytes: int = 8 << 20
    file_keep: int = 3  # rotated files beside the one that is written
    queue: int = 4096  # calls that wait for their spans

    @property
    def wanted(self) -> bool:
        """Whether anything reads what is recorded."""
        return self.file or self.console or bool(self.otlp_endpoint)


class Call:
    """One message on its way. Times are Unix nanoseconds, 0 where the thing has not happened; ids are hexadecimal.

    traceparent is the context of the CLIENT span, 55 characters: what the forwarded message carries.
    """

    __slots__ = (
        "answered_at", "attributes", "begun_at", "client_id", "common", "ended_at", "error_type", "events", "from_host",
        "handed_on", "method", "name", "parent_id", "request_id", "sampled", "sent_at", "span_id", "telemetry",
        "trace_id", "traceparent", "uri",
    )  # fmt: skip

    def __init__(
        self,
        telemetry: Telemetry,
        method: str,
        *,
        request_id: str | int | None,
        name: str,
        uri: str,
        parent: str | None,
        from_host: bool,
    ) -> None:
        self.begun_at = time.time_ns()
        self.telemetry = telemetry
        self.method = method[:MAX_TEXT]
        self.request_id = request_id[:MAX_TEXT] if isinstance(request_id, str) else request_id
        self.name = name[:MAX_TEXT]
        self.uri = uri[:MAX_TEXT]
        self.from_host = from_host
        ids = os.urandom(32).hex()
        self.trace_id, self.span_id, self.client_id = ids[:32], ids[32:48], ids[48:]
        self.parent_id, self.sampled = "", True
        if parent is not None and (match := _TRACEPARENT.fullmatch(parent)):
            self.trace_id, self.parent_id = match[1], match[2]
            self.sampled = int(match[3], 16) & 1 == 1
        self.traceparent = f"00-{self.trace_id}-{self.client_id}-{'01' if self.sampled else '00'}"
        self.attributes: dict[str, Value] = {}
        self.common: Mapping[str, Value] = telemetry.common
        self.events: list[tuple[str, int, Mapping[str, Value]]] | None = None
        self.sent_at = self.answered_at = self.ended_at = 0
        self.error_type = ""
        self.handed_on = False

    def set(self, key: str, value: Value) -> None:
        """An attribute of the SERVER span."""
        self.attributes[key] = value[:MAX_TEXT] if isinstance(value, str) else value

    def event(self, name: str, /, **attributes: Value) -> None:
        """Something that happened on the way, now; the first 32 are kept."""
        if self.events is None:
            self.events = []
        if len(self.events) < _MAX_EVENTS:
            self.events.append((name, time.time_ns(), attributes))

    def sent(self) -> None:
        """The message goes to the other side: the CLIENT span begins."""
        self.sent_at = time.time_ns()
        self.common = self.telemetry.common
        if self.telemetry.restarted and self.from_host:
            self.telemetry.restarted = False
            self.attributes[RESTARTED] = True

    def answered(self) -> None:
        """The answer came from the other side: the CLIENT span ends."""
        self.answered_at = time.time_ns()

    def stop(self, error_type: str = "") -> None:
        """Both spans end now, once; what is not known yet may be set until end() follows.

        error_type is a JSON-RPC code, ``tool_error`` or a reason of errors.py.
        """
        if not self.ended_at:
            self.ended_at = time.time_ns()
            self.error_type = error_type[:MAX_TEXT]

    def end(self, error_type: str = "") -> None:
        """As stop(), and all of it is known."""
        self.stop(error_type)
        if not self.handed_on:
            self.handed_on = True
            self.telemetry.finished(self)


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection of the sandbox's. Times are Unix nanoseconds; calls are those in flight when it began.

    Its span is a child of the CLIENT span of the one call, or linked to those of several.
    """

    name: str
    begun_at: int
    ended_at: int
    attributes: Mapping[str, Value]
    error_type: str
    calls: tuple[Call, ...]
    common: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """A session that is over; metric is SERVER_SESSION or CLIENT_SESSION."""

    metric: str
    seconds: float
    error_type: str
    common: Mapping[str, Value]


Record = Call | Connected | SessionEnd


class Telemetry:
    """One session's recorder. resource holds what is the same for all spans; state is the folder of trace files."""

    def __init__(self, settings: TelemetrySettings, *, resource: Mapping[str, str], state: Path) -> None:
        self.settings = settings
        self.common: Mapping[str, Value] = {}
        self.restarted = False
        self._resource = dict(resource)
        self._state = state
        self._spans: Spans | None = None
        self._outbox: Outbox[Record] = Outbox("bulkhead-telemetry", self._open, size=settings.queue)
        self._begun = time.monotonic()
        self._sandbox_begun: float | None = None

    def begin(
        self,
        method: str,
        *,
        request_id: str | int | None,
        name: str = "",
        uri: str = "",
        parent: str | None = None,
        from_host: bool = True,
    ) -> Call:
        """A message came in. parent is ``params._meta.traceparent``; one that is not valid is as if there were none."""
        return Call(self, method, request_id=request_id, name=name, uri=uri, parent=parent, from_host=from_host)

    def connected(
        self,
        name: str,
        times: tuple[int, int],
        attributes: Mapping[str, Value],
        *,
        error_type: str,
        calls: Sequence[Call],
    ) -> None:
        """A connection of the sandbox's has ended; times are its begin and end."""
        self.finished(Connected(name, *times, attributes, error_type, tuple(calls), self.common))

    def finished(self, record: Record) -> None:
        """Hands a record to the thread."""
        if self.settings.wanted:
            self._outbox.put(record)

    def note(self, key: str, value: Value) -> None:
        """An attribute of every span that is sent from now on."""
        self.common = {**self.common, key: value[:MAX_TEXT] if isinstance(value, str) else value}

    def sandbox_started(self, sandbox_id: str) -> None:
        """A session with a sandbox begins. If it is not the first, the next call is marked as restarted."""
        self.restarted = SANDBOX_ID in self.common
        self.note(SANDBOX_ID, sandbox_id)
        self._sandbox_begun = time.monotonic()

    def sandbox_ended(self, error_type: str = "") -> None:
        """The session with the sandbox is over; error_type as for a call. Nothing if none had begun."""
        if self._sandbox_begun is not None:
            self._session_end(CLIENT_SESSION, self._sandbox_begun, error_type)
            self._sandbox_begun = None

    def close(self, timeout: float = 1.0, *, error_type: str = "") -> None:
        """The host's session is over: what is recorded is written, within timeout seconds or not at all."""
        deadline = time.monotonic() + timeout
        self.sandbox_ended()
        self._session_end(SERVER_SESSION, self._begun, error_type)
        self._outbox.close(deadline)

    @property
    def dropped(self) -> int:
        """Calls that never became spans, and spans that an exporter lost."""
        return self._outbox.lost + (self._spans.lost if self._spans else 0)

    def _session_end(self, metric: str, begun: float, error_type: str) -> None:
        if self.settings.console or self.settings.otlp_endpoint:
            self.finished(SessionEnd(metric, time.monotonic() - begun, error_type, self.common))

    def _open(self) -> Spans:
        from bulkhead.telemetry_export import open_spans  # noqa: PLC0415 - 75 ms and 7 MB: in the thread, or never

        self._spans = open_spans(self.settings, self._resource, self._state, dropped=lambda: self.dropped)
        return self._spans


def clean(text: str) -> str:
    """At most 256 characters; what cannot be printed, or is not meant to be seen, becomes U+FFFD."""
    text = text[:MAX_TEXT]
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)
