"""A real relay between a host of the test's own, over unix sockets, and server functions on the engine in memory.

After each session: nothing runs any more, no id was answered twice, and every record that was begun has ended.
"""

from __future__ import annotations

import itertools
import json
import socket
from collections import Counter, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
from anyio.abc import UNIXSocketStream

from bulkhead.engines.fake import FakeDaemon, FakeEngine
from bulkhead.engines.hardening import plan_for
from bulkhead.relay import Relay
from bulkhead.serverlog import ServerLog
from bulkhead.spec import Limits, Server, ServerSpec
from bulkhead.telemetry import Call, Telemetry, TelemetrySettings
from bulkhead.wire.frames import Splitter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
    from pathlib import Path

    from anyio.abc import TaskGroup

    from bulkhead.credentials.leases import Leases
    from bulkhead.engines.base import Sandbox
    from bulkhead.engines.fake import Process
    from bulkhead.errors import BulkheadError
    from bulkhead.judgement import Books
    from bulkhead.keeper import Status
    from bulkhead.telemetry import Record

Frame: TypeAlias = dict[str, Any]
Tool: TypeAlias = "Callable[[Link, Frame], Coroutine[Any, Any, None]]"
SOON = 3.0  # seconds, for what takes no time on a machine that has nothing else to do
IMAGE = "sha256:" + "1" * 64
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}


class Link:
    """A server's side: frames of its stdio, as they are or as objects."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.code = 0
        self.failure: Exception | None = None
        self.tasks: TaskGroup
        self._splitter = Splitter(2**26)
        self._lines: deque[bytes] = deque()

    async def line(self) -> bytes:
        """The next line that the runner sent; b"" at the end."""
        while not self._lines:
            data = await self.process.receive()
            if not data:
                return b""
            self._lines.extend(line for line in self._splitter.feed(data) if isinstance(line, bytes))
        return self._lines.popleft()

    async def read(self) -> Frame:
        """The next frame; {} at the end."""
        frame: Frame = json.loads(await self.line() or b"{}")
        return frame

    async def write(self, frame: Frame | bytes) -> None:
        """One line."""
        await self.process.send((frame if isinstance(frame, bytes) else encoded(**frame)) + b"\n")

    async def answer(self, asked: Frame, **result: Any) -> None:
        """A result."""
        await self.write({"id": asked["id"], "result": result})

    def end(self, code: int = 0, failure: Exception | None = None) -> None:
        """Ends the server: with an exit code, or as failure says."""
        self.code, self.failure = code, failure
        self.tasks.cancel_scope.cancel()


def encoded(**members: Any) -> bytes:
    """A frame."""
    return json.dumps({"jsonrpc": "2.0"} | members).encode()


def server(**tools: Tool) -> Callable[[Process], Awaitable[int]]:
    """A legacy server. Each tool gets the whole request and answers it, or not; calls are served side by side."""

    async def run(process: Process) -> int:
        link = Link(process)
        async with anyio.create_task_group() as link.tasks:
            while frame := await link.read():
                await _serve(link, frame, tools)
            link.tasks.cancel_scope.cancel()
        if link.failure is not None:
            raise link.failure
        return link.code

    return run


async def _serve(link: Link, frame: Frame, tools: Mapping[str, Tool]) -> None:
    match frame.get("method"):
        case "initialize":
            await link.answer(frame, protocolVersion="2025-11-25", capabilities={}, serverInfo={"name": "s"})
        case "ping":
            await link.answer(frame)
        case "tools/call" if frame["params"]["name"] in tools:
            link.tasks.start_soon(tools[frame["params"]["name"]], link, frame)
        case "tools/call":
            await link.answer(frame, content=[], said=frame["params"].get("arguments"))
        case _ if "method" in frame and "id" in frame:
            await link.write({"id": frame["id"], "error": {"code": -32601, "message": "no such method"}})
        case _:
            return


async def hang(link: Link, frame: Frame) -> None:
    """A tool that never answers."""
    del link, frame
    await anyio.sleep_forever()


class Recorded(Telemetry):
    """The real recorder, that keeps what was begun and what has ended."""

    def __init__(self, state: Path) -> None:
        super().__init__(TelemetrySettings(file=False), resource={}, state=state)
        self.begun: list[Call] = []
        self.ended: list[Call] = []

    def begin(self, method: str, **of: Any) -> Call:
        call = super().begin(method, **of)
        self.begun.append(call)
        return call

    def finished(self, record: Record) -> None:
        if isinstance(record, Call):
            self.ended.append(record)


class Host:
    """The host's side, and what the runner did."""

    def __init__(self, stdin: UNIXSocketStream, stdout: UNIXSocketStream, recorder: Recorded) -> None:
        self.stdin, self.stdout = stdin, stdout
        self.recorder = recorder
        self.said: list[str] = []
        self.statuses: list[Status] = []
        self.frames: list[Frame] = []
        self.lines: list[bytes] = []
        self.stop = anyio.Event()
        self.over = anyio.Event()
        self.result: BulkheadError | None = None
        self.asked: list[Any] = []
        self._ids = itertools.count(1)
        self._splitter = Splitter(2**26)

    async def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        await self.stdin.send(data)

    async def send(self, **members: Any) -> None:
        """One frame."""
        await self.raw(encoded(**members) + b"\n")

    async def ask(self, method: str, params: Frame | None = None) -> int:
        """A request; its id."""
        request_id = next(self._ids)
        self.asked.append(request_id)
        await self.send(id=request_id, method=method, params=params or {})
        return request_id

    async def start(self, tool: str, **arguments: Any) -> int:
        """A tool call whose answer is awaited later; its id."""
        return await self.ask("tools/call", {"name": tool, "arguments": arguments})

    async def call(self, tool: str, **arguments: Any) -> Frame:
        """A tool call and its answer."""
        return await self.answer(await self.start(tool, **arguments))

    async def shake(self) -> Frame:
        """The legacy handshake."""
        answer = await self.answer(await self.ask("initialize", INITIALIZE))
        await self.send(method="notifications/initialized")
        return answer

    async def heard(self, wanted: Callable[[Frame], bool]) -> Frame:
        """The first frame, of all that were heard, that is wanted."""
        checked = 0
        while True:
            for frame in self.frames[checked:]:
                if wanted(frame):
                    return frame
            checked = len(self.frames)
            await self.hear()

    async def hear(self) -> None:
        """What comes next."""
        for line in self._splitter.feed(await self.stdout.receive()):
            assert isinstance(line, bytes)
            self.lines.append(line)
            self.frames.append(json.loads(line))

    async def answer(self, request_id: Any) -> Frame:
        """The answer to one request."""
        return await self.heard(lambda frame: "method" not in frame and frame["id"] == request_id)

    async def hear_all(self) -> list[Frame]:
        """Everything until the runner is done."""
        try:
            while True:
                await self.hear()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return self.frames

    def doubles(self) -> list[Any]:
        """The ids that were answered more than once."""
        answers = Counter(frame["id"] for frame in self.frames if "method" not in frame and frame["id"] is not None)
        return [request_id for request_id, count in answers.items() if count > 1]

    def span(self, request_id: Any) -> Call:
        """The record of one request of the host."""
        (call,) = [call for call in self.recorder.begun if call.from_host and call.request_id == request_id]
        return call


