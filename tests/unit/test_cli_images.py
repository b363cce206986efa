"""What `images build` and `images rm` remove, on the engine in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.cli import images as command
from bulkhead.engines.fake import FakeDaemon, FakeEngine
from bulkhead.errors import UsageError
from bulkhead.supply.images import BASE, LOCK, PACKAGE, RECIPE, sha256
from bulkhead.supply.names import image_name, lock_path, parse
from bulkhead.supply.recipes import recipe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

PYTHON, TIME = recipe("bulkhead/python"), parse("pypi:mcp-server-time@2026.10.19")
TIME_IMAGE = image_name(TIME, PYTHON.digest, "lock")


class Store:
    """A daemon's images; every one that is added has other content."""

    def __init__(self, state: Path) -> None:
        self.daemon = FakeDaemon({})
        self.state = state

    def run(self, work: Callable[[FakeEngine], Awaitable[object]]) -> None:
        async def main() -> None:
            engine = FakeEngine(self.daemon, state=self.state)
            await work(engine)
            await engine.close()

        anyio.run(main)

    def add(self, name: str, **labels: str) -> str:
        async def root() -> AsyncIterator[bytes]:
            yield str(len(self.daemon.images)).encode()

        dotted = {f"bulkhead.{key}": value for key, value in labels.items()}
        before = set(self.daemon.images)
        self.run(lambda engine: engine.images.load(name, root(), dotted))
        (digest,) = set(self.daemon.images) - before
        return digest


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Store(tmp_path / "bulkhead")


def test_an_older_image_of_a_name_is_removed(store: Store) -> None:
    store.add("bulkhead/python:latest", recipe="older")
    newer = store.add("bulkhead/python:latest", recipe=PYTHON.digest)
    other = store.add("bulkhead/node:latest", recipe="older")
    store.run(lambda engine: command.build(["bulkhead/python"], engine))
    assert store.daemon.images.keys() == {newer, other}


def _package(store: Store, base: str) -> str:
    path = lock_path(store.state, TIME)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("lock")
    return store.add(TIME_IMAGE, recipe=PYTHON.digest, base=base, package=str(TIME), lock=sha256("lock"))


def test_what_an_older_recipe_made_of_a_package_is_removed(store: Store) -> None:
    base = store.add("bulkhead/python:latest", recipe=PYTHON.digest)
    store.add("bulkhead/pypi/mcp-server-time:older", recipe="older", package=str(TIME))
    other = store.add("bulkhead/pypi/mcp-server-git:older", recipe="older", package="pypi:mcp-server-git@1")
    installed = _package(store, base)
    store.run(lambda engine: command.build([str(TIME)], engine))
    assert store.daemon.images.keys() == {base, installed, other}


@pytest.mark.parametrize("today", [True, False])
def test_a_package_on_another_base_is_outdated(store: Store, today: bool) -> None:
    base = store.add("bulkhead/python:latest", recipe=PYTHON.digest)
    installed = _package(store, base if today else "sha256:older")
    server = command._server(str(TIME))
    store.run(lambda engine: command._remove_outdated(engine, server))
    assert (installed in store.daemon.images) is today


def test_listed_for_programs(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    installed = _package(store, "sha256:base")
    store.run(lambda engine: command.list_(engine, as_json=True))
    (row,) = json.loads(capsys.readouterr().out)
    expected = {"name": TIME_IMAGE, "digest": installed, "package": str(TIME), "lock": sha256("lock")}
    assert row == row | expected


@pytest.mark.parametrize("name", ["bulkhead/python", "bulkhead/python:latest"])
def test_removed_by_name(store: Store, name: str) -> None:
    store.add("bulkhead/python:latest")
    store.run(lambda engine: command.remove([name], engine))
    assert not store.daemon.images


def test_an_unknown_name_is_an_error(store: Store) -> None:
    with pytest.raises(UsageError, match="no image 'nope'"):
        store.run(lambda engine: command.remove(["nope"], engine))


def test_the_labels_are_spelled_as_written_here() -> None:
    assert (RECIPE, BASE, PACKAGE, LOCK) == ("bulkhead.recipe", "bulkhead.base", "bulkhead.package", "bulkhead.lock")
