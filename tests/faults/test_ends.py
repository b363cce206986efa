"""Nothing is left behind, however a session ends: the container goes with its host, its runner, or its deadline."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.conftest import containers_of, until
from tests.faults.client import reason

if TYPE_CHECKING:
    import docker

    from tests.conftest import OpenHost

# A server that is well-behaved, one that ignores SIGTERM and the end of stdin, and a call in flight.
CASES = pytest.mark.parametrize(
    ("args", "call"), [((), ""), (("--stay",), ""), ((), "hang"), (("--stay",), "burn")], ids=str
)


@CASES
@pytest.mark.parametrize("end", ["eof", "sigterm", "sigint"])
def test_the_container_goes_within_2_s(
    open_host: OpenHost, daemon: docker.DockerClient, args: tuple[str, ...], call: str, end: str
) -> None:
    host = open_host(*args, call="60s")
    if call:
        host.start(call, seconds=60)
    assert len(containers_of(daemon, host.name)) == 1
    if end == "eof":
        host.end_input()
    else:
        host.process.send_signal(signal.SIGTERM if end == "sigterm" else signal.SIGINT)
    until(lambda: not containers_of(daemon, host.name), 2)
    assert host.wait(2) == (0 if end == "eof" else 130)


@CASES
def test_the_container_goes_within_10_s_of_the_runners_sigkill(
    open_host: OpenHost, daemon: docker.DockerClient, args: tuple[str, ...], call: str
) -> None:
    host = open_host(*args, call="60s")
    if call:
        host.start(call, seconds=60)
    host.process.kill()
    until(lambda: not containers_of(daemon, host.name), 10)


def test_a_host_that_closes_its_ears(open_host: OpenHost, daemon: docker.DockerClient) -> None:
    host = open_host()
    host.deaf()
    for _ in range(3):
        host.start("huge", size=200 * 2**10)
    host.wait(5)
    until(lambda: not containers_of(daemon, host.name), 2)


def test_a_host_that_goes_before_the_server_is_up(open_host: OpenHost, daemon: docker.DockerClient) -> None:
    host = open_host("--start=slow:3", shaken=False)
    host.end_input()
    host.wait(5)
    assert containers_of(daemon, host.name) == []


def test_a_container_that_somebody_else_kills(open_host: OpenHost, daemon: docker.DockerClient) -> None:
    host = open_host(call="30s")
    call = host.start("hang")
    until(lambda: bool(containers_of(daemon, host.name)), 5)
    daemon.api.kill(containers_of(daemon, host.name)[0])
    assert reason(host.answer(call)) in ("lost", "exited")
    assert host.text("echo", text="again") == "again"


def test_a_container_that_somebody_else_removes(open_host: OpenHost, daemon: docker.DockerClient) -> None:
    host = open_host(call="30s")
    call = host.start("hang")
    daemon.api.remove_container(containers_of(daemon, host.name)[0], force=True)
    assert reason(host.answer(call)) in ("lost", "exited")
    assert host.text("echo", text="again") == "again"
