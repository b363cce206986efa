"""An engine in memory: a server is an async function over in-memory streams. It ships, so that others can test with it.

It keeps the whole contract (contract.py) but isolates nothing, and says so by its name. A daemon outlives its engines,
as Docker does: list() and reap() see what other engines on the same daemon started.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

from bulkhead.engines.base import EngineInfo, Exit, ImageInfo, SandboxInfo, Usage, refuse_plan
from bulkhead.engines.docker_stream import RING
from bulkhead.engines.runners import forget, hold, is_dead, known, state_id
from bulkhead.errors import EngineError
from bulkhead.inflow import HIGH, Inflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from bulkhead.engines.base import ImageStore, Sandbox
    from bulkhead.engines.hardening import Plan

    Server = Callable[["Process"], Awaitable[int]]

TICK = 1e-6  # seconds of CPU that one send or receive of a server counts for


class OutOfMemoryError(Exception):
    """Raised by a server to end as one whom the kernel killed for memory."""


@dataclass
class FakeDaemon:
    """What outlives an engine. servers: a Plan's first word of command to the function that it runs."""

    servers: Mapping[str, Server]
    lacks: Mapping[str, str] = field(default_factory=dict)
    sandboxes: dict[str, FakeSandbox] = field(default_factory=dict)
    images: dict[str, tuple[ImageInfo, bytes]] = field(default_factory=dict)
    registry: dict[str, bytes] = field(default_factory=dict)

    def add_image(self, name: str, digest: str) -> None:
        """An empty image of ours, for Plans that name it."""
        self.images[digest] = ImageInfo(name, digest, 0, time.time(), {"bulkhead.image": name}), b""


class _Pipe(ByteReceiveStream, ByteSendStream):
    """One direction of stdio: a send waits while HIGH bytes lie in it, or, with a limit, only the newest are kept."""

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._drained = anyio.Event()
        self._output = Inflow(self._drain)
        self._closed = False

    async def send(self, item: bytes) -> None:
        if self._closed:
            raise anyio.BrokenResourceError
        self._output.put(bytes(item))
        if self._limit:
            self._output.keep_newest(self._limit)
        while self._output.size > HIGH and not self._closed:
            await self._drained.wait()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._output.receive(max_bytes)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        self._output.end()
        self._drain()

    def _drain(self) -> None:
        self._drained.set()
        self._drained = anyio.Event()


