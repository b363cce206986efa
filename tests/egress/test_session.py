"""Egress of a whole session: `bulkhead run` with a profile that has [[egress]], and a server that wants out.

The one name that is allowed is this machine's own, and the sink behind it a test's: what arrives there is looked at,
and so is what is told: to the host, at stderr, in `ps` and in the trace.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import BULKHEAD, run_command, until
from tests.egress.sinks import Sink, echo
from tests.faults.client import Host, reason, said, why
from tests.servers.profiles import SHORT, write_profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

pytestmark = pytest.mark.engine

NAME = socket.gethostname()
OTHER = "api.example.org"


@dataclass
class Session:
    """A runner and its host. state: the folder that it and the commands have in common, and nobody else."""

    host: Host
    state: Path
    daemon: docker.DockerClient

    def containers(self, kind: str = "") -> list[Any]:
        """Those of the session, or its "gate" or its "server" alone, in whatever state."""
        found = self.daemon.containers.list(all=True, filters={"name": f"{self.host.name}-"}, ignore_removed=True)
        gates = [container for container in found if str(container.name).startswith("bulkhead-gate-")]
        return {"": found, "gate": gates, "server": [one for one in found if one not in gates]}[kind]

    def command(self, *words: str) -> str:
        """What a command prints that works on the same state."""
        environment = os.environ | {"XDG_STATE_HOME": str(self.state)}
        done = subprocess.run(
            [*BULKHEAD, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done
        return done.stdout

    def row(self) -> dict[str, Any]:
        """What `ps` has of it."""
        [row] = json.loads(self.command("ps", "--json"))
        found: dict[str, Any] = row
        return found

    def spans(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Those that are called so, once there are so many; the last is the newest."""
        path = self.state / "bulkhead" / "traces" / "spans.jsonl"

        def named() -> list[dict[str, Any]]:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            return [span for span in map(json.loads, lines) if span["name"] == name]

        until(lambda: len(named()) >= count, 10)
        assert len(named()) == count
        return named()

    def told(self) -> str:
        """Stderr so far."""
        return self.host.stderr.decode()


class Opener:
    """Opens sessions in a folder."""

    def __init__(self, folder: Path, daemon: docker.DockerClient, closing: ExitStack) -> None:
        self._folder, self._daemon, self._closing = folder, daemon, closing

    def __call__(self, *ports: int, args: tuple[str, ...] = (), **limits: Any) -> Session:
        """ports: of the one name; none: no [[egress]] at all."""
        profile = write_profile(self._folder, "reaching", name="reaching", args=args, limits=SHORT | limits)
        if ports:
            table = f'\n[[egress]]\nhost = "{NAME}"\nports = {list(ports)}\nprivate = true\n'
            profile.write_text(profile.read_text(encoding="utf-8") + table, encoding="utf-8")
        name = f"{self._folder.name.replace('_', '-')}"[:40]
        named = profile.with_name(f"{name}.toml")
        profile.replace(named)
        state = self._folder / "state"
        host = Host(run_command(named), name=name, state=state)
        self._closing.callback(host.close)
        host.shake()
        return Session(host, state, self._daemon)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink(echo, host="0.0.0.0") as opened:  # noqa: S104 - wherever this machine's name leads
        yield opened


@pytest.fixture
def opened(tmp_path_factory: pytest.TempPathFactory, daemon: docker.DockerClient) -> Iterator[Opener]:
    with ExitStack() as closing:
        yield Opener(tmp_path_factory.mktemp("reaching"), daemon, closing)


# What is told


def test_a_connection_is_a_child_of_its_call(opened: Opener, sink: Sink) -> None:
    session = opened(sink.port)
    assert session.host.text("reach", host=NAME, port=sink.port, say="ping", hold=0.1) == "ping"
    assert sink.data == b"ping"
    [span] = session.spans(f"connect {NAME}:{sink.port}")
    call, sent = sorted(session.spans("tools/call reach", 2), key=lambda span: span["kind"] == "CLIENT")
    assert (span["parent_id"], span["trace_id"], span["links"]) == (sent["span_id"], call["trace_id"], [])
    assert sent["start"] <= span["start"] <= span["end"]
    assert span["end"] - span["start"] >= 100_000_000
    attributes = span["attributes"]
    assert attributes.pop("bulkhead.sandbox.id") == session.row()["id"]
    assert attributes.pop("network.peer.address") in {row[4][0] for row in socket.getaddrinfo(NAME, None)}
    assert attributes.pop("mcp.protocol.version", "2025-11-25") == "2025-11-25"
    assert attributes == {
        "network.transport": "tcp", "server.address": NAME, "server.port": sink.port, "bulkhead.decision": "allow",
        "bulkhead.egress.rule": f"{NAME}:{sink.port}",
        "bulkhead.egress.bytes.sent": 4, "bulkhead.egress.bytes.received": 4,
    }  # fmt: skip
    lines = [line.strip() for line in session.command("trace").splitlines()]
    [place] = [number for number, line in enumerate(lines) if f"connect {NAME}:{sink.port}" in line]
    assert "out 4 B, in 4 B" in lines[place]
    assert "sandbox " in lines[place - 1]
    assert session.told() == ""


