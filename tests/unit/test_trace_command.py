"""`bulkhead trace`: what a person and a program see of the last calls."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead import telemetry as names
from bulkhead.telemetry import Telemetry, TelemetrySettings
from bulkhead.trace_file import SpanLine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkhead.telemetry import Call

_COMMAND = [sys.executable, "-m", "bulkhead", "trace"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and 80 columns."""
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH", "LANG", "LC_ALL")}
    return kept | {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "TZ": "UTC"}


@pytest.fixture
def trace(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command, its output to a pipe."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*_COMMAND, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., None]:
    """Writes the calls that a function makes to the trace file."""

    def write(make: Callable[[Telemetry], object], server: str = "everything") -> None:
        telemetry = Telemetry(TelemetrySettings(), resource={names.SERVER: server}, state=tmp_path / "bulkhead")
        telemetry.sandbox_started("sandbox-1")
        make(telemetry)
        telemetry.close(30)
        assert telemetry.dropped == 0

    return write


def call(telemetry: Telemetry, name: str = "echo", error: str = "", **begin: Any) -> Call:
    """A call with times that were chosen: 250 ms, of which the sandbox took 200."""
    arguments: dict[str, Any] = {"request_id": 1, "name": name} | begin
    made = telemetry.begin("tools/call", **arguments)
    made.sent()
    made.answered()
    made.begun_at -= 250_000_000
    made.sent_at = made.begun_at + 50_000_000
    made.answered_at = made.sent_at + 200_000_000
    made.end(error)
    return made


def on_a_terminal(environment: dict[str, str]) -> bytes:
    """What the command shows on one."""
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb") as terminal:
        with os.fdopen(follower, "wb") as output:
            command = subprocess.run(
                _COMMAND, env=environment | {"TERM": "xterm"}, stdout=output, check=False, timeout=60
            )
            output.write(b"\nend\n")
        shown = b"".join(iter(terminal.readline, b"end\r\n"))
    assert command.returncode == 0
    return shown


def test_a_call_is_a_tree(record: Any, trace: Any) -> None:
    def one(telemetry: Telemetry) -> None:
        made = telemetry.begin("tools/call", request_id=1, name="echo")
        made.begun_at -= 250_000_000
        made.event("approval", by="person")
        made.sent()
        for key, value in (
            (names.CPU_SECONDS, 0.0123), (names.THROTTLED_SECONDS, 1.5), (names.MEMORY_PEAK, 48 << 20),
            (names.BYTES_IN, 120), (names.BYTES_OUT, 2222), (names.LIMIT, "tmp"),
        ):  # fmt: skip
            made.set(key, value)
        made.end("tool_error")

    record(one)
    done = trace()
    assert (done.returncode, done.stderr) == (0, "")
    head, used, event, sandbox = done.stdout.splitlines()
    assert re.fullmatch(r"\d\d-\d\d [\d:]{8}  everything  tools/call echo  25\d ms  tool_error  limit tmp", head)
    assert used.endswith("cpu 12.3 ms, held back 1.5 s, memory peak 48.0 MiB, in 120 B, out 2.2 KiB")
    assert re.search(r"\+25\d ms  approval  by=person$", event)
    assert re.search(r"sandbox sandbox-1  \d+ us  tool_error$", sandbox)


def test_decisions_restarts_and_losses_are_told(record: Any, trace: Any) -> None:
    def three(telemetry: Telemetry) -> None:
        denied = telemetry.begin("tools/call", request_id=1, name="rm")
        denied.set(names.DECISION, "deny")
        denied.set(names.DROPPED, 3)
        denied.end("denied")
        telemetry.sandbox_started("sandbox-2")
        call(telemetry)

    record(three)
    lines = trace().stdout.splitlines()
    assert lines[0].endswith("tools/call echo  250 ms  restarted")
    assert lines[1].endswith("sandbox sandbox-2  200 ms")
    assert lines[2].endswith("denied  deny  (3 before are lost)")
    assert len(lines) == 3, "what was denied was not sent"


def test_what_a_server_asked_during_a_call_stands_under_it(record: Any, trace: Any) -> None:
    def nested(telemetry: Telemetry) -> None:
        outer = call(telemetry)
        asked = telemetry.begin("sampling/createMessage", request_id=9, parent=outer.traceparent, from_host=False)
        asked.sent()
        asked.end()

    record(nested)
    lines = trace().stdout.splitlines()
    assert [re.findall(r"[a-z].*", line)[0].split()[0] for line in lines] == [
        "everything",
        "sandbox",
        "everything",
        "host",
    ]
    indents = [re.match(r"\W*", line) for line in lines]
    assert [len(indent[0]) if indent else None for indent in indents] == [0, 4, 8, 12]


def connected(telemetry: Telemetry, *calls: Call, name: str = "connect a.example:443", **more: Any) -> None:
    """A connection of 3 ms; more are attributes, without what they begin with."""
    found = {names.SERVER_ADDRESS: "a.example", names.DECISION: "allow"}
    found |= {f"bulkhead.{key.replace('_', '.')}": value for key, value in more.items()}
    times = (1_795_246_065_000_000_000, 1_795_246_065_003_000_000)
    telemetry.connected(name, times, found, error_type=str(more.get("egress_reason", "")), calls=calls)


def test_connections_stand_under_the_calls_during_which_they_began(record: Any, trace: Any) -> None:
    def some(telemetry: Telemetry) -> None:
        first, second = call(telemetry, "one"), call(telemetry, "two")
        connected(telemetry, first, egress_bytes_sent=2048, egress_bytes_received=0)
        connected(telemetry, first, name="connect b.example:80", decision="deny", egress_reason="host")
        connected(telemetry, first, second, name="connect c.example:22", egress_reason="unreachable")

    record(some)
    one, sandbox, a, b, c, two, other, again = (line.strip() for line in trace().stdout.splitlines())
    assert ("tools/call one" in one, "tools/call two" in two) == (True, True)
    assert sandbox.endswith("sandbox sandbox-1  200 ms")
    assert other.endswith("sandbox sandbox-1  200 ms")
    assert a.endswith("connect a.example:443  3 ms  out 2.0 KiB")
    assert b.endswith("connect b.example:80  3 ms  refused: host")
    assert c.endswith("connect c.example:22  3 ms  unreachable")
    assert again.endswith("connect c.example:22  3 ms  unreachable")


def test_a_connection_of_no_call_stands_alone(record: Any, trace: Any) -> None:
    record(lambda telemetry: connected(telemetry, decision="deny", egress_reason="name", name="resolve a.example"))
    [line] = trace().stdout.splitlines()
    assert line.endswith("everything  resolve a.example  3 ms  name  deny")


def test_a_connection_of_a_call_that_was_never_sent_or_goes_on_stands_alone(record: Any, trace: Any) -> None:
    """It is no less worth seeing: that of a server that hangs, say."""

    def some(telemetry: Telemetry) -> None:
        unsent = telemetry.begin("tools/call", request_id=1, name="unsent")
        unsent.end("start")
        connected(telemetry, unsent)
        going_on = telemetry.begin("tools/call", request_id=2, name="going-on")
        going_on.sent()
        connected(telemetry, going_on, unsent, name="connect b.example:443")

    record(some)
    lines = trace().stdout.splitlines()
    assert sorted(line.partition("everything  ")[2].partition("  ")[0] for line in lines) == [
        "connect a.example:443", "connect b.example:443", "tools/call unsent",
    ]  # fmt: skip


def test_connections_of_older_calls_are_not_counted_as_calls(record: Any, trace: Any) -> None:
    def some(telemetry: Telemetry) -> None:
        connected(telemetry, call(telemetry, "old"))
        call(telemetry, "new")

    record(some)
    lines = trace("--last", "1").stdout.splitlines()
    assert ["tools/call new" in lines[0], len(lines)] == [True, 2]


def test_connections_that_were_only_counted_are_told(record: Any, trace: Any) -> None:
    def some(telemetry: Telemetry) -> None:
        connected(telemetry, call(telemetry), decision="deny", egress_reason="rate", dropped=70)

    record(some)
    assert trace().stdout.splitlines()[-1].endswith("refused: rate  (70 before are not shown)")


def test_the_last_ones_of_one_server(record: Any, trace: Any) -> None:
    for server in ("one", "two"):
        record(lambda telemetry: [call(telemetry, f"tool-{number}") for number in range(30)], server)
    assert len(re.findall("tools/call", trace().stdout)) == 20
    lines = trace("one", "--last", "3").stdout.splitlines()
    assert [re.findall(r"one +tools/call (\S+)", line) for line in lines[::2]] == [
        ["tool-27"],
        ["tool-28"],
        ["tool-29"],
    ]


def test_json_is_the_spans(record: Any, trace: Any) -> None:
    record(lambda telemetry: [call(telemetry, "a"), call(telemetry, "b")])
    server, client = json.loads(trace("--json", "--last", "1").stdout)
    assert (server["kind"], client["kind"], client["parent_id"]) == ("SERVER", "CLIENT", server["span_id"])
    assert server["attributes"]["gen_ai.tool.name"] == "b"
    assert sorted(server) == sorted(field.name for field in fields(SpanLine))


def test_nothing_recorded_is_no_error(trace: Any, tmp_path: Path) -> None:
    done = trace("nobody")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "bulkhead: no calls of nobody are recorded\n")
    assert trace("--json").stdout == "[]\n"
    assert list(tmp_path.iterdir()) == [], "reading made something"