class Process:
    """What a server function sees: its Plan, its stdio, and how it takes SIGTERM. It may set usage as it likes."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.usage = Usage(pids=1)
        self.ignores_sigterm = False
        self.pipes = _Pipe(), _Pipe(), _Pipe(RING)
        self.thawed = anyio.Event()
        self.thawed.set()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """From stdin; b"" at its end."""
        data = b""
        with suppress(anyio.EndOfStream):
            data = await self.pipes[0].receive(max_bytes)
        await self._run()
        return data

    async def send(self, data: bytes, *, stderr: bool = False) -> None:
        """To stdout, or to stderr."""
        await self._run()
        await self.pipes[2 if stderr else 1].send(data)

    async def _run(self) -> None:
        await self.thawed.wait()
        self.usage = replace(self.usage, cpu_seconds=self.usage.cpu_seconds + TICK)


class FakeSandbox:
    """A running server function. See base.Sandbox."""

    def __init__(self, daemon: FakeDaemon, plan: Plan, owner: tuple[str, str]) -> None:
        self.id = plan.id
        self.containers: tuple[str, ...] = (plan.id,)
        self.owner = owner
        self.started = time.time()
        self.secrets = dict(plan.files)
        self._daemon = daemon
        self._process = Process(plan)
        self.stdin: ByteSendStream = self._process.pipes[0]
        self.stdout: ByteReceiveStream = self._process.pipes[1]
        self.stderr: ByteReceiveStream = self._process.pipes[2]
        self._exit: Exit | None = None
        self._asked: str | None = None
        self._ended = anyio.Event()
        server = daemon.servers.get(plan.command[0])
        self._task = asyncio.get_running_loop().create_task(_serve(server, self._process))
        self._task.add_done_callback(self._end)
        daemon.sandboxes[plan.id] = self

    @property
    def info(self) -> SandboxInfo:
        plan = self._process.plan
        return SandboxInfo(plan.id, plan.server, self.owner[1], plan.image, self.started, running=self._exit is None)

    async def wait(self) -> Exit:
        await self._ended.wait()
        if self._process.plan.read_only:
            self._daemon.sandboxes.pop(self.id, None)
        return self._exit or Exit("lost")

    async def stop(self, grace: float, *, limit: str = "") -> None:
        if self._exit is None and self._asked is None:
            self._asked = limit
        with anyio.CancelScope(shield=True):
            await self.thaw()
            if grace > 0 and self._process.ignores_sigterm:
                with anyio.move_on_after(grace):
                    await self._ended.wait()
            self._task.cancel()
            await self._ended.wait()
        self._daemon.sandboxes.pop(self.id, None)

    async def freeze(self) -> None:
        self._process.thawed = anyio.Event()

    async def thaw(self) -> None:
        self._process.thawed.set()

    async def usage(self, *, whole: bool = True) -> Usage:
        usage = self._process.usage
        return usage if whole else replace(usage, full=())

    async def write_secret(self, name: str, value: bytes | None) -> None:
        if value is None:
            self.secrets.pop(name, None)
        else:
            self.secrets[name] = value

    async def new_peak(self) -> None:
        self._process.usage = replace(self._process.usage, memory_peak_bytes=self._process.usage.memory_bytes)

    def _end(self, task: asyncio.Task[Exit]) -> None:
        """A callback and no finally: a task that is cancelled before its first step runs nothing of its own."""
        ended = Exit("killed", 137 if self._process.ignores_sigterm else 143) if task.cancelled() else task.result()
        self._exit = ended if self._asked is None else _stopped(ended, self._asked)
        for pipe in self._process.pipes:
            pipe.close()
        self._ended.set()


async def _serve(server: Server | None, process: Process) -> Exit:
    if server is None:
        return Exit("exited", 127)
    try:
        return Exit("exited", await server(process))
    except OutOfMemoryError:
        return Exit("oom", 137)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return Exit("killed", 141)


def _stopped(ended: Exit, limit: str) -> Exit:
    return Exit("limit", ended.code, limit) if limit else Exit("killed", ended.code)


class FakeEngine:
    """The sandboxes of one runner on one daemon. state and runner are as those of DockerEngine."""

    def __init__(self, daemon: FakeDaemon, *, state: Path, runner: str = "") -> None:
        self._daemon = daemon
        self._state = state
        self._own_runner = None if runner else hold(state)
        self._owner = state_id(state), self._own_runner.id if self._own_runner else runner
        self._info = EngineInfo("fake", "1", "memory:", runtimes=("fake",), lacks=daemon.lacks)
        self.images: ImageStore = FakeImages(daemon)

    async def probe(self) -> EngineInfo:
        return self._info

    def info(self) -> EngineInfo:
        return self._info

    async def start(self, plan: Plan) -> Sandbox:
        return self.adopt(plan, self.begin(plan))

    def begin(self, plan: Plan) -> Plan:
        """Only refuses: a server is a task of the event loop."""
        refuse_plan(plan, self._info)
        if plan.image not in self._daemon.images:
            raise EngineError("the container engine refused", why=f"no image {plan.image}")
        return plan

    def adopt(self, plan: Plan, begun: Plan) -> Sandbox:
        del begun
        return FakeSandbox(self._daemon, plan, self._owner)

    def discard(self, begun: Plan) -> None:
        """Nothing runs yet."""

    async def list(self) -> list[SandboxInfo]:
        return [sandbox.info for sandbox in self._ours()]

    async def remove(self, sandbox_id: str) -> None:
        for sandbox in self._ours():
            if sandbox.id == sandbox_id:
                await sandbox.stop(0)

    async def reap(self) -> Ids:
        runners = {sandbox.owner[1] for sandbox in self._ours()} | known(self._state)
        dead = {runner for runner in runners - {self._owner[1]} if is_dead(self._state, runner)}
        left = [sandbox for sandbox in self._ours() if sandbox.owner[1] in dead]
        for sandbox in left:
            await sandbox.stop(0)
        for runner in dead:
            forget(self._state, runner)
        return [sandbox.id for sandbox in left]

    async def close(self) -> None:
        for sandbox in self._ours():
            if sandbox.owner == self._owner:
                await sandbox.stop(0)
        if self._own_runner is not None:
            self._own_runner.release()
            self._own_runner = None

    def _ours(self) -> Sandboxes:
        return [sandbox for sandbox in self._daemon.sandboxes.values() if sandbox.owner[0] == self._owner[0]]


Ids = list[str]  # within the class, list is a method
Sandboxes = list[FakeSandbox]
Images = list[ImageInfo]


class FakeImages:
    """The ImageStore of a FakeDaemon. pull() takes from daemon.registry."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon

    def find(self, reference: str) -> ImageInfo | None:
        images = [info for info, _ in self._daemon.images.values()]
        return next((info for info in reversed(images) if reference in (info.name, info.digest)), None)

    async def pull(self, reference: str) -> ImageInfo:
        if reference not in self._daemon.registry:
            raise EngineError("the container engine refused", why=f"no registry has {reference}")
        return self._add(reference, self._daemon.registry[reference], {})

    async def load(self, name: str, root: AsyncIterable[bytes], labels: Mapping[str, str]) -> ImageInfo:
        return self._add(name, b"".join([chunk async for chunk in root]), {"bulkhead.image": name} | dict(labels))

    async def export(self, reference: str) -> AsyncIterator[bytes]:
        info = self.find(reference)
        if info is None:
            raise EngineError("the container engine refused", why=f"no image {reference}")
        yield self._daemon.images[info.digest][1]

    async def commit(self, sandbox: Sandbox, name: str, labels: Mapping[str, str]) -> ImageInfo:
        return await self.load(name, self.export(self._daemon.sandboxes[sandbox.id].info.image), labels)

    async def list(self) -> Images:
        return [info for info, _ in self._daemon.images.values() if "bulkhead.image" in info.labels]

    async def remove(self, reference: str) -> None:
        info = self.find(reference)
        if info is not None:
            del self._daemon.images[info.digest]

    def _add(self, name: str, content: bytes, labels: dict[str, str]) -> ImageInfo:
        digest = f"sha256:{hashlib.sha256(content + repr(sorted(labels.items())).encode()).hexdigest()}"
        info = ImageInfo(name, digest, len(content), time.time(), labels)
        self._daemon.images[digest] = info, content
        return info