def test_with_several_calls_in_flight_it_is_linked_to_all(opened: Opener, sink: Sink) -> None:
    session = opened(sink.port)
    first = session.host.start("reach", host=NAME, port=sink.port, hold=0.5)
    until(lambda: sink.connections == 1, 10)
    second = session.host.start("reach", host=NAME, port=sink.port)
    assert said(session.host.answer(first)) == said(session.host.answer(second)) == "hello"
    spans = sorted(session.spans(f"connect {NAME}:{sink.port}", 2), key=lambda span: span["start"])
    calls = sorted(session.spans("tools/call reach", 4), key=lambda span: span["start"])
    sent = [f"{span['trace_id']}-{span['span_id']}" for span in calls if span["kind"] == "CLIENT"]
    assert [span["links"] for span in spans] == [[], sent]
    assert [bool(span["parent_id"]) for span in spans] == [True, False]


def test_a_refused_name(opened: Opener, sink: Sink) -> None:
    session = opened(sink.port)
    answers = [session.host.call("reach", host=OTHER, port=443) for _ in range(2)]
    for answer in answers:
        assert reason(answer) == "denied"
        assert answer["error"]["message"] == f"tool 'reach' failed: it was refused to reach {OTHER}"
        assert f"the profile grants {NAME}:{sink.port}" in why(answer)
    until(lambda: "ports = [443]" in session.told(), 5)
    assert session.told().count("refused to reach") == 1
    assert f'[[egress]]\n         host = "{OTHER}"\n         ports = [443]' in session.told()
    assert session.row()["refused"] == [OTHER]
    assert {OTHER, session.row()["id"]} <= set(session.command("ps").split())
    span, again = session.spans(f"resolve {OTHER}", 2)
    assert span["parent_id"] != again["parent_id"]
    assert (span["attributes"]["bulkhead.decision"], span["attributes"]["bulkhead.egress.reason"]) == ("deny", "name")
    assert span["attributes"]["error.type"] == "name"
    assert f"resolve {OTHER}" in session.command("trace")
    assert sink.connections == 0


def test_a_refused_address(opened: Opener, sink: Sink) -> None:
    session = opened(sink.port)
    answer = session.host.call("reach", host="127.0.0.1", port=sink.port)
    assert reason(answer) == "denied"
    [span] = session.spans(f"connect 127.0.0.1:{sink.port}")
    assert span["attributes"]["bulkhead.egress.reason"] == "address"
    assert session.row()["refused"] == [f"127.0.0.1:{sink.port}"]
    assert "no rule is for the address, and no name was asked for (address)" in session.told()
    sink.assert_silent()


def test_a_server_that_takes_a_refusal_well_has_not_failed(opened: Opener, sink: Sink) -> None:
    session = opened(sink.port)
    assert "not known" in session.host.text("try_to_reach", host=OTHER, port=443)
    assert len(session.spans(f"resolve {OTHER}")) == 1
    assert session.row()["refused"] == [OTHER]


def test_what_is_allowed_and_not_there_is_no_denial(opened: Opener) -> None:
    with Sink() as gone:
        port = gone.port
    session = opened(port)
    answer = session.host.call("reach", host=NAME, port=port)
    assert answer["result"]["isError"]
    [span] = session.spans(f"connect {NAME}:{port}")
    assert (span["attributes"]["bulkhead.decision"], span["attributes"]["error.type"]) == ("allow", "unreachable")
    assert session.told() == ""
    assert session.row()["refused"] == []


def test_what_a_server_reaches_before_it_is_called_is_told_too(opened: Opener, sink: Sink) -> None:
    session = opened(sink.port, args=(f"--at-start={OTHER}:443",))
    assert session.host.text("echo", said="x") == "x"
    assert len(session.spans(f"resolve {OTHER}")) == 1
    assert session.row()["refused"] == [OTHER]
    assert f"resolve {OTHER}" in session.command("trace")


# Without


def test_an_empty_allowlist_is_no_gate(opened: Opener, sink: Sink) -> None:
    session = opened()
    assert (len(session.containers("gate")), len(session.containers("server"))) == (0, 1)
    for host in (NAME, OTHER, "127.0.0.1"):
        answer = session.host.call("reach", host=host, port=sink.port)
        assert "error" in answer or answer["result"]["isError"]
    assert reason(session.host.call("reach", host=OTHER, port=443)) == "denied"
    sink.assert_silent()


