"""An image with one static program, and subjects for the engines' contract: a fake one and the real one."""

from __future__ import annotations

import io
import subprocess
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.engines.contract import Subject
from bulkhead.engines.docker import DockerEngine
from bulkhead.engines.fake import FakeEngine
from bulkhead.engines.hardening import Plan, Tmpfs
from bulkhead.engines.registry import find_endpoint
from tests.engines import servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from bulkhead.engines.base import Engine
    from bulkhead.engines.contract import MakePlan

UID = 0x7000_0042
SECCOMP = '{"defaultAction": "SCMP_ACT_ALLOW"}'
IMAGE = "bulkhead/engine-tests"


def make_plan(image: str) -> MakePlan:
    """A MakePlan whose servers are /behaviour of image."""

    def plan(*behaviour: str, **changes: Any) -> Plan:
        fields: dict[str, Any] = {
            "id": f"engine-tests-{uuid.uuid4().hex[:12]}",
            "server": "engine-tests",
            "image": image,
            "command": ("/behaviour", *behaviour),
            "env": {"PATH": "/bin"},
            "working_dir": "/",
            "uid": UID,
            "gid": UID,
            "seccomp": SECCOMP,
            "cpus": 1.0,
            "memory": 32 * 2**20,
            "pids": 16,
            "open_files": 64,
            "tmpfs": (Tmpfs("/tmp", 2**20, 64), Tmpfs("/dev/shm", 2**16, 32)),  # noqa: S108
        }
        return Plan(**fields | changes)

    return plan


async def root_of(*files: Path) -> AsyncIterator[bytes]:
    """The tar of a root file system with executable files at its top."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in files:
            tar.add(file, file.name)
    yield buffer.getvalue()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """behaviour.c, compiled."""
    path = tmp_path_factory.mktemp("program") / "behaviour"
    source = Path(__file__).with_name("behaviour.c")
    subprocess.run(["gcc", "-static", "-O1", "-Wall", "-Werror", "-o", path, source], check=True)
    return path


@pytest.fixture(scope="session")
def endpoint() -> str:
    return find_endpoint()


@pytest.fixture(scope="session")
def image(endpoint: str, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The digest of an image in the real engine that holds the program alone."""
    state = tmp_path_factory.mktemp("image")

    async def load() -> str:
        engine = DockerEngine(endpoint, state=state)
        info = await engine.images.load(IMAGE, root_of(program), {})
        await engine.close()
        return info.digest

    async def remove() -> None:
        engine = DockerEngine(endpoint, state=state)
        await engine.images.remove(IMAGE)
        await engine.close()

    yield anyio.run(load)
    anyio.run(remove)


@pytest.fixture
def docker_subject(endpoint: str, image: str, tmp_path: Path) -> Callable[[], Subject]:
    """To be called within the event loop."""

    def make(*, state: Path, runner: str = "") -> Engine:
        return DockerEngine(endpoint, state=state, runner=runner)

    return lambda: _subject(make, make_plan(image), tmp_path)


@pytest.fixture
def fake_subject(tmp_path: Path) -> Callable[[], Subject]:
    daemon = servers.daemon()
    image = "sha256:" + "1" * 64
    daemon.add_image("bulkhead/engine-tests", image)

    def make(*, state: Path, runner: str = "") -> Engine:
        return FakeEngine(daemon, state=state, runner=runner)

    return lambda: _subject(make, make_plan(image), tmp_path)


def _subject(make: Any, plan: MakePlan, folder: Path) -> Subject:
    state, elsewhere = folder / "state", folder / "elsewhere"
    return Subject(make(state=state), make, plan, state, elsewhere)
