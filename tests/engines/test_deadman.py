"""A runner that is killed leaves nothing: a real process, a real container, and SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from bulkhead.engines import runners
from tests.conftest import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

RUNNER = """
import pathlib, signal, sys
import anyio
from bulkhead.engines import deadman, runners
held = runners.hold(pathlib.Path(sys.argv[1]))
watcher = deadman.watch(held)
from bulkhead.engines.docker import DockerEngine
from tests.engines.conftest import make_plan

async def main():
    engine = DockerEngine(sys.argv[2], state=pathlib.Path(sys.argv[1]), runner=held.id)
    sandbox = await engine.start(make_plan(sys.argv[3])("stubborn"))
    if sys.argv[4] == "freeze":
        await sandbox.freeze()
    print(watcher.pid, sandbox.id, flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)
    await engine.close()

anyio.run(main)
watcher.dismiss()
held.release()
"""


class Running:
    """A runner's process with one stubborn sandbox."""

    def __init__(self, state: Path, endpoint: str, image: str, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, state, endpoint, image, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        watcher, self.sandbox = self.process.stdout.readline().decode().split()
        self.watcher = Path("/proc") / watcher

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(params=["run", "freeze"])
def running(
    request: pytest.FixtureRequest, tmp_path: Path, endpoint: str, image: str, client: docker.APIClient
) -> Iterator[Running]:
    running = Running(tmp_path, endpoint, image, request.param)
    yield running
    running.end()
    until(lambda: not left(client, running), 10)


@pytest.fixture
def client(endpoint: str) -> Iterator[docker.APIClient]:
    client = docker.APIClient(endpoint)
    yield client
    client.close()


def left(client: docker.APIClient, running: Running) -> bool:
    return bool(client.containers(all=True, filters={"label": f"bulkhead.sandbox={running.sandbox}"}))


def test_nothing_is_left_after_sigkill(running: Running, client: docker.APIClient, tmp_path: Path) -> None:
    assert left(client, running)
    assert [runners.is_dead(tmp_path, runner) for runner in runners.known(tmp_path)] == [False]
    running.end()
    assert [runners.is_dead(tmp_path, runner) for runner in runners.known(tmp_path)] == [True], "the watcher holds it"
    assert until(lambda: not left(client, running), 10) < 10


def test_the_watcher_outlives_the_signals_of_the_group(running: Running, client: docker.APIClient) -> None:
    watcher = int(running.watcher.name)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(watcher, number)
    assert os.getsid(watcher) == watcher
    os.killpg(running.process.pid, signal.SIGKILL)
    assert until(lambda: not left(client, running), 10) < 10


def test_the_watcher_goes_with_a_runner_that_ends_well(running: Running, client: docker.APIClient) -> None:
    begun = time.monotonic()
    out, _ = running.process.communicate(b"\n", timeout=30)  # returns at the end of stdout, which nobody else holds
    assert (running.process.returncode, out) == (0, b"")
    assert not running.watcher.exists()
    assert not left(client, running)
    assert time.monotonic() - begun < 10


def test_the_watcher_is_small(running: Running) -> None:
    rollup = (running.watcher / "smaps_rollup").read_text().splitlines()
    sizes = {row.split(":")[0]: int(row.split()[1]) for row in rollup[1:]}
    assert sizes["Private_Dirty"] + sizes["Private_Clean"] < 8192
    assert (running.watcher / "comm").read_text() == "bulkhead-watch\n"
    files = {os.readlink(file) for file in (running.watcher / "fd").iterdir()}  # noqa: PTH115
    assert {file for file in files if not file.startswith(("/dev/null", "pipe:"))} == {
        file for file in files if "/runners/" in file
    }
