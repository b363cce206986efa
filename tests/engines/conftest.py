"""An image with one static program, and subjects for the engines' contract: a fake one and the real one."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.engines.contract import Subject
from bulkhead.engines.docker import RECIPE, DockerEngine
from bulkhead.engines.fake import FakeEngine
from bulkhead.engines.hardening import Plan, Tmpfs
from bulkhead.engines.registry import find_endpoint
from tests.engines import servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
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


async def root_of(*files: Path, with_shell: bool = False) -> AsyncIterator[bytes]:
    """The tar of a root file system with executable files at its top, and this machine's shell, with its libraries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        for file in files:
            tar.add(file, file.name)
        for path in _shell() if with_shell else ():
            tar.add(path)
    yield buffer.getvalue()


def _shell() -> list[str]:
    """With the programs that ours need."""
    programs = ["/bin/sh", "/bin/cat", "/bin/mv", "/bin/rm"]
    needs = subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout
    return [*programs, *sorted(set(re.findall(r"/\S+[^:\s]", needs)) - set(programs))]


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
    with _loaded(endpoint, IMAGE, root_of(program), {}, tmp_path_factory.mktemp("image")) as digest:
        yield digest


@pytest.fixture(scope="session")
def image_with_shell(endpoint: str, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As an image of a recipe of ours, whose servers have pipes."""
    root, state = root_of(program, with_shell=True), tmp_path_factory.mktemp("image")
    with _loaded(endpoint, f"{IMAGE}-shell", root, {RECIPE: "tests"}, state) as digest:
        yield digest


@contextmanager
def _loaded(
    endpoint: str, name: str, root: AsyncIterator[bytes], labels: Mapping[str, str], state: Path
) -> Iterator[str]:
    async def load() -> str:
        engine = DockerEngine(endpoint, state=state)
        info = await engine.images.load(name, root, labels)
        await engine.close()
        return info.digest

    async def remove() -> None:
        engine = DockerEngine(endpoint, state=state)
        await engine.images.remove(name)
        await engine.close()

    yield anyio.run(load)
    anyio.run(remove)


@pytest.fixture
def docker_subject(endpoint: str, image: str, tmp_path: Path) -> Callable[[], Subject]:
    """To be called within the event loop."""
    return lambda: _docker_subject(endpoint, image, tmp_path)


@pytest.fixture
def piped_subject(endpoint: str, image_with_shell: str, tmp_path: Path) -> Callable[[], Subject]:
    """The same, of servers with pipes."""
    return lambda: _docker_subject(endpoint, image_with_shell, tmp_path)


@pytest.fixture
def fake_subject(tmp_path: Path) -> Callable[[], Subject]:
    daemon = servers.daemon()
    image = "sha256:" + "1" * 64
    daemon.add_image("bulkhead/engine-tests", image)

    def make(*, state: Path, runner: str = "") -> Engine:
        return FakeEngine(daemon, state=state, runner=runner)

    return lambda: _subject(make, make_plan(image), tmp_path)


def _docker_subject(endpoint: str, image: str, folder: Path) -> Subject:
    def make(*, state: Path, runner: str = "") -> Engine:
        return DockerEngine(endpoint, state=state, runner=runner)

    return _subject(make, make_plan(image), folder)


def _subject(make: Any, plan: MakePlan, folder: Path) -> Subject:
    state, elsewhere = folder / "state", folder / "elsewhere"
    return Subject(make(state=state), make, plan, state, elsewhere)
