"""Images of a registry of the test's own: pulled by digest, and nothing of their settings takes effect."""

from __future__ import annotations

import io
import shutil
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bulkhead.errors import EngineError
from bulkhead.resources import folder
from bulkhead.spec import Server
from bulkhead.supply import bases, images
from bulkhead.supply.recipes import recipe
from tests.supply.registry import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker

    from bulkhead.supply.recipes import Recipe
    from tests.supply.conftest import Builder, Inside

CONFIG = {
    "User": "0",
    "Env": ["LD_PRELOAD=/evil.so", "PATH=/evil"],
    "Entrypoint": ["/evil"],
    "Cmd": ["evil"],
    "Volumes": {"/data": {}},
    "WorkingDir": "/evil",
    "Labels": {"evil": "1", "bulkhead.command": '["/evil"]'},
    "StopSignal": "SIGWINCH",
    "ExposedPorts": {"80/tcp": {}},
    "Healthcheck": {"Test": ["CMD", "/evil"], "Interval": 10**9},
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A layer with one file."""
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("hello")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    return path


@pytest.fixture
def pulled(builder: Builder) -> Iterator[list[str]]:
    """References to remove."""
    references: list[str] = []
    yield references
    builder.remove(*references)


def test_the_settings_of_an_image_take_no_effect(
    builder: Builder, small: Path, daemon: docker.DockerClient, pulled: list[str], inside: Callable[[str], Inside]
) -> None:
    with serving(small, CONFIG) as reference:
        server = Server(image=reference, command=("/hello",))
        image = builder.image(server)
        pulled += [image.name, reference]
    assert inside(image.digest).read("hello") == b"hello"
    assert (image.command, image.lock_sha256) == ((), "")
    config = daemon.images.get(image.digest).attrs["Config"]
    labels = config.pop("Labels")
    assert labels == {"bulkhead.image": image.name, "bulkhead.source": reference}
    assert not [name for name, value in config.items() if value and name not in ("Image", "Hostname")]
    assert builder.image(server) == image  # the registry has gone: the copy is found without it
    assert builder.lines == []


def test_an_image_that_cannot_be_pulled(builder: Builder, small: Path) -> None:
    with serving(small, CONFIG) as reference:
        pass
    with pytest.raises(EngineError):
        builder.image(Server(image=reference, command=("/hello",)))


LAYOUT = ("work", "opt/server", "home/bulkhead", "run/secrets")
FOUND = {"usr/bin/evil": 0o4755, "root/.bash_history": 0o600, "var/lib/apt/lists/x": 0o644, "etc/machine-id": 0o444}


def _distribution(ours: Path, path: Path) -> None:
    """Stands in for Debian's own image: ours without its layout, and with what an image may bring along."""
    with tarfile.open(ours) as old, tarfile.open(path, "w") as new:
        for member in old:
            if member.name.rstrip("/") not in {*LAYOUT, *FOUND}:
                new.addfile(member, old.extractfile(member) if member.isfile() else None)
        for name, mode in FOUND.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = mode, 4
            new.addfile(member, io.BytesIO(b"3f81"))


@pytest.fixture
def gate_from_registry(
    builder: Builder, inside: Callable[[str], Inside], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Recipe]:
    """bulkhead/gate under another name, with a root that a registry has."""
    gate = recipe("bulkhead/gate")
    with serving(inside(builder.image(Server(image=gate.name, command=("-",))).digest).tar, CONFIG) as reference:
        made = replace(gate, name="bulkhead/pulled", root=reference, digest="3f82" * 16)
        for module in (images, bases):
            monkeypatch.setattr(module, "recipe", lambda _: made)
        yield made


def test_a_gate_from_a_registry_needs_no_step(
    builder: Builder, gate_from_registry: Recipe, inside: Callable[[str], Inside], pulled: list[str]
) -> None:
    image = builder.image(Server(image=gate_from_registry.name, command=("-",)))
    pulled += [image.name, gate_from_registry.root]
    assert not builder.plans
    assert not [line for line in builder.lines if "no registry answers" in line]
    assert "usr/bin/python3" in {member.name for member in inside(image.digest).members()}


@pytest.fixture
def from_registry(
    builder: Builder, tmp_path: Path, inside: Callable[[str], Inside], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Recipe]:
    """bulkhead/base under another name, with a root that a registry has."""
    base = recipe("bulkhead/base")
    shutil.copytree(folder("images") / "base", tmp_path / "pulled")
    _distribution(inside(builder.image(Server(image=base.name, command=("-",))).digest).tar, tmp_path / "root.tar")
    folders = (*base.folders, tmp_path / "pulled")
    with serving(tmp_path / "root.tar", CONFIG) as reference:
        made = replace(base, name="bulkhead/pulled", root=reference, folders=folders, digest="3f81" * 16)
        for module in (images, bases):
            monkeypatch.setattr(module, "recipe", lambda name: made if name == made.name else recipe(name))
        yield made


def test_a_base_from_a_registry_gets_the_same_layout(
    builder: Builder,
    from_registry: Recipe,
    inside: Callable[[str], Inside],
    daemon: docker.DockerClient,
    pulled: list[str],
) -> None:
    image = builder.image(Server(image=from_registry.name, command=("-",)))
    pulled += [image.name, from_registry.root]
    assert not [line for line in builder.lines if "no registry answers" in line]
    root = inside(image.digest)
    members = {member.name.rstrip("/"): member for member in root.members()}
    assert members["usr/bin/evil"].mode & 0o7777 == 0o755
    assert members["etc/machine-id"].size == 0
    assert members.keys() >= {*LAYOUT, "usr/bin/git"}
    assert [name for name in ("root/.bash_history", "var/lib/apt/lists/x") if name in members] == []
    # What the steps removed is in no layer either.
    assert len(daemon.images.get(image.digest).attrs["RootFS"]["Layers"]) == 1
    assert not daemon.images.list("bulkhead/root")
