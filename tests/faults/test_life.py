"""Servers that die, hang or take too much: the cause is named, the sandbox goes, and the next call has a new one."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import containers_of, until
from tests.faults.client import reason, said, why

if TYPE_CHECKING:
    import docker

    from tests.conftest import OpenHost
    from tests.faults.client import Host


def _again(host: Host) -> None:
    """A restarted server answers as if nothing had been: its handshake was replayed."""
    assert host.text("add", a=1, b=2) == "3"
    assert host.strays() == []


def test_a_crash_is_named_with_its_code_and_last_words(open_host: OpenHost) -> None:
    host = open_host()
    answer = host.call("crash", code=3)
    assert reason(answer) == "exited"
    assert "exited 3" in why(answer)
    assert "out of cheese" in why(answer)
    _again(host)
    assert json.loads(host.text("client"))["clientInfo"] == {"name": "raw", "version": "1"}


def test_kill_9_of_itself(open_host: OpenHost) -> None:
    host = open_host()
    answer = host.call("kill_self")
    assert reason(answer) in ("exited", "lost")
    _again(host)


def test_a_hang_takes_every_call_in_flight_along(open_host: OpenHost) -> None:
    host = open_host()
    first = host.text("pid")
    begun = time.monotonic()
    hanging = host.start("hang")
    sleeping = host.start("sleep", seconds=60)
    assert reason(host.answer(hanging)) == "timeout"
    assert 2 <= time.monotonic() - begun < 4
    assert reason(host.answer(sleeping)) == "timeout"
    _again(host)
    assert host.text("pid") != first


def test_a_hang_at_start(open_host: OpenHost) -> None:
    host = open_host("--start=hang", shaken=False, start="2s")
    answer = host.answer(host.ask("initialize", _HELLO))
    assert reason(answer) == "timeout"
    assert "start" in why(answer)


def test_a_crash_at_start(open_host: OpenHost) -> None:
    host = open_host("--start=crash", shaken=False)
    answer = host.answer(host.ask("initialize", _HELLO))
    assert reason(answer) == "exited"
    assert "cannot find my configuration" in why(answer)
    host.end_input()
    assert host.wait(5) == 5


_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}


def test_three_restarts_a_minute(open_host: OpenHost) -> None:
    host = open_host()
    for _ in range(4):
        assert reason(host.call("crash")) == "exited"
    answer = host.call("echo")
    assert reason(answer) == "restarts"
    assert "3" in why(answer)


def test_a_modern_server_starts_again(open_host: OpenHost) -> None:
    host = open_host(shaken=False)
    meta = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
    meta["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {}  # type: ignore[assignment]
    assert "result" in host.answer(host.ask("server/discover", meta), 30)
    crash = host.ask("tools/call", {"name": "crash", **meta})
    assert reason(host.answer(crash)) == "exited"
    call = host.ask("tools/call", {"name": "echo", "arguments": {"text": "again"}, **meta})
    assert said(host.answer(call)) == "again"


def test_a_daemon_does_not_outlive_its_server(open_host: OpenHost, daemon: docker.DockerClient) -> None:
    host = open_host()
    assert reason(host.call("daemon")) == "exited"
    until(lambda: not containers_of(daemon, host.name), 3)
    heard = len(host.frames)
    _again(host)
    late = [frame for frame in host.frames[heard:] if frame.get("method") == "notifications/message"]
    assert late == []


def test_a_server_that_closes_its_stdout(open_host: OpenHost) -> None:
    host = open_host()
    # An init that shares the stdout keeps it open: then only the deadline tells.
    assert reason(host.call("close_stdout")) in ("lost", "timeout")
    _again(host)


def test_memory(open_host: OpenHost) -> None:
    host = open_host()
    answer = host.call("memory", mib=200)
    assert reason(answer) == "oom"
    assert "limits.memory" in why(answer)
    _again(host)


def test_memory_of_a_child(open_host: OpenHost) -> None:
    """The kernel kills the child and the server may answer yet; but what else is in flight is told why it ends."""
    host = open_host(call="30s")
    waiting = host.start("sleep", seconds=60)
    hungry = host.start("memory", mib=200, child=True)
    assert reason(host.answer(waiting)) == "oom"
    answer = host.answer(hungry)
    assert said(answer) == "child: -9" if "result" in answer else reason(answer) == "oom"
    _again(host)


def test_a_fork_bomb(open_host: OpenHost) -> None:
    """The bomb may answer the moment that a fork is refused; what else is in flight is told why the sandbox ends."""
    host = open_host(call="30s")
    waiting = host.start("sleep", seconds=60)
    bomb = host.start("fork_bomb")
    assert reason(host.answer(waiting)) == "pids"
    answer = host.answer(bomb)
    assert said(answer) == "refused: EAGAIN" if "result" in answer else reason(answer) == "pids"
    _again(host)


@pytest.mark.parametrize("inodes", [False, True], ids=["bytes", "inodes"])
def test_a_full_tmp(open_host: OpenHost, inodes: bool) -> None:
    host = open_host()
    filled = host.start("fill", inodes=inodes)
    waiting = host.start("sleep", seconds=60)
    assert reason(host.answer(waiting)) == "tmp"
    answer = host.answer(filled)
    assert said(answer).startswith("ENOSPC") if "result" in answer else reason(answer) == "tmp"
    _again(host)


def test_a_processor_hog_is_slowed_and_stopped(open_host: OpenHost) -> None:
    host = open_host(cpus=0.5)
    answer = host.call("burn", seconds=60, processes=2)
    assert reason(answer) == "timeout"
    _again(host)


def test_open_files_end_at_the_limit(host: Host) -> None:
    code, _, count = host.text("descriptors").partition(" after ")
    assert code == "EMFILE"
    assert int(count) < 64


def test_orphans_are_reaped(host: Host) -> None:
    assert int(host.text("zombies", count=20)) <= 4


@pytest.mark.parametrize("newline", [True, False], ids=["lines", "one-line"])
def test_a_flood_of_stderr(host: Host, newline: bool) -> None:
    assert host.text("stderr_flood", mib=8, newline=newline) == "written"
    assert host.peak_mib() < 120


def test_a_huge_result(host: Host) -> None:
    assert len(host.text("huge", size=200 * 2**10)) == 200 * 2**10
    answer = host.call("huge", size=300 * 2**10)
    assert reason(answer) == "output"
    assert "limits.output" in why(answer)


def test_a_result_over_the_largest_message(host: Host) -> None:
    assert reason(host.call("huge", size=2 * 2**20)) == "message"


def test_calls_a_minute(open_host: OpenHost) -> None:
    host = open_host(calls_per_minute=3)
    answers = [host.call("echo", text="x") for _ in range(4)]
    assert [said(answer) for answer in answers[:3]] == ["x"] * 3
    assert reason(answers[3]) == "rate"
    assert "result" in host.answer(host.ask("tools/list")), "only calls are counted"


def test_calls_at_once(open_host: OpenHost) -> None:
    host = open_host(concurrent_calls=2)
    first, second = host.start("sleep", seconds=0.8), host.start("sleep", seconds=0.8)
    assert reason(host.call("echo", text="third")) == "concurrency"
    assert said(host.answer(first)) == said(host.answer(second)) == "slept"
    assert host.text("echo", text="now") == "now"


_ENVIRONMENT = {
    "HOME", "HOSTNAME", "LANG", "LC_CTYPE", "NO_UPDATE_NOTIFIER", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH",
    "PYTHONUNBUFFERED", "TMPDIR", "XDG_CACHE_HOME", "npm_config_update_notifier",
}  # fmt: skip


def test_nothing_of_the_runner_is_seen_inside(host: Host) -> None:
    status = json.loads(host.text("whoami"))
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    inside = json.loads(host.text("env"))
    assert inside.keys() <= _ENVIRONMENT
    assert inside["HOME"] == "/home/bulkhead"
    assert host.text("connect", host="198.51.100.1", port=443) in ("OSError", "ConnectionRefusedError")


def test_what_a_dead_server_asked_is_withdrawn(open_host: OpenHost) -> None:
    host = open_host()
    host.text("flood", method="roots/list", count=1, ask=True)
    asked = host.wait_for(lambda frame: frame.get("method") == "roots/list")
    assert reason(host.call("crash")) == "exited"
    withdrawn = host.wait_for(lambda frame: frame.get("method") == "notifications/cancelled")
    assert withdrawn["params"]["requestId"] == asked["id"]
    heard = len(host.frames)
    host.send(id=asked["id"], result={"roots": []})
    _again(host)
    assert len(host.frames) == heard + 1, "a late answer is nobody's fault"


def test_requests_wait_for_a_restart(open_host: OpenHost) -> None:
    host = open_host("--start=slow:0.5")
    crash = host.start("crash")
    assert reason(host.answer(crash)) == "exited"
    calls = [host.start("echo", text=str(number)) for number in range(5)]
    assert [said(host.answer(call)) for call in calls] == ["0", "1", "2", "3", "4"]


def test_a_legacy_server_refuses_the_modern_era_itself(open_host: OpenHost) -> None:
    host = open_host("--legacy", shaken=False)
    answer = host.answer(host.ask("server/discover"))
    assert answer["error"]["code"] == -32601, "the server's own error is passed on unchanged"
    host.shake()
    _again(host)
