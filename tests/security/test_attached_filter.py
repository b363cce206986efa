"""The filter that the kernel holds for a server is the shipped profile: nothing was lost on the way through the engine.

Read back from the kernel, it is asked what this machine's kernel may not have: the x32 ABI, and calls of newer kernels.
"""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.engines.registry import open_engine
from tests.security import attached, probing
from tests.unit import bpf

if TYPE_CHECKING:
    from pathlib import Path

    import docker

pytestmark = pytest.mark.engine

ARCH = {"x86_64": bpf.X86_64, "aarch64": bpf.AARCH64}[platform.machine()]
FOREIGN = bpf.I386 if ARCH == bpf.X86_64 else bpf.ARM


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, daemon: docker.DockerClient) -> bpf.Program:
    """The filter of a server that waits."""
    folder = tmp_path_factory.mktemp("probes")
    probing.compiled(folder)
    return anyio.run(_held, folder, tmp_path_factory.mktemp("state"), daemon)


async def _held(folder: Path, state: Path, daemon: docker.DockerClient) -> bpf.Program:
    engine = open_engine(state=state)
    try:
        image = await probing.empty_image(engine)
        sandbox = await engine.start(probing.plan(folder, image, "/probes/probe", "--wait"))
        pid = daemon.containers.get(f"bulkhead-{sandbox.id}").attrs["State"]["Pid"]
        program = bpf.parse(attached.filter_of(pid))
        with pytest.raises(FileNotFoundError, match="ptrace"):
            attached.filter_of(pid, 1)
        await sandbox.stop(0)
        await engine.images.remove(image)
    finally:
        await engine.close()
    return program


def test_it_decides_as_the_profile_does(held: bpf.Program) -> None:
    """For every call by its number, with arguments of all zeros, all ones and each condition's own."""
    profile = json.loads(probing.PROFILE.read_text())
    compiled = bpf.build(profile, ARCH)
    values = {condition["valueTwo"] for rule in profile["syscalls"] for condition in rule.get("args", ())}
    for nr in range(451):
        for value in (0, 2**64 - 1, *values):
            asked = (ARCH, nr, *[value] * 6)
            assert bpf.run(held, *asked) == bpf.run(compiled, *asked), (bpf.name(ARCH, nr), hex(value))


def test_calls_of_newer_kernels_do_not_exist(held: bpf.Program) -> None:
    assert {bpf.run(held, ARCH, nr) for nr in range(470, 600)} == {"ENOSYS"}


def test_other_abis_are_killed(held: bpf.Program) -> None:
    assert {bpf.run(held, FOREIGN, nr) for nr in range(512)} == {"KILL"}
    if ARCH == bpf.X86_64:
        assert {bpf.run(held, ARCH, bpf.X32_BIT + nr) for nr in range(600)} == {"KILL"}
