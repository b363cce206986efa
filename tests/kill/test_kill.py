"""`bulkhead kill` and `release`, with real sandboxes: calls end with the reason, nothing is left, and it holds."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bulkhead import killed
from bulkhead.engines.processes import processes_of
from tests.conftest import run_command, until
from tests.faults.client import Host, reason, why

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kill.conftest import Machine

pytestmark = pytest.mark.engine

NETWORK = '[[egress]]\nhost = "api.example.com"\nports = [443]\n'
KEY = '[[secrets]]\nname = "KEY"\nfrom = "file:{path}"\nuse = "file"\ntools = ["echo"]\n'


def test_a_call_in_flight_ends_with_the_reason_and_nothing_is_left(machine: Machine) -> None:
    host = machine.host()
    call = host.start("sleep", seconds=25)
    command = machine.begin("kill", host.name, "--reason", "it wrote to strangers")
    until((machine.state / "killed" / f"{host.name}.json").exists, 30)  # until then it is only Python that starts
    answer = host.answer(call, within=2)
    told, failed = command.communicate(timeout=30)
    assert (command.returncode, failed) == (0, "")
    assert f"{host.name} (runner {host.process.pid}): ended by its runner, after " in told
    assert f"stays stopped until `bulkhead release {host.name}`" in told
    assert (reason(answer), answer["error"]["code"]) == ("killed", -31003)
    assert "it wrote to strangers" in why(answer)
    assert f"`bulkhead release {host.name}`" in why(answer)
    assert machine.containers() == []


def test_it_stays_stopped_until_it_is_released(machine: Machine) -> None:
    host = machine.host()
    assert machine.command("kill", host.name).returncode == 0
    assert [reason(host.call("echo", text="x")) for _ in range(5)] == ["killed"] * 5
    refused = Host(run_command(machine.folder / f"{host.name}.toml"), name=host.name, state=machine.folder)
    machine.hosts.append(refused)
    assert reason(refused.answer(refused.ask("initialize", {}))) == "killed"
    assert refused.wait(10) == 3
    assert f"{host.name} is killed".encode() in refused.stderr
    assert machine.containers() == []
    assert machine.command("release", host.name).stdout == f"{host.name}: released\n"
    assert host.text("add", a=1, b=2) == "3"
    assert host.strays() == []


def test_another_server_goes_on_unless_all_are_killed(machine: Machine) -> None:
    one, other = machine.host(), machine.host()
    begins = machine.session(one)["sandbox"][:-2]
    assert machine.command("kill", begins).returncode == 0
    assert reason(one.call("echo", text="x")) == "killed"
    assert other.text("echo", text="on") == "on"
    done = machine.command("kill", "--all")
    assert (done.returncode, done.stdout.count("ended by its runner")) == (0, 2)
    assert "killed by " in why(other.call("echo", text="x"))
    assert machine.command("release", one.name).stdout.startswith(f"{one.name}: released\nevery server is killed")
    assert reason(one.call("echo", text="x")) == "killed"
    assert machine.command("release", "--all").returncode == 0
    assert [host.text("echo", text="on") for host in (one, other)] == ["on", "on"]


def test_a_runner_that_hears_nothing_is_killed_with_its_sandbox(machine: Machine) -> None:
    host = machine.host()
    call = host.start("sleep", seconds=25)
    containers = machine.session(host)["containers"]
    assert processes_of(containers)
    host.process.send_signal(signal.SIGSTOP)
    done = machine.command("kill", host.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "its runner did not hear, and was killed" in done.stdout
    assert host.process.wait(5) == -signal.SIGKILL
    assert (processes_of(containers), machine.containers(), host.answers(call)) == ([], [], [])


@contextmanager
def silent_engine(folder: Path) -> Iterator[str]:
    """A socket that takes whoever calls, and never answers."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "silent.sock"))
        sock.listen(16)
        yield f"unix://{folder}/silent.sock"


