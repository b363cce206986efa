"""What all suites share: the command that runs Bulkhead, hosts that speak raw frames, and a look at the containers."""

from __future__ import annotations

import secrets
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import docker
import pytest

from tests.faults.client import Host
from tests.servers.profiles import SHORT, write_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

BULKHEAD = [sys.executable, "-m", "bulkhead"]


class OpenHost(Protocol):
    """Opens a host with a hostile server behind Bulkhead; shaken: the legacy handshake is done."""

    def __call__(self, *args: str, shaken: bool = True, server: str = "hostile", **limits: Any) -> Host: ...


def run_command(profile: Path) -> list[str]:
    """What a host's configuration starts."""
    return [*BULKHEAD, "run", "--profile", str(profile)]


@pytest.fixture(scope="session")
def daemon() -> Iterator[docker.DockerClient]:
    """The container engine, to look at what is there."""
    client = docker.from_env()
    yield client
    client.close()


def containers_of(daemon: docker.DockerClient, profile_name: str) -> list[str]:
    """The containers of one profile, in whatever state."""
    return [item["Id"] for item in daemon.api.containers(all=True, filters={"name": f"bulkhead-{profile_name}-"})]


def until(happened: Callable[[], object], within: float) -> float:
    """The seconds until it happened; fails after within seconds."""
    begun = time.monotonic()
    while not happened():
        assert time.monotonic() < begun + within, f"not within {within} s"
        time.sleep(0.02)
    return time.monotonic() - begun


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runners of raw hosts leave their logs and traces, which are no use to anybody."""
    return tmp_path_factory.mktemp("state")


def _opener(folder: Path, state: Path, closing: ExitStack) -> OpenHost:
    def open_host(*args: str, shaken: bool = True, server: str = "hostile", **limits: Any) -> Host:
        name = f"{server}-{secrets.token_hex(4)}"
        profile = write_profile(folder, server, name=name, args=args, limits=SHORT | limits)
        host = Host(run_command(profile), name=name, state=state)
        closing.callback(host.close)
        if shaken:
            host.shake()
        return host

    return open_host


@pytest.fixture
def open_host(tmp_path: Path, state: Path) -> Iterator[OpenHost]:
    """Opens hosts that end with the test."""
    with ExitStack() as closing:
        yield _opener(tmp_path, state, closing)


@pytest.fixture(scope="module")
def open_shared(tmp_path_factory: pytest.TempPathFactory, state: Path) -> Iterator[OpenHost]:
    """Opens hosts that end with the module."""
    with ExitStack() as closing:
        yield _opener(tmp_path_factory.mktemp("profiles"), state, closing)


def ids(names: Sequence[str]) -> list[str]:
    """Test ids without spaces."""
    return [name.replace(" ", "-") for name in names]