def reason(answer: Frame) -> str:
    """The stable word of an error that the runner made."""
    word: str = answer["error"]["data"]["reason"]
    return word


def spec_of(**limits: Any) -> ServerSpec:
    """A profile with these limits."""
    limits = {"start": 5.0, "call": 5.0} | limits
    return ServerSpec(name="test", server=Server(image="bulkhead/python", command=("server",)), limits=Limits(**limits))


def _pair() -> tuple[Awaitable[UNIXSocketStream], Awaitable[UNIXSocketStream]]:
    ours, theirs = socket.socketpair()
    return UNIXSocketStream.from_socket(ours), UNIXSocketStream.from_socket(theirs)


@asynccontextmanager
async def session(
    folder: Path,
    run: Callable[[Process], Awaitable[int]],
    *,
    spec: ServerSpec | None = None,
    books: Books | None = None,
    leases: Leases | None = None,
    launch: Callable[[Callable[[], Awaitable[Sandbox]]], Awaitable[Sandbox]] | None = None,
    **limits: Any,
) -> AsyncIterator[Host]:
    """A host in a session with a server function; launch may stand in the way of a start."""
    spec = spec or spec_of(**limits)
    daemon = FakeDaemon({"server": run})
    daemon.add_image("bulkhead/python", IMAGE)
    engine = FakeEngine(daemon, state=folder / "state")
    ids = itertools.count(1)

    async def start(*_: object) -> Sandbox:
        sandbox_id = f"test-{next(ids)}"
        return await engine.start(
            plan_for(spec, sandbox_id=sandbox_id, image_digest=IMAGE, image_command=(), seccomp="{}", owners={})
        )

    stdin, runner_in = _pair()
    runner_out, stdout = _pair()
    recorder = Recorded(folder)
    host = Host(await stdin, await stdout, recorder)
    inner = await runner_in, await runner_out
    relay = Relay(
        spec,
        inner,
        start if launch is None else lambda *_: launch(start),
        recorder=recorder,
        log=ServerLog(folder / "logs" / "test.log"),
        say=host.said.append,
        books=books,
        leases=leases,
        publish=host.statuses.append,
    )

    async def run_relay() -> None:
        try:
            host.result = await relay.run(host.stop)
        finally:
            assert not daemon.sandboxes, "a sandbox is left behind"
        host.over.set()
        for stream in inner:
            await stream.aclose()

    try:
        with anyio.fail_after(3 * SOON):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run_relay)
                yield host
                await host.stdin.aclose()
                await host.hear_all()
                await host.over.wait()
    finally:
        with anyio.CancelScope(shield=True):
            for stream in (host.stdin, host.stdout, *inner):
                await stream.aclose()
            await engine.close()
    assert host.doubles() == []
    assert [(call.method, call.request_id) for call in recorder.begun if not call.ended_at] == []
    assert len(recorder.ended) == len(recorder.begun)
