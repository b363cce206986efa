"""What a session tells of its sandbox's connections: a span for each, and the person of each new refusal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from bulkhead import telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bulkhead.egress.connection import Connection
    from bulkhead.telemetry import Call, Telemetry

_MAX_TOLD = 64
_MAX_KEPT = 16
# Where too many names are asked for to read them all, the proxy reports one refusal without a name.
_NAMELESS = "more names"


class InFlight(Protocol):
    """A request without an answer."""

    trace: Call
    refused: list[str]  # what its server wanted to reach meanwhile, and might not: "HOST:PORT", or "HOST"
    reached: list[str]  # the hosts that it did reach


class Connections:
    """The Journal of one session. refused: what was refused last, oldest first. changed is called when it grows.

    record takes each connection, for those who keep a record of it.
    """

    def __init__(
        self,
        server: str,
        recorder: Telemetry,
        *,
        say: Callable[[str], None],
        in_flight: Callable[[], Sequence[InFlight]],
        record: Callable[[Connection], None],
        changed: Callable[[], None],
    ) -> None:
        self.refused: tuple[str, ...] = ()
        self._server = server
        self._recorder = recorder
        self._say = say
        self._in_flight = in_flight
        self._record = record
        self._changed = changed
        self._told: set[str] = set()

    def begun(self) -> Callable[[Connection], None]:
        """See egress.network.Journal."""
        return partial(self._ended, tuple(self._in_flight()))

    def report(self, connection: Connection) -> None:
        """See egress.network.Journal."""
        self._ended(tuple(self._in_flight()), connection)

    def _ended(self, requests: tuple[InFlight, ...], connection: Connection) -> None:
        target = connection.name or connection.address or _NAMELESS
        target = f"{target}:{connection.port}" if connection.port else target
        if connection.again:
            requests = tuple(request for request in requests if _is_news(target, request))
            if not requests:
                return
        self._record(connection)
        self._recorder.connected(
            f"connect {target}" if connection.port else f"resolve {target}",
            (connection.begun_ns, connection.ended_ns),
            _attributes(connection),
            error_type=connection.reason,
            calls=[request.trace for request in requests],
        )
        if connection.decision == "deny":
            for request in requests:
                if _is_news(target, request):
                    request.refused.append(target)
            self._tell(target, connection)
            return
        for request in requests:
            if target not in request.reached and len(request.reached) < _MAX_KEPT:
                request.reached.append(target)

    def _tell(self, target: str, connection: Connection) -> None:
        if target in self._told or len(self._told) > _MAX_TOLD:
            return
        self._told.add(target)
        if len(self._told) > _MAX_TOLD:
            self._say(f"{self._server}: more was refused; `bulkhead trace {self._server}` shows it")
            return
        from bulkhead.egress.connection import REASONS, refusal_hint  # noqa: PLC0415 - few sessions refuse anything

        self.refused = (*self.refused, target)[-_MAX_KEPT:]
        why = f"{REASONS[connection.reason]} ({connection.reason})"
        text = f"{self._server}: refused to reach {telemetry.clean(target)}\n  why: {why}"
        if hint := refusal_hint(connection):
            table = hint.replace("\n", "\n         ")
            text += f"\n  do:  write into its profile, if it should be reached:\n         {table}"
        self._say(text)
        self._changed()


def _is_news(target: str, request: InFlight) -> bool:
    return target not in request.refused and len(request.refused) < _MAX_KEPT


def _attributes(connection: Connection) -> dict[str, telemetry.Value]:
    """A server's address is always among them: `trace` knows a connection by it."""
    found: dict[str, telemetry.Value] = {
        telemetry.RULE: connection.rule,
        telemetry.REASON: connection.reason,
        telemetry.DROPPED: connection.untold or "",
    }
    if connection.port:
        found |= {
            telemetry.TRANSPORT: "tcp",
            telemetry.SERVER_PORT: connection.port,
            telemetry.PEER_ADDRESS: connection.dialled,
            telemetry.BYTES_SENT: connection.sent,
            telemetry.BYTES_RECEIVED: connection.received,
        }
    always = {telemetry.SERVER_ADDRESS: connection.name or connection.address, telemetry.DECISION: connection.decision}
    return {key: value for key, value in found.items() if value != ""} | always
