"""An engine that tells what it starts, and images read from the inside."""

from __future__ import annotations

import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import pytest

from bulkhead.engines.docker import DockerEngine
from bulkhead.engines.registry import find_endpoint
from bulkhead.spec import Server
from bulkhead.supply.images import image_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from bulkhead.engines.docker_start import Started
    from bulkhead.engines.hardening import Plan
    from bulkhead.supply.images import BuiltImage

T = TypeVar("T")


class Watched(DockerEngine):
    """plans: what was started."""

    def __init__(self, *, state: Path) -> None:
        super().__init__(find_endpoint(), state=state)
        self.plans: list[Plan] = []

    def begin(self, plan: Plan) -> Started:
        self.plans.append(plan)
        return super().begin(plan)


@dataclass
class Builder:
    """Builds with a state folder of its own; lines, plans and steps are those of the last call."""

    state: Path
    lines: list[str] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)

    def run(self, work: Callable[[Watched], Awaitable[T]]) -> T:
        """The result of work with an open engine."""
        self.lines.clear()

        async def main() -> T:
            engine = Watched(state=self.state)
            self.plans = engine.plans
            try:
                return await work(engine)
            finally:
                await engine.close()

        return anyio.run(main)

    @property
    def steps(self) -> list[Plan]:
        """The plans, without those of gates and of questions for registries."""
        return [plan for plan in self.plans if plan.network != "gate" and not plan.command[1].endswith("/urls.sh")]

    def image(self, server: Server) -> BuiltImage:
        return self.run(lambda engine: image_for(server, engine, state=self.state, say=self.lines.append))

    def package(self, package: str) -> BuiltImage:
        return self.image(Server(package=package))

    def remove(self, *names: str) -> None:
        async def work(engine: Watched) -> None:
            for name in names:
                await engine.images.remove(name)

        self.run(work)


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


@dataclass(frozen=True)
class Inside:
    """An image's root file system."""

    tar: Path

    def members(self) -> list[tarfile.TarInfo]:
        with tarfile.open(self.tar) as tar:
            return tar.getmembers()

    def files(self, start: str = "") -> Iterator[tuple[str, bytes]]:
        """Names that begin so, and contents."""
        with tarfile.open(self.tar) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() and member.name.startswith(start) else None
                if file:
                    yield member.name, file.read()

    def files_with(self, *texts: bytes) -> list[str]:
        """The files that hold one of the texts."""
        return [name for name, content in self.files() if any(text in content for text in texts)]

    def read(self, name: str) -> bytes:
        with tarfile.open(self.tar) as tar:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()


@pytest.fixture
def inside(builder: Builder) -> Iterator[Callable[[str], Inside]]:
    """Exports an image."""
    with tempfile.TemporaryDirectory() as folder:

        def export(reference: str) -> Inside:
            async def work(engine: Watched) -> Inside:
                path = Path(folder) / "root.tar"
                async with await anyio.open_file(path, "wb") as file:
                    async for chunk in engine.images.export(reference):
                        await file.write(chunk)
                return Inside(path)

            return builder.run(work)

        yield export
