"""What the engine keeps of a sandbox: nothing of its stdio, and no variable but the plan's. Takes root on the host."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docker.errors import APIError

from bulkhead.engines.runners import RUNNER, SANDBOX, SERVER, STATE
from tests.security import inside

if TYPE_CHECKING:
    import docker

    from tests.conftest import OpenHost
    from tests.security.guest import Guest

pytestmark = pytest.mark.engine


def test_what_passes_over_stdio_is_kept_nowhere(guest: Guest, daemon: docker.DockerClient) -> None:
    word = secrets.token_hex(16)
    assert guest.ask(inside.echo, word) == word
    attributes = daemon.api.inspect_container(guest.container["Id"])
    assert attributes["HostConfig"]["LogConfig"] == {"Type": "none", "Config": {}}
    assert attributes["LogPath"] == ""
    assert word not in json.dumps(attributes)
    with pytest.raises(APIError, match="does not support reading"):
        daemon.api.logs(guest.container["Id"])
    folder = Path(daemon.info()["DockerRootDir"]) / "containers" / guest.container["Id"]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"config.v2.json", "hostconfig.json"}
    assert [path for path in files if word.encode() in path.read_bytes()] == []


def test_only_the_plans_variables_are_known_to_the_engine(guest: Guest, daemon: docker.DockerClient) -> None:
    attributes = daemon.api.inspect_container(guest.container["Id"])
    assert attributes["Config"]["Env"] == [f"{name}={value}" for name, value in guest.plan.env.items()]
    of_the_image = {"bulkhead.image", "bulkhead.recipe", "bulkhead.release"}
    assert attributes["Config"]["Labels"].keys() - of_the_image == {RUNNER, SANDBOX, SERVER, STATE}


def test_neither_arguments_nor_results_are_in_the_state_folder(open_host: OpenHost, state: Path) -> None:
    """Its trace and its log have been written when the runner has ended."""
    word = secrets.token_hex(16)
    host = open_host()
    assert host.text("echo", text=word) == word
    host.end_input()
    assert host.wait(10) == 0
    files = [path for path in state.rglob("*") if path.is_file()]
    assert any(host.name.encode() in path.read_bytes() for path in files)
    assert [path for path in files if word.encode() in path.read_bytes()] == []
