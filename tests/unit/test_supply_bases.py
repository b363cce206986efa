"""From where a base image comes, and what its build containers may do: on the engine in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.engines.fake import FakeDaemon, FakeEngine
from bulkhead.errors import StartError
from bulkhead.supply import apt, bases
from bulkhead.supply.recipes import recipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulkhead.engines.fake import Process
    from bulkhead.engines.hardening import Plan


@dataclass
class Builds:
    """A daemon whose build containers end with code, and what was seen."""

    code: int = 0
    plans: list[Plan] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    bootstrapped: list[Sequence[str]] = field(default_factory=list)
    daemon: FakeDaemon = field(init=False)

    def __post_init__(self) -> None:
        self.daemon = FakeDaemon({"sh": self._sh})

    async def _sh(self, process: Process) -> int:
        self.plans.append(process.plan)
        await process.send(b"what went wrong\n", stderr=True)
        return self.code

    def run(self, state: Path, name: str) -> str:
        async def main() -> str:
            engine = FakeEngine(self.daemon, state=state)
            try:
                return (await bases.base(engine, name, state=state, say=self.lines.append)).digest
            finally:
                await engine.close()

        return anyio.run(main)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    builds = Builds()

    def bootstrap(target: Path, packages: Sequence[str]) -> str:
        builds.bootstrapped.append(packages)
        target.write_bytes(b"root")
        return "bookworm"

    monkeypatch.setattr(apt, "bootstrap", bootstrap)
    return builds


def test_a_registry_comes_first(builds: Builds, tmp_path: Path) -> None:
    builds.daemon.registry[recipe("bulkhead/base").root] = b"pulled"
    builds.run(tmp_path, "bulkhead/base")
    assert not builds.bootstrapped
    assert b"pulled" in [content for _, content in builds.daemon.images.values()]


def test_without_a_registry_packages_are_taken(builds: Builds, tmp_path: Path) -> None:
    builds.run(tmp_path, "bulkhead/base")
    assert builds.bootstrapped == [("ca-certificates", "git")]
    assert any("no registry answers" in line for line in builds.lines)


def test_the_root_image_is_removed_again(builds: Builds, tmp_path: Path) -> None:
    builds.run(tmp_path, "bulkhead/base")
    assert [info.name for info, _ in builds.daemon.images.values()] == ["bulkhead/base:latest"]


def test_built_once(builds: Builds, tmp_path: Path) -> None:
    first = builds.run(tmp_path, "bulkhead/node")
    plans = len(builds.plans)
    assert plans == 4  # base, python, the download, node
    assert builds.run(tmp_path, "bulkhead/node") == first
    assert len(builds.plans) == plans


def test_no_build_container_may_more_than_it_needs(builds: Builds, tmp_path: Path) -> None:
    builds.run(tmp_path, "bulkhead/node")
    for plan in builds.plans:
        root = plan.command[1] == "/mnt/base/build.sh"
        assert plan.uid == plan.gid == (0 if root else 65532)
        assert plan.capabilities == (("CHOWN", "DAC_OVERRIDE", "FOWNER") if root else ())
        assert [(bind.target, bind.write) for bind in plan.binds] == [("/mnt", False)]
        homes = {"/root", "/home/bulkhead"} & {tmpfs.target for tmpfs in plan.tmpfs}
        assert homes == (set() if root else {"/home/bulkhead"})  # root's steps see what the image has there
        assert plan.memory <= 2 * 2**30
        assert plan.pids <= 512
        assert '"defaultAction":"SCMP_ACT_ERRNO"' in plan.seccomp


def test_a_failure_names_the_step_and_its_last_words(builds: Builds, tmp_path: Path) -> None:
    builds.code = 100
    with pytest.raises(StartError) as caught:
        builds.run(tmp_path, "bulkhead/base")
    assert (caught.value.what, caught.value.why) == ("building bulkhead/base failed", "what went wrong")
    assert caught.value.reason == "build"
    assert not builds.daemon.sandboxes
    assert not list((tmp_path / "building").iterdir())
    assert not builds.daemon.images


def test_no_registry_and_no_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apt, "sources", list)
    with pytest.raises(StartError) as caught:
        Builds().run(tmp_path, "bulkhead/base")
    assert caught.value.what == "no base image can be made"
    assert "registry" in caught.value.hint
