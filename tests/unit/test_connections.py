"""What a session tells of its sandbox's connections: to the trace, to the person, and to a call that fails for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead import telemetry as names
from bulkhead.connections import Connections
from bulkhead.egress.connection import REASONS, Connection
from bulkhead.telemetry import Call, Connected, Telemetry, TelemetrySettings

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.telemetry import Record


class Recorder(Telemetry):
    """Keeps what it is told."""

    def __init__(self, state: Path) -> None:
        super().__init__(TelemetrySettings(), resource={names.SERVER: "notes"}, state=state)
        self.records: list[Connected] = []

    def finished(self, record: Record) -> None:
        """See Telemetry."""
        assert isinstance(record, Connected)
        self.records.append(record)


@dataclass
class InFlight:
    """A request without an answer."""

    trace: Call
    refused: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)


class Told:
    """A session's Connections, and all that they tell."""

    def __init__(self, state: Path) -> None:
        self.recorder = Recorder(state)
        self.in_flight: list[InFlight] = []
        self.said: list[str] = []
        self.changes = 0
        self.recorded: list[Connection] = []
        self.connections = Connections(
            "notes",
            self.recorder,
            say=self.said.append,
            in_flight=lambda: self.in_flight,
            record=self.recorded.append,
            changed=self._changed,
        )

    def _changed(self) -> None:
        self.changes += 1

    def call(self) -> InFlight:
        """One more is in flight."""
        trace = Call(self.recorder, "tools/call", request_id=1, name="fetch", uri="", parent=None, from_host=True)
        self.in_flight.append(InFlight(trace))
        return self.in_flight[-1]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def connection(name: str = "api.example.org", port: int = 443, reason: str = "sni", **more: Any) -> Connection:
    """A refused one, unless more says otherwise."""
    address = more.pop("address", "198.18.0.1")
    return Connection(name, address, port, begun_ns=1, ended_ns=3, reason=reason, **more)


def allowed(**more: Any) -> Connection:
    rule = "api.example.org:443"
    return connection(reason="", decision="allow", rule=rule, dialled="8.8.8.8", sent=5, received=7, **more)


class TestSpans:
    def test_a_connection_has_all_that_was_decided(self, told: Told) -> None:
        told.connections.report(allowed())
        [record] = told.recorder.records
        assert (record.name, record.begun_at, record.ended_at) == ("connect api.example.org:443", 1, 3)
        assert dict(record.attributes) == {
            "network.transport": "tcp",
            "server.address": "api.example.org",
            "server.port": 443,
            "network.peer.address": "8.8.8.8",
            "bulkhead.decision": "allow",
            "bulkhead.egress.rule": "api.example.org:443",
            "bulkhead.egress.bytes.sent": 5,
            "bulkhead.egress.bytes.received": 7,
        }
        assert record.error_type == ""
        assert told.said == []
        assert told.connections.refused == ()

    def test_a_refusal_has_its_reason(self, told: Told) -> None:
        told.connections.report(connection())
        [record] = told.recorder.records
        assert (record.attributes["bulkhead.decision"], record.attributes["bulkhead.egress.reason"]) == ("deny", "sni")
        assert record.error_type == "sni"

    def test_a_refused_name_was_no_connection(self, told: Told) -> None:
        told.connections.report(connection(port=0, address="", reason="name"))
        [record] = told.recorder.records
        assert record.name == "resolve api.example.org"
        assert "network.transport" not in record.attributes
        assert "server.port" not in record.attributes

    def test_an_address_stands_where_no_name_was_asked_for(self, told: Told) -> None:
        told.connections.report(connection(name="", address="169.254.169.254", port=80, reason="address"))
        [record] = told.recorder.records
        assert record.name == "connect 169.254.169.254:80"
        assert record.attributes["server.address"] == "169.254.169.254"

    def test_too_many_queries_have_no_name(self, told: Told) -> None:
        told.connections.report(connection(name="", address="", port=0, reason="rate"))
        [record] = told.recorder.records
        assert record.name == "resolve more names"
        assert record.attributes["server.address"] == ""
        assert told.connections.refused == ("more names",)
        assert told.said == [f"notes: refused to reach more names\n  why: {REASONS['rate']} (rate)"]

    def test_what_was_only_counted_is_told_with_the_next(self, told: Told) -> None:
        told.connections.report(connection(reason="connections", untold=1234))
        assert told.recorder.records[0].attributes["bulkhead.dropped"] == 1234


