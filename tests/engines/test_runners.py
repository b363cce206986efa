"""Runners' locks, and the table of engines: no engine takes part."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from bulkhead.engines import registry, runners
from bulkhead.engines.registry import find_endpoint
from bulkhead.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import pathlib, signal, sys
from bulkhead.engines import runners
print(runners.hold(pathlib.Path(sys.argv[1])).id, flush=True)
signal.pause()
"""


def test_a_runner_lives_until_its_process_ends(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        runner = process.stdout.readline().decode().strip()
        assert not runners.is_dead(tmp_path, runner)
        process.kill()
    assert runners.is_dead(tmp_path, runner)
    assert runners.known(tmp_path) == {runner}
    runners.forget(tmp_path, runner)
    assert runners.known(tmp_path) == set()


def test_release_leaves_no_file(tmp_path: Path) -> None:
    runner = runners.hold(tmp_path)
    assert not runners.is_dead(tmp_path, runner.id)
    runner.release()
    assert runners.known(tmp_path) == set()
    assert runners.is_dead(tmp_path, runner.id)
    assert runners.is_dead(tmp_path, "")


def test_the_state_has_one_id_whoever_asks_first(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: runners.state_id(state), range(50)))
    assert len(ids) == 1
    assert [path.name for path in state.iterdir()] == ["id"]
    assert runners.state_id(tmp_path / "other") not in ids


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two places, the first of which has no engine, and no DOCKER_HOST."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(registry, "PLACES", ("/no/such/docker.sock", "{runtime}/docker.sock"))
    return tmp_path


def listen(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def test_the_first_that_answers(places: Path) -> None:
    with listen(places / "docker.sock"):
        assert find_endpoint() == find_endpoint("docker") == f"unix://{places}/docker.sock"


def test_none_that_answers_names_what_was_tried(places: Path) -> None:
    with listen(places / "docker.sock"):
        pass
    with pytest.raises(EngineError) as caught:
        find_endpoint()
    assert "/no/such/docker.sock: No such file or directory" in caught.value.why
    assert f"{places}/docker.sock: Connection refused" in caught.value.why


def test_the_one_asked_for_is_not_exchanged(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listen(places / "docker.sock"):
        monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/host.sock")
        with pytest.raises(EngineError, match="does not answer") as caught:
            find_endpoint()
        assert "/no/such/host.sock" in caught.value.why
        with pytest.raises(EngineError, match="does not answer"):
            find_endpoint("unix:///no/such/setting.sock")


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:2375", "ssh://host", "npipe:////./pipe/docker_engine"])
def test_only_unix_sockets(endpoint: str, places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", endpoint)
    with pytest.raises(EngineError, match="is not used") as caught:
        find_endpoint()
    assert "only unix sockets" in caught.value.why


@pytest.mark.parametrize("setting", ["oci", "kubernetes"])
def test_engines_of_later_versions(setting: str) -> None:
    with pytest.raises(EngineError, match="not part of this version"):
        find_endpoint(setting)
