"""What `bulkhead engine` does to a machine, as far as a machine with an engine can show it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.engines import registry, setup
from bulkhead.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(registry, "PLACES", ("/no/such/docker.sock",))


def ensure(state: Path, *, install: bool, setting: str = "auto") -> list[str]:
    said: list[str] = []

    async def main() -> None:
        await setup.ensure_engine(install, said.append, state=state, setting=setting)

    anyio.run(main)
    return said


@pytest.mark.engine
def test_one_that_answers_is_left_alone(tmp_path: Path) -> None:
    assert ensure(tmp_path, install=True) == []
    assert not (tmp_path / "dockerd.log").exists()


@pytest.mark.usefixtures("no_engine")
def test_nothing_is_installed_unasked(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no container engine answers") as caught:
        ensure(tmp_path, install=False)
    assert "docker.io" in caught.value.hint


@pytest.mark.usefixtures("no_engine")
def test_an_endpoint_that_was_asked_for_is_not_exchanged(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="does not answer"):
        ensure(tmp_path, install=True, setting="unix:///no/such/other.sock")


@pytest.mark.usefixtures("no_engine")
def test_only_root_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EngineError) as caught:
        ensure(tmp_path, install=True)
    assert caught.value.why == "only root can install one"


@pytest.mark.usefixtures("no_engine")
def test_no_debian_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError) as caught:
        ensure(tmp_path, install=True)
    assert caught.value.why == "this is no Debian or Ubuntu"
    assert "docker.io" in caught.value.hint


@pytest.mark.usefixtures("no_engine")
def test_a_daemon_that_ends_tells_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = tmp_path / "dockerd"
    daemon.write_text("#!/bin/sh\necho no iptables here >&2\nexit 1\n")
    daemon.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(setup, "SYSTEMD", tmp_path / "none")
    monkeypatch.setattr(setup, "PID_FILE", tmp_path / "docker.pid")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(EngineError, match="dockerd did not start") as caught:
        ensure(tmp_path / "state", install=True)
    assert caught.value.why == "no iptables here"


@pytest.mark.parametrize("pid", [str(os.getpid()), "4194305", ""], ids=["alive", "dead", "empty"])
def test_a_stale_pid_file_goes(pid: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "PID_FILE", tmp_path / "docker.pid")
    (tmp_path / "docker.pid").write_text(pid)
    setup._remove_stale_pid_file()
    assert not (tmp_path / "docker.pid").exists()


def test_a_package_s_own_start_is_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(setup, "POLICY", policy)
    monkeypatch.setattr(setup, "SYSTEMD", tmp_path / "none")
    with setup._no_service_starts():
        assert os.access(policy, os.X_OK)
        assert policy.read_text().endswith("exit 101\n")
    assert not policy.exists()
    policy.write_text("the machine's own")
    with setup._no_service_starts():
        pass
    assert policy.read_text() == "the machine's own"