@pytest.mark.parametrize("last", ["0", "-1", "x", "1e3", "\u0663", "9999999"])
def test_a_number_that_is_none_is_a_usage_error(trace: Any, last: str) -> None:
    done = trace(f"--last={last}")
    assert done.returncode == 2
    assert "a whole number from 1" in done.stderr


def test_names_of_others_reach_the_terminal_as_text(tmp_path: Path, trace: Any) -> None:
    evil = "[red]x[/red] [link=file:///etc]y[/] :smile: \x1b]0;title\x07\u202e"
    line = {
        "trace_id": "1", "span_id": "2", "parent_id": "", "name": evil, "kind": "SERVER", "start": 10**30, "end": 2,
        "status": "ERROR", "attributes": {evil: evil, "error.type": evil, "bulkhead.cpu.seconds": "x"},
        "events": [{"name": evil, "attributes": {evil: [evil]}}, {}], "resource": {"bulkhead.server": evil},
    }  # fmt: skip
    (tmp_path / "bulkhead" / "traces").mkdir(parents=True)
    (tmp_path / "bulkhead" / "traces" / "spans.jsonl").write_text(json.dumps(line) + "\n")
    done = trace()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("[red]x[/red]") >= 4
    assert ":smile:" in done.stdout
    assert not set("\x1b\x07\u202e") & set(done.stdout)


def test_a_terminal_of_80_columns_is_enough(record: Any, environment: dict[str, str]) -> None:
    record(lambda telemetry: call(telemetry, "X" * 200))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(environment | {"COLUMNS": "80"}).decode())
    assert max(len(line) for line in shown.splitlines()) == 80
    assert shown.count("X") == 200


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals(
    record: Any, environment: dict[str, str], extra: dict[str, str], coloured: bool
) -> None:
    record(lambda telemetry: call(telemetry, error="tool_error"))
    shown = on_a_terminal(environment | extra)
    assert b"tools/call echo" in shown
    assert (re.search(rb"\x1b\[3[0-9]", shown) is not None) is coloured


def test_the_sdk_is_not_imported_to_read(record: Any, environment: dict[str, str]) -> None:
    record(call)
    code = """
import sys
from bulkhead.cli import main
main(["trace"])
heavy = {name.partition(".")[0] for name in sys.modules} & {"opentelemetry", "docker", "mcp", "pydantic"}
sys.exit(", ".join(heavy) or 0)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