def test_no_proxy_variable_is_given_and_none_is_followed(
    opened: Opener, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sink() as proxy:
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        for name in names:
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        session = opened(sink.port)
        inside = json.loads(session.host.text("environment"))
        assert [name for name in inside if "proxy" in name.lower()] == []
        assert session.host.text("reach", host=NAME, port=sink.port) == "hello"
        proxy.assert_silent()


# How gates begin and end


def test_a_gate_that_dies_ends_its_sandbox_and_the_next_call_has_another(opened: Opener, sink: Sink) -> None:
    session = opened(sink.port, call="30s")
    call = session.host.start("reach", host=NAME, port=sink.port, hold=20)
    until(lambda: sink.connections == 1, 10)
    [gate], [server] = session.containers("gate"), session.containers("server")
    gate.kill()
    answer = session.host.answer(call, 5)
    assert reason(answer) == "lost"
    assert answer["error"]["message"] == "the server has lost its network"
    assert "its gate ended" in why(answer)
    assert session.host.text("reach", host=NAME, port=sink.port) == "hello"
    assert {one.id for one in session.containers()}.isdisjoint({gate.id, server.id})
    assert [len(session.containers(kind)) for kind in ("gate", "server")] == [1, 1]


def test_a_server_that_crashes_has_a_new_gate(opened: Opener, sink: Sink) -> None:
    session = opened(sink.port)
    [gate] = session.containers("gate")
    assert reason(session.host.call("crash")) == "exited"
    assert session.host.text("reach", host=NAME, port=sink.port) == "hello"
    [other] = session.containers("gate")
    assert other.id != gate.id


@pytest.mark.parametrize("end", ["eof", "sigterm", "sigkill"])
def test_both_go_with_the_session(opened: Opener, sink: Sink, end: str) -> None:
    session = opened(sink.port, call="30s")
    session.host.start("reach", host=NAME, port=sink.port, hold=20)
    until(lambda: sink.connections == 1, 10)
    assert len(session.containers()) == 2
    if end == "eof":
        session.host.end_input()
    else:
        session.host.process.send_signal(signal.SIGTERM if end == "sigterm" else signal.SIGKILL)
    until(lambda: not session.containers(), 10 if end == "sigkill" else 2)


def test_both_go_where_the_watcher_was_killed_as_well(opened: Opener, sink: Sink) -> None:
    """What nobody watches any more is ended by its own stdin, and what is left is removed by `gc`."""
    session = opened(sink.port)
    children = Path(f"/proc/{session.host.process.pid}/task/{session.host.process.pid}/children")
    pids = [*map(int, children.read_text().split()), session.host.process.pid]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    session.host.process.wait()
    until(lambda: all(one.status == "exited" for one in session.containers()), 10)
    assert "removed 2 left behind" in session.command("gc")
    assert session.containers() == []


def test_ps_and_stop_know_the_sandbox_and_not_its_gate(opened: Opener, sink: Sink) -> None:
    session = opened(sink.port)
    before = session.row()["id"]
    assert session.command("stop", before) == f"stopped {before}\n"
    until(lambda: not session.containers(), 5)
    assert session.host.text("reach", host=NAME, port=sink.port) == "hello"
    assert session.row()["id"] != before
    assert [len(session.containers(kind)) for kind in ("gate", "server")] == [1, 1]


def test_kill_all_takes_the_gates_along(opened: Opener, sink: Sink) -> None:
    session = opened(sink.port)
    assert ": ended by its runner, after " in session.command("kill", "--all")
    until(lambda: not session.containers(), 5)


# Floods


def _answers_meanwhile(session: Session, flood: int) -> float:
    """The longest that a call takes until the answer to flood is there."""
    longest = 0.0
    while not session.host.answers(flood):
        begun = time.monotonic()
        assert session.host.text("echo", said="x") == "x"
        longest = max(longest, time.monotonic() - begun)
    return longest


def test_calls_go_on_during_a_flood(opened: Opener, sink: Sink) -> None:
    """Of queries, of connections that are reset, and of some that say nothing: each of all is bounded."""
    session = opened(sink.port, call="30s", open_files=1024)
    session.host.text("hold_open", host=NAME, port=sink.port, count=900)
    flood = session.host.start("flood", host=NAME, port=sink.port, seconds=2)
    assert _answers_meanwhile(session, flood) < 1
    assert int(said(session.host.answer(flood))) > 5000
    assert session.host.peak_mib() < 120
    session.host.end_input()
    session.host.wait(10)
    traces = session.state / "bulkhead" / "traces"
    assert sum(path.stat().st_size for path in traces.iterdir()) < 8 * 2**20
    assert len(session.told().splitlines()) < 500


def test_an_upload_that_nobody_reads_is_not_kept(opened: Opener) -> None:
    deaf = socket.create_server(("0.0.0.0", 0), backlog=64)  # noqa: S104 - wherever this machine's name leads
    with deaf:
        port = deaf.getsockname()[1]
        session = opened(port, call="30s", memory="256MiB")
        before = session.host.peak_mib()
        assert 0 < int(session.host.text("pour", host=NAME, port=port, megabytes=500, count=40)) < 500
        assert session.host.peak_mib() - before < 40
        assert session.host.text("echo", said="x") == "x"
