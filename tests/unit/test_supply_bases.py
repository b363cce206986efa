"""From where a base image comes, and what its build containers may do: on the engine in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
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
    """Build containers that end with code, and what was seen; urls is what clients say that they would ask."""

    code: int = 0
    urls: bytes = b"http://one.invalid/debian https://two.invalid/x\n"
    plans: list[Plan] = field(default_factory=list)
    gates: list[Plan] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    bootstrapped: list[tuple[Sequence[str], bool]] = field(default_factory=list)
    daemon: FakeDaemon = field(init=False)

    def __post_init__(self) -> None:
        self.daemon = FakeDaemon({"sh": self._sh, "python3": self._gate})

    async def _sh(self, process: Process) -> int:
        self.plans.append(process.plan)
        if _script(process.plan) == "urls.sh":
            await process.send(self.urls)
            return 0
        await process.send(b"what went wrong\n", stderr=True)
        return self.code

    async def _gate(self, process: Process) -> int:
        self.gates.append(process.plan)
        await process.send(b"READY mux\n")
        while await process.receive():
            pass
        return 0

    def run(self, state: Path, name: str) -> str:
        async def main() -> str:
            engine = FakeEngine(self.daemon, state=state)
            try:
                return (await bases.base(engine, name, state=state, say=self.lines.append)).digest
            finally:
                await engine.close()

        return anyio.run(main)


def _script(plan: Plan) -> str:
    return PurePosixPath(plan.command[1]).name


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    builds = Builds()

    def bootstrap(target: Path, packages: Sequence[str], *, unpacked: bool) -> str:
        builds.bootstrapped.append((packages, unpacked))
        target.write_bytes(b"root")
        return "bookworm"

    monkeypatch.setattr(apt, "bootstrap", bootstrap)
    return builds


def test_a_registry_comes_first(builds: Builds, tmp_path: Path) -> None:
    builds.daemon.registry[recipe("bulkhead/base").root] = b"pulled"
    builds.daemon.registry[recipe("bulkhead/gate").root] = b"pulled, too"
    builds.run(tmp_path, "bulkhead/base")
    assert not builds.bootstrapped
    assert b"pulled, too" in [content for _, content in builds.daemon.images.values()]
    assert b"pulled" in [content for _, content in builds.daemon.images.values()]


def test_without_a_registry_packages_are_taken(builds: Builds, tmp_path: Path) -> None:
    builds.run(tmp_path, "bulkhead/base")
    assert builds.bootstrapped == [(("ca-certificates", "git"), False), (("python3-minimal",), True)]
    assert any("no registry answers" in line for line in builds.lines)


def test_the_root_image_is_removed_again(builds: Builds, tmp_path: Path) -> None:
    builds.run(tmp_path, "bulkhead/base")
    names = {info.name for info, _ in builds.daemon.images.values()}
    assert names == {"bulkhead/base:latest", "bulkhead/gate:latest"}


def test_built_once(builds: Builds, tmp_path: Path) -> None:
    first = builds.run(tmp_path, "bulkhead/node")
    plans = len(builds.plans)
    scripts = [_script(plan) for plan in builds.plans]
    assert [name for name in scripts if name != "urls.sh"] == ["build.sh", "build.sh", "fetch.sh", "build.sh"]
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
        assert plan.network == "none"


def test_a_step_has_no_network_but_a_gates_and_where_to_ask_is_found_without(builds: Builds, tmp_path: Path) -> None:
    builds.run(tmp_path, "bulkhead/node")
    joined = [(_script(plan), plan.command[2:] != (), bool(plan.joins)) for plan in builds.plans]
    assert joined == [
        ("urls.sh", False, False), ("build.sh", True, True),  # base
        ("urls.sh", False, False), ("build.sh", True, True),  # python
        ("urls.sh", False, False), ("urls.sh", True, True), ("fetch.sh", False, True),
        ("urls.sh", False, False), ("build.sh", True, True),  # node
    ]  # fmt: skip
    assert [plan.joins for plan in builds.plans if plan.joins] == [gate.id for gate in builds.gates]
    for gate in builds.gates:
        assert gate.command[-2:] == ("80", "443")
        assert gate.network == "gate"


def test_a_client_that_asks_nobody_gets_no_gate(builds: Builds, tmp_path: Path) -> None:
    builds.urls = b"file:///srv/mirror\n"
    builds.run(tmp_path, "bulkhead/base")
    assert [plan.joins for plan in builds.plans] == ["", ""]
    assert not builds.gates


def test_a_failure_names_the_step_and_its_last_words(builds: Builds, tmp_path: Path) -> None:
    builds.code = 100
    with pytest.raises(StartError) as caught:
        builds.run(tmp_path, "bulkhead/base")
    assert (caught.value.what, caught.value.why) == ("building bulkhead/base failed", "what went wrong")
    assert caught.value.reason == "build"
    assert not builds.daemon.sandboxes
    assert not list((tmp_path / "building").iterdir())
    assert [info.name for info, _ in builds.daemon.images.values()] == ["bulkhead/gate:latest"]


def test_no_registry_and_no_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apt, "sources", list)
    with pytest.raises(StartError) as caught:
        Builds().run(tmp_path, "bulkhead/base")
    assert caught.value.what == "no base image can be made"
    assert "registry" in caught.value.hint
