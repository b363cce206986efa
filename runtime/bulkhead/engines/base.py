"""The two protocols that an engine implements, the values that cross them, and what every engine refuses alike.

An engine translates a whole Plan (hardening.py) to its dialect. What it cannot enforce it refuses with
UnenforceableError before anything runs; it never warns and goes on. contract.py holds what every engine must pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bulkhead.errors import UnenforceableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Mapping

    from anyio.abc import ByteReceiveStream, ByteSendStream

    from bulkhead.engines.hardening import Plan

Cause = Literal["exited", "oom", "limit", "killed", "lost"]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a sandbox ended.

    cause: ``exited`` by itself, ``oom`` killed by the kernel for memory, ``limit`` stopped by us for the limit named in
    ``limit``, ``killed`` by a signal or by stop(), ``lost`` with its engine. code: the exit status, None where unknown.
    """

    cause: Cause
    code: int | None = None
    limit: str = ""

    def __str__(self) -> str:
        return {"exited": f"exited {self.code}", "limit": self.limit}.get(self.cause, self.cause)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a sandbox has used since its start: seconds, bytes and counts, from its cgroup.

    pids_refused counts forks that the pids limit refused, oom_kills processes that the kernel killed for memory. full
    names the writable file systems without a free byte or inode ("/tmp"); an engine that cannot look inside leaves it
    empty. A sandbox that has ended keeps its last values.
    """

    cpu_seconds: float = 0.0
    throttled_seconds: float = 0.0
    memory_bytes: int = 0
    memory_peak_bytes: int = 0
    pids: int = 0
    pids_refused: int = 0
    oom_kills: int = 0
    full: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What probe() found: lacks maps what cannot be enforced here to the reason."""

    name: str
    version: str
    endpoint: str
    rootless: bool = False
    remote: bool = False
    runtimes: tuple[str, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    """One sandbox of ours, running or left behind, as list() sees it. gate: it is another one's gate."""

    id: str
    server: str
    runner: str
    image: str
    started: float
    running: bool
    gate: bool = False


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """One image of ours. digest is the content's ("sha256:..."), which is what a Plan runs."""

    name: str
    digest: str
    size: int
    created: float
    labels: Mapping[str, str]


class Sandbox(Protocol):
    """The running container of one server for one session.

    containers: the engine's own ids of it and of its gate, by which processes.py finds what runs in them.
    """

    id: str
    containers: tuple[str, ...]
    stdin: ByteSendStream
    stdout: ByteReceiveStream
    stderr: ByteReceiveStream

    async def wait(self) -> Exit:
        """Returns once it has ended; may be awaited by several tasks, and again."""

    async def stop(self, grace: float, *, limit: str = "") -> None:
        """SIGTERM, grace seconds, SIGKILL, and gone. With limit, wait() says Exit("limit", limit=...)."""

    async def freeze(self) -> None: ...

    async def thaw(self) -> None: ...

    async def usage(self, *, whole: bool = True) -> Usage:
        """What it has used; not whole: without ``full``, which takes a look at every file system."""

    async def write_secret(self, name: str, value: bytes | None) -> None:
        """Writes a file of SECRETS anew, in one step, or removes it. Raises EngineError."""

    async def new_peak(self) -> None:
        """memory_peak_bytes counts from now on, where the kernel can (cgroup v1; v2 since Linux 6.12)."""


class ImageStore(Protocol):
    """The engine's images. A reference is a name of ours or a digest."""

    def find(self, reference: str) -> ImageInfo | None:
        """One question, which blocks for about a millisecond; from any thread."""

    async def pull(self, reference: str) -> ImageInfo:
        """From a registry, by digest only."""

    async def load(self, name: str, root: AsyncIterable[bytes], labels: Mapping[str, str]) -> ImageInfo:
        """An image of one layer from a root file system's tar; labels are the only configuration that it has."""

    def export(self, reference: str) -> AsyncIterator[bytes]:
        """An image's root file system as a tar."""

    async def commit(self, sandbox: Sandbox, name: str, labels: Mapping[str, str]) -> ImageInfo:
        """A stopped or running sandbox's file system as an image; labels are the only configuration that it has."""

    async def list(self) -> list[ImageInfo]:
        """Ours only."""

    async def remove(self, reference: str) -> None: ...


class Engine(Protocol):
    """What starts sandboxes."""

    images: ImageStore

    async def probe(self) -> EngineInfo:
        """What it can enforce here, and what it cannot. Raises EngineError when it does not answer."""

    def info(self) -> EngineInfo:
        """As probe(), asked once. Blocks."""

    async def start(self, plan: Plan) -> Sandbox:
        """A running sandbox with its stdio attached; on any failure nothing is left behind. begin() and adopt()."""

    def begin(self, plan: Plan) -> Any:
        """The part of start() that blocks: from any thread, and before there is an event loop. To be adopted."""

    def adopt(self, plan: Plan, begun: Any) -> Sandbox:
        """The sandbox that begin() started, in the event loop that will use it."""

    def discard(self, begun: Any) -> None:
        """Ends what begin() started and nobody adopted. Blocks."""

    async def remove(self, sandbox_id: str) -> None:
        """Kills and removes one of ours; no error if it is gone already."""

    async def reap(self) -> list[str]:
        """Removes what dead runners left, and returns the ids; never touches somebody else's."""

    async def close(self) -> None: ...

    async def list(self) -> list[SandboxInfo]:
        """Ours only: of this state folder, whichever runner started them."""


def refuse_plan(plan: Plan, info: EngineInfo) -> None:
    """Raises UnenforceableError when the engine cannot enforce plan."""
    for what, why in info.lacks.items():
        raise UnenforceableError(f"{info.name} cannot enforce {what} here", why=why, hint="run bulkhead doctor")
    if plan.runtime and plan.runtime not in info.runtimes:
        raise UnenforceableError(
            f"{info.name} has no runtime {plan.runtime!r}",
            why=f"it knows {', '.join(info.runtimes)}",
            hint="install it for the engine, or change sandbox.runtime",
        )