@pytest.mark.parametrize("stopped", [True, False], ids=["and so does the runner", "alone"])
def test_an_engine_that_hangs_is_not_waited_for(machine: Machine, stopped: bool) -> None:
    host = machine.host(machine.profile("--stay", more=NETWORK, call="30s"))
    call = host.start("sleep", seconds=25)
    containers = machine.session(host)["containers"]
    assert sorted(containers) == sorted(machine.containers()), "the gate's processes must be found too"
    if stopped:
        machine.freeze(host)
    with silent_engine(machine.folder) as endpoint:
        before = time.monotonic()
        done = machine.command("kill", host.name, DOCKER_HOST=endpoint)
    assert done.returncode == 4
    assert "the containers were not removed\n  why: the engine did not answer within 10 s" in done.stderr
    assert 10 < time.monotonic() - before < 30
    assert processes_of(containers) == []
    if stopped:
        assert "its runner did not hear, and was killed; its processes were killed, after " in done.stdout
    else:
        assert reason(host.answer(call)) == "killed"


def test_one_that_has_lost_its_runner_is_ended_too(machine: Machine) -> None:
    host = machine.host()
    for pid in (*machine.watchers(host), host.process.pid):
        os.kill(pid, signal.SIGKILL)
    host.process.wait(5)
    done = machine.command("kill", host.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("no session of it runs\n")
    assert machine.containers() == []


def test_secrets_end_with_the_kill_and_are_there_again_after_it(machine: Machine) -> None:
    key = machine.folder / "key"
    key.write_text("a-value-of-the-test", encoding="utf-8")
    key.chmod(0o600)
    host = machine.host(machine.profile(more=KEY.format(path=key), call="30s"))
    assert host.text("echo", text="on") == "on"
    assert machine.command("kill", host.name).returncode == 0
    assert reason(host.call("echo", text="x")) == "killed"
    assert machine.command("release", host.name).returncode == 0
    assert host.text("echo", text="on") == "on"


def test_both_are_on_record(machine: Machine) -> None:
    host = machine.host()
    machine.command("kill", host.name, "--reason", "a test")
    machine.command("release", host.name)
    text = "".join(path.read_text() for path in (machine.state / "audit").rglob("*") if path.suffix == ".jsonl")
    [kill] = [line for line in text.splitlines() if '"event":"kill"' in line]
    assert all(part in kill for part in (f'"server":"{host.name}"', '"decision":"deny"', '"reason":"killed"', "a test"))
    assert [line for line in text.splitlines() if '"event":"release"' in line]


def test_a_log_that_takes_nothing_does_not_stop_the_kill_but_the_release(machine: Machine) -> None:
    host = machine.host()
    for path in (machine.state / "audit").rglob("*"):
        if path.is_file():
            path.unlink()
            path.mkdir()
    if not (machine.state / "audit").exists():
        (machine.state / "audit").write_text("in the way")
    done = machine.command("kill", host.name)
    assert done.returncode == 8
    assert "audit" in done.stderr
    assert machine.containers() == []
    assert machine.command("release", host.name).returncode == 8
    assert killed.marked(machine.state) == [host.name]


def test_a_mark_that_cannot_be_written_does_not_stop_the_kill(machine: Machine) -> None:
    host = machine.host()
    (machine.state / "killed").write_text("in the way")
    done = machine.command("kill", host.name)
    assert done.returncode == 8
    assert "what was ended may start again\n  why: that it is killed could not be written down" in done.stderr
    assert machine.containers() == []


def test_a_mark_that_comes_during_a_start_ends_it(machine: Machine) -> None:
    """Of such a session `kill` may not know yet, so its runner is not told."""
    host = machine.host(machine.profile(more=NETWORK, call="30s"))
    host.call("crash")
    until(lambda: not machine.containers(), 10)
    call = host.start("echo", text="x")
    until(machine.containers, 10)  # the gate's: the server's comes after it
    killed.mark(machine.state, host.name, "a test", "somebody")
    assert reason(host.answer(call)) == "killed"
    until(lambda: not machine.containers(), 10)
