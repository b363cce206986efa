"""Packages that try to reach more than the registry while they are installed: refused, told, and nothing arrives."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from bulkhead.errors import StartError
from tests.egress.sinks import Sink
from tests.supply.index import FILES, VERSION, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

    from tests.supply.conftest import Builder, Inside
    from tests.supply.index import Index

NAME = "gated-3f81"
NPM, PYPI = f"npm:{NAME}@{VERSION}", f"pypi:{NAME}@{VERSION}"
ELSEWHERE = "elsewhere-3f81.invalid"
METADATA = "169.254.169.254"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The registry that this machine's npm and pip are configured with."""
    with serving() as index:
        monkeypatch.setenv("npm_config_registry", index.url)
        monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
        monkeypatch.setenv("PIP_TRUSTED_HOST", index.host)
        yield index


@dataclass(frozen=True)
class Sinks:
    """What nobody may reach: one on the index's own port of another address, one on the bridge's, and one for UDP."""

    same_port: Sink
    bridge: Sink
    udp: socket.socket

    def assert_silent(self) -> None:
        self.same_port.assert_silent()
        self.bridge.assert_silent()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mark:
            mark.sendto(b"a mark", self.udp.getsockname())
        assert self.udp.recv(100) == b"a mark"  # nothing came before


@pytest.fixture
def sinks(index: Index, daemon: docker.DockerClient) -> Iterator[Sinks]:
    gateway = daemon.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"]
    with (
        Sink(host="127.0.0.3", port=index.port) as same_port,
        Sink(host=gateway) as bridge,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        udp.bind((gateway, 0))
        udp.settimeout(10)
        yield Sinks(same_port, bridge, udp)


def _attempts(index: Index, sinks: Sinks) -> dict[str, bytes]:
    """The files of a package that tries."""
    tcp = [
        (index.host, index.port),
        (sinks.same_port.host, sinks.same_port.port),
        (sinks.bridge.host, sinks.bridge.port),
        (index.host, sinks.bridge.port),
        (METADATA, 80),
        (METADATA, index.port),
        (ELSEWHERE, index.port),
    ]
    targets = json.dumps([tcp, [sinks.udp.getsockname()]]).encode()
    here = Path(__file__).parent
    return {"targets.json": targets} | {name: (here / name).read_bytes() for name in ("attempt.py", "attempt.js")}


def _assert_only_the_registry(found: dict[str, Any], index: Index, sinks: Sinks) -> None:
    assert found["tcp"].pop(f"{index.host}:{index.port}") == "answered"
    assert found["tcp"].pop(f"{ELSEWHERE}:{index.port}") == "no name"
    refused = {"ECONNREFUSED", "ECONNRESET", "ConnectionRefusedError", "ConnectionResetError"}
    assert len(found["tcp"]) == 5
    assert set(found["tcp"].values()) <= refused
    assert (found["uid"], found["capabilities"], found["no_new_privs"]) == ("65532", 0, "1")
    assert found["interfaces"] == ["lo"]
    sinks.assert_silent()


@pytest.mark.parametrize("package", [NPM, PYPI])
def test_a_script_of_a_package_sees_the_registry_alone(
    builder: Builder, index: Index, sinks: Sinks, inside: Callable[[str], Inside], package: str
) -> None:
    add = index.add_npm if package == NPM else index.add_wheel
    add(NAME, _attempts(index, sinks))
    image = builder.package(package)
    refused = {line for line in builder.lines if "refused to reach" in line}
    try:
        found = json.loads(inside(image.digest).read("opt/server/outcome.json"))
    finally:
        builder.remove(image.digest)
    _assert_only_the_registry(found, index, sinks)
    assert image.command == (f"/opt/server/bin/{NAME}",)
    targets = (f"{sinks.same_port.host}:{index.port}", f"{METADATA}:{index.port}")
    told = {f"{target}: no rule is for the address, and no name was asked for (address)" for target in targets}
    told.add(f"{ELSEWHERE}: no rule is for the name (name)")
    assert refused == {f"installing {package}: refused to reach {line}" for line in told}


def test_a_package_that_has_to_be_built_is_not_run_at_all(builder: Builder, index: Index, sinks: Sinks) -> None:
    index.add_sdist(NAME, _attempts(index, sinks))
    with pytest.raises(StartError) as caught:
        builder.package(PYPI)
    assert "No matching distribution" in caught.value.why
    assert index.asked == [f"/simple/{NAME}/"] * 2
    assert not [line for line in builder.lines if "refused" in line]
    sinks.assert_silent()


@pytest.mark.parametrize("package", [NPM, PYPI])
def test_a_build_goes_through_the_proxy_of_the_host(
    builder: Builder, index: Index, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_to_the_proxy = f"registry-{ELSEWHERE}"
    monkeypatch.setenv("http_proxy", f"http://localhost:{index.port}")
    monkeypatch.setenv("npm_config_registry", f"http://{known_to_the_proxy}")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{known_to_the_proxy}/simple")
    monkeypatch.setenv("PIP_TRUSTED_HOST", known_to_the_proxy)
    add = index.add_npm if package == NPM else index.add_wheel
    add(NAME, {"attempt.js": b"", "attempt.py": b""})
    builder.remove(builder.package(package).digest)
    assert {urlsplit(url).hostname for url in index.asked} == {known_to_the_proxy, FILES}


def test_every_container_is_a_gate_or_has_no_network_but_a_gates(builder: Builder, index: Index) -> None:
    index.add_wheel(NAME, {"attempt.py": b""})
    image = builder.package(PYPI)
    plans = builder.plans
    builder.remove(image.digest)
    steps = [plan for plan in plans if plan.network != "gate"]
    gates = [plan.id for plan in plans if plan.network == "gate"]
    assert [(plan.command[1], plan.joins) for plan in steps] == [
        ("/mnt/python/urls.sh", ""),
        ("/mnt/python/urls.sh", gates[0]),
        ("/mnt/python/lock.sh", gates[1]),
        ("/mnt/python/install.sh", gates[2]),
    ]