class TestCalls:
    def test_it_belongs_to_those_in_flight_when_it_began(self, told: Told) -> None:
        first = told.call()
        ended = told.connections.begun()
        told.in_flight.clear()
        second = told.call()
        ended(connection())
        assert told.recorder.records[0].calls == (first.trace,)
        assert (first.refused, second.refused) == (["api.example.org:443"], [])

    def test_a_refused_name_belongs_to_those_in_flight_now(self, told: Told) -> None:
        first, second = told.call(), told.call()
        told.connections.report(connection(port=0, reason="name"))
        assert told.recorder.records[0].calls == (first.trace, second.trace)
        assert first.refused == second.refused == ["api.example.org"]

    def test_one_that_was_allowed_and_failed_was_not_refused(self, told: Told) -> None:
        call = told.call()
        told.connections.report(connection(reason="unreachable", decision="allow"))
        assert (call.refused, told.said, told.connections.refused) == ([], [], ())
        assert told.recorder.records[0].error_type == "unreachable"

    def test_a_call_is_told_each_once_and_not_more_than_a_person_reads(self, told: Told) -> None:
        call = told.call()
        for number in (*range(40), *range(40)):
            told.connections.report(connection(f"n{number}.example.org"))
        assert call.refused == [f"n{number}.example.org:443" for number in range(16)]

    def test_a_name_that_was_refused_before_is_news_to_another_call(self, told: Told) -> None:
        first = told.call()
        told.connections.report(connection(port=0, reason="name"))
        second = told.call()
        for _ in range(3):
            told.connections.report(connection(port=0, reason="name", again=True))
        assert first.refused == second.refused == ["api.example.org"]
        assert [record.calls for record in told.recorder.records] == [(first.trace,), (second.trace,)]
        assert len(told.said) == 1

    def test_a_name_that_was_refused_before_is_no_news_to_no_call(self, told: Told) -> None:
        told.connections.report(connection(port=0, reason="name", again=True))
        assert told.recorder.records == []


class TestTelling:
    def test_once_a_name_with_the_table_that_would_allow_it(self, told: Told) -> None:
        for _ in range(3):
            told.connections.report(connection(port=0, reason="name"))
        assert told.said == [
            f"notes: refused to reach api.example.org\n  why: {REASONS['name']} (name)\n"
            "  do:  write into its profile, if it should be reached:\n"
            '         [[egress]]\n         host = "api.example.org"\n         ports = [443]'
        ]
        assert (told.connections.refused, told.changes) == (("api.example.org",), 1)

    @pytest.mark.parametrize("reason", sorted(set(REASONS) - {""}))
    def test_every_reason_can_be_told(self, told: Told, reason: str) -> None:
        told.connections.report(connection(reason=reason))
        assert told.said[0].startswith(f"notes: refused to reach api.example.org:443\n  why: {REASONS[reason]} (")

    def test_a_name_is_text(self, told: Told) -> None:
        told.connections.report(connection("evil\x1b[2J\u202e.example.org"))
        assert "\x1b" not in told.said[0]
        assert "\u202e" not in told.said[0]

    def test_ps_has_the_last_ones(self, told: Told) -> None:
        for number in range(20):
            told.connections.report(connection(f"n{number}.example.org"))
        assert told.connections.refused == tuple(f"n{number}.example.org:443" for number in range(4, 20))

    def test_it_ends_with_where_the_others_are(self, told: Told) -> None:
        for number in range(200):
            told.connections.report(connection(f"n{number}.example.org"))
        assert len(told.said) == told.changes + 1 == 65
        assert told.said[-1] == "notes: more was refused; `bulkhead trace notes` shows it"
        assert len(told.recorder.records) == 200
