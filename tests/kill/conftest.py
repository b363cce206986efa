"""Hosts with a state folder of their own, so that a kill of all is nobody else's."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from bulkhead.engines import runners
from bulkhead.engines.registry import find_endpoint
from tests.conftest import BULKHEAD, run_command, until
from tests.faults.client import Host
from tests.servers.profiles import SHORT, write_profile

if TYPE_CHECKING:
    from collections.abc import Iterator


class Machine:
    """A state folder, the hosts that use it, and commands about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "bulkhead"
        self.client = docker.APIClient(find_endpoint())
        self.hosts: list[Host] = []
        self.frozen: list[int] = []
        self.environment = os.environ | {"XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}

    def profile(self, *args: str, more: str = "", **limits: Any) -> Path:
        """One of the hostile server's, with a name that nobody else has."""
        name = f"kill-{secrets.token_hex(4)}"
        path = write_profile(self.folder, "hostile", name=name, args=args, limits=SHORT | limits)
        path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
        return path

    def host(self, profile: Path | None = None, **limits: Any) -> Host:
        """A session that has begun."""
        profile = profile or self.profile(call="30s", **limits)
        self.hosts.append(Host(run_command(profile), name=profile.stem, state=self.folder))
        self.hosts[-1].shake()
        return self.hosts[-1]

    def begin(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """`bulkhead WORDS`, which runs."""
        pipe, environment = subprocess.PIPE, self.environment | variables
        return subprocess.Popen([*BULKHEAD, *words], env=environment, stdout=pipe, stderr=pipe, text=True)

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """What `bulkhead WORDS` did."""
        with self.begin(*words, **variables) as process:
            told = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, *told)

    def session(self, host: Host) -> dict[str, Any]:
        """What the state folder says of a host's runner."""
        for path in (self.state / "sessions").glob("*.json"):
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if found["pid"] == host.process.pid:
                return found
        return {}

    def watchers(self, host: Host) -> list[int]:
        """The process that removes what a killed runner leaves, see engines/deadman.py."""
        pid = host.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def freeze(self, host: Host) -> None:
        """Stops a runner, and its watcher, until close()."""
        for pid in (host.process.pid, *self.watchers(host)):
            self.frozen.append(os.pidfd_open(pid))
            signal.pidfd_send_signal(self.frozen[-1], signal.SIGSTOP)

    def containers(self) -> list[str]:
        """Those of this state folder, in whatever state."""
        label = f"{runners.STATE}={runners.state_id(self.state)}"
        return [container["Id"] for container in self.client.containers(all=True, filters={"label": label})]

    def close(self) -> None:
        """Nothing is left, whatever a test did."""
        for process in self.frozen:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
            os.close(process)
        for host in self.hosts:
            host.close()
        for container in self.containers():
            with suppress(docker.errors.APIError):  # its runner's watcher is at it
                self.client.remove_container(container, force=True)
        until(lambda: not self.containers(), 10)
        self.client.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """One of the test's own."""
    machine = Machine(tmp_path)
    yield machine
    machine.close()
