"""What `run`, `call` and `tools` share, before a server starts, and what is left where one does not get that far."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from bulkhead.engines import runners
from bulkhead.engines.registry import find_endpoint
from tests.conftest import BULKHEAD, until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROFILE = '[server]\nimage = "bulkhead/python"\ncommand = ["cat"]\n'
NETWORK = '[[egress]]\nhost = "api.example.org"\nports = [443]\n'


class Machine:
    """A state folder of its own, the runners that were started with it, and their containers."""

    def __init__(self, folder: Path, client: docker.APIClient) -> None:
        self.profile = folder / "server.toml"
        self.profile.write_text(PROFILE, encoding="utf-8")
        self.environment = os.environ | {"XDG_STATE_HOME": str(folder)}
        self._label = f"{runners.STATE}={runners.state_id(folder / 'bulkhead')}"
        self._client = client

    def run(self) -> subprocess.Popen[bytes]:
        command = [*BULKHEAD, "run", "--profile", str(self.profile)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment)

    def containers(self, **filters: str) -> list[str]:
        found = self._client.containers(all=True, filters={"label": self._label, **filters})
        return [container["Id"] for container in found]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    client = docker.APIClient(find_endpoint())
    machine = Machine(tmp_path, client)
    yield machine
    for container in machine.containers():
        client.remove_container(container, force=True)
    client.close()


def test_an_engine_that_is_not_there_is_not_replaced(tmp_path: Path) -> None:
    profile = tmp_path / "server.toml"
    profile.write_text('[server]\nimage = "bulkhead/python"\ncommand = ["true"]\n[sandbox]\nengine = "oci"\n')
    command = [*BULKHEAD, "call", "--profile", str(profile), "tool"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "the engine 'oci' is not part of this version" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("network", ["", NETWORK], ids=["alone", "with a gate"])
def test_a_start_that_is_interrupted_leaves_nothing(machine: Machine, number: signal.Signals, network: str) -> None:
    """The container, or its gate's, is made before there is an event loop, by a thread that no signal ends."""
    machine.profile.write_text(PROFILE + network)
    runner = machine.run()
    until(machine.containers, 10)
    runner.send_signal(number)
    runner.communicate()
    assert runner.returncode in (130, -number)
    until(lambda: not machine.containers(), 10)


def test_every_start_removes_what_a_crash_has_left(machine: Machine) -> None:
    crashed = machine.run()
    until(lambda: machine.containers(status="running"), 10)
    [watcher] = Path(f"/proc/{crashed.pid}/task/{crashed.pid}/children").read_text().split()
    for pid in (int(watcher), crashed.pid):
        os.kill(pid, signal.SIGKILL)
    crashed.communicate()
    [left] = machine.containers()
    runner = machine.run()
    until(lambda: left not in machine.containers() and machine.containers(status="running"), 10)
    runner.communicate(b"")
    assert machine.containers() == []
