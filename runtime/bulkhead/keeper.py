"""Keeps a session's sandbox: starts it, hears it, watches its limits, tells its end, and starts the next one.

A sandbox that reaches a limit is stopped, and the next request starts a new one, at most MAX_RESTARTS times a minute; a
legacy server is given the host's own handshake again. What is said on the way is relay.py's.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from bulkhead.costs import Costs
from bulkhead.errors import BulkheadError, EngineError, LimitError, StartError
from bulkhead.obituary import obituary
from bulkhead.pending import overdue
from bulkhead.wire import messages
from bulkhead.wire.frames import Splitter
from bulkhead.wire.session import OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from anyio.abc import TaskGroup

    from bulkhead.engines.base import Exit, Sandbox
    from bulkhead.pending import Pending
    from bulkhead.serverlog import ServerLog
    from bulkhead.spec import ServerSpec
    from bulkhead.telemetry import Telemetry
    from bulkhead.wire.frames import Overlong
    from bulkhead.wire.messages import Answer, Request
    from bulkhead.wire.session import Session

MAX_RESTARTS = 3
# Hosts give the runner about 2 s between the end of stdin and SIGKILL; removing a container takes 0.2 of them.
LEAVE = 1.0
GRACE = 0.3
GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
HANDSHAKE = f"{OWN_PREFIX}initialize"
_BUSY_TICK = 0.25
_IDLE_TICK = 1.0


@dataclass(frozen=True, slots=True)
class Status:
    """What `ps` shows of a session: written by the runner when it changes, never for a call.

    containers: those of the sandbox, or of the last. killed: the kill switch was heard, and nothing was started since.
    """

    sandbox: str = ""
    starts: int = 0
    last_end: str = ""
    refused: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    killed: bool = False


@dataclass(slots=True)
class Replay:
    """The handshake that a restarted server is given: done once it answered or ended."""

    done: anyio.Event = field(default_factory=anyio.Event)
    answer: Answer | None = None


class Keeper:
    """One session's sandboxes, one after the other; all attributes are of the one that runs now, or of the last.

    launch starts a fresh one. hear takes the lines that it says, bury the reason and the cause of each one's end. say
    prints a line for the person, publish takes what `ps` shows.
    """

    def __init__(
        self,
        spec: ServerSpec,
        session: Session[Pending],
        launch: Callable[[TaskGroup], Awaitable[Sandbox]],
        *,
        hear: Callable[[Iterator[bytes | Overlong]], Awaitable[None]],
        bury: Callable[[BulkheadError, Exit], Awaitable[None]],
        recorder: Telemetry,
        log: ServerLog,
        say: Callable[[str], None],
        publish: Callable[[Status], None],
    ) -> None:
        self.sandbox: Sandbox | None = None
        self.costs = Costs()
        self.spoken = False  # it has answered something
        self.shaken = False  # any sandbox of the session has answered the host's handshake
        self.replay: Replay | None = None
        self.last_error: BulkheadError | None = None
        self._spec = spec
        self._session = session
        self._launch = launch
        self._hear = hear
        self._bury = bury
        self._recorder = recorder
        self._log = log
        self._say = say
        self._publish = publish
        self._status = Status()
        self._restarts: deque[float] = deque()
        self._dying: anyio.Event | None = None  # set once the sandbox that is being stopped is gone
        self._killed: BulkheadError | None = None  # since the last start
        self._leaving = False
        self._heard_out = anyio.Event()  # all that the sandbox said has gone to the host, and its end
        self._starting = anyio.Lock()
        self._tasks: TaskGroup

    def begin(self, tasks: TaskGroup) -> None:
        """Starts the first sandbox, and watches it and all that follow, in tasks."""
        self._tasks = tasks
        tasks.start_soon(self._start_early)
        tasks.start_soon(self._watch)

    async def ready(self) -> None:
        """Waits while one is being stopped, or a request would fail for what others did."""
        if self._dying is not None and self._killed is None:
            await self._dying.wait()

    async def revived(self, request: Request | None) -> Sandbox:
        """The living sandbox, started if there is none. Raises BulkheadError, told once."""
        if self.sandbox is not None and not self._starting.locked():  # locked: it has its handshake still to take
            return self.sandbox
        async with self._starting:
            await self.ready()  # the start that this one waited for may have failed
            if self.sandbox is None:
                if self.last_error is not None and not self._status.starts:
                    raise self.last_error
                try:
                    await self._start(request)
                except BulkheadError as error:
                    self.last_error = error
                    raise
        if self.sandbox is None:
            raise self.last_error or StartError("the server ended while it was starting")
        return self.sandbox

    async def send(self, sandbox: Sandbox, frame: bytes) -> None:
        """One line to a sandbox. One that is gone is no error here: bury() answers for it."""
        try:
            await sandbox.stdin.send(frame + b"\n")
        except GONE:
            return

    async def write_secret(self, name: str, value: bytes | None) -> None:
        """Into the sandbox that runs; one that is gone has nothing to read. Raises EngineError for a value.

        A sandbox out of which an expired one cannot be taken is ended.
        """
        sandbox = self.sandbox
        if sandbox is None:
            return
        try:
            await sandbox.write_secret(name, value)
        except EngineError:
            if value is not None:
                raise
            await sandbox.stop(0)

    async def leave(self) -> None:
        """The host is done: the server gets the end of its input, and a moment to finish what it was asked."""
        self._leaving = True
        if self.sandbox is not None:
            await self.sandbox.stdin.aclose()
            # Not for its end alone: what it said last is still on its way to the host.
            with anyio.move_on_after(LEAVE):
                await self._heard_out.wait()

    async def stop(self) -> None:
        """Ends what runs, whatever happens."""
        sandbox, self.sandbox = self.sandbox, None
        self.costs.settle()
        if sandbox is not None:
            with anyio.CancelScope(shield=True):
                await sandbox.stop(GRACE)

    async def kill(self, error: BulkheadError) -> None:
        """Ends what runs or starts at once, and for error. Requests that wait for its end go on, to be refused."""
        self.last_error = self._killed = error
        self._note(replace(self._status, killed=True))
        if self._dying is not None:
            self._dying.set()
        if (sandbox := self.sandbox) is not None:
            await sandbox.stop(0)

    def note(self, *, refused: tuple[str, ...]) -> None:
        """For `ps`: what was refused last."""
        self._note(replace(self._status, refused=refused))

    def _note(self, status: Status) -> None:
        self._status = status
        self._publish(status)

    # A sandbox's life

    async def _start_early(self) -> None:
        """The container comes up while the host's first frame is on its way."""
        try:
            await self.revived(None)
        except BulkheadError:
            # Requests that come in are told why; the runner ends once the host had time to ask.
            await anyio.sleep(2 * LEAVE)
            self._tasks.cancel_scope.cancel()

    async def _start(self, request: Request | None) -> None:
        self._count_restart()
        self._killed = None
        if self._status.killed:
            self._note(replace(self._status, killed=False))
        sandbox = await self._launch(self._tasks)
        if self._killed is not None:
            await sandbox.stop(0)
            raise self._killed
        self._session.server.end()  # ids of the server before it are this one's to use
        self.sandbox, self.costs, self.spoken = sandbox, Costs(sandbox, self._tasks), False
        starts, containers = self._status.starts + 1, sandbox.containers
        self._note(replace(self._status, sandbox=sandbox.id, starts=starts, containers=containers))
        self._recorder.sandbox_started(sandbox.id)
        self._tasks.start_soon(self._drain_stderr, sandbox)
        self._heard_out = anyio.Event()
        self._tasks.start_soon(self._pump, sandbox, self._heard_out)
        if self._status.starts > 1:
            self._say(f"{self._spec.name}: started again after: {self._status.last_end}")
            await self._shake_again(sandbox, request)

    def _count_restart(self) -> None:
        now = time.monotonic()
        while self._restarts and self._restarts[0] < now - 60:
            self._restarts.popleft()
        if len(self._restarts) >= MAX_RESTARTS:
            why = f"{MAX_RESTARTS} restarts in the last minute; last: {self._status.last_end}"
            hint = f"see `bulkhead trace {self._spec.name}` and wait a minute"
            raise LimitError("the server is not started again", why=why, hint=hint, reason="restarts")
        if self._status.starts:
            self._restarts.append(now)

    async def _shake_again(self, sandbox: Sandbox, request: Request | None) -> None:
        """Gives a legacy server the handshake that the one before it had."""
        initialize = self._session.initialize
        if not self.shaken or initialize is None or (request is not None and request.method == "initialize"):
            return
        self.replay = replay = Replay()
        await self.send(sandbox, messages.with_id(initialize, HANDSHAKE))
        with anyio.move_on_after(self._spec.limits.start):
            await replay.done.wait()
        self.replay = None
        if not replay.done.is_set():
            self._dying = self._dying or anyio.Event()
            await sandbox.stop(0, limit="timeout")
            raise LimitError("the server did not start again in time", hint="raise limits.start", reason="timeout")
        if self.sandbox is None and self.last_error is not None:
            raise self.last_error
        if replay.answer is None or replay.answer.error is not None:
            self._dying = self._dying or anyio.Event()
            await sandbox.stop(0)
            error = replay.answer and replay.answer.error
            why = f"it answered: {error['message']:.200}" if error else "its answer was malformed"
            raise StartError("the server did not take its handshake again", why=why, reason="exited")
        self.spoken = True
        if self._session.initialized is not None:
            await self.send(sandbox, self._session.initialized.raw)

    async def _pump(self, sandbox: Sandbox, heard_out: anyio.Event) -> None:
        splitter = Splitter(self._spec.limits.message)
        try:
            while True:
                data = await sandbox.stdout.receive()
                await self._hear(splitter.feed(data))
        except GONE:
            pass
        self._dying = self._dying or anyio.Event()
        # Closed output and a living process: nothing can come from it any more.
        with anyio.move_on_after(LEAVE):
            await sandbox.wait()
        await sandbox.stop(0)
        end = await sandbox.wait()
        if end.cause == "exited" and (rest := splitter.end()) is not None:
            await self._hear(iter((rest,)))
        await self._ended(end)
        heard_out.set()

    async def _drain_stderr(self, sandbox: Sandbox) -> None:
        try:
            while True:
                self._log.write(await sandbox.stderr.receive())
        except GONE:
            return

    async def _ended(self, end: Exit) -> None:
        self._note(replace(self._status, sandbox="", last_end=str(end)))
        self.sandbox = None
        self.costs.settle()
        words = self._log.last(3)
        error = self._killed or obituary(end, self._spec, self.costs.last, spoken=self.spoken, last_words=words)
        self._recorder.sandbox_ended("" if self._leaving else error.reason)
        if self._session.host.pending or not self._leaving:
            self.last_error = error
        if self.replay is not None:
            self.replay.done.set()
        await self._bury(error, end)
        if self._dying is not None:
            self._dying.set()
            self._dying = None

    async def _watch(self) -> None:
        """Deadlines and limits, every tick."""
        while True:
            tick = _BUSY_TICK if self._session.host.pending else _IDLE_TICK
            await anyio.sleep(tick)
            sandbox = self.sandbox
            if sandbox is None:
                continue
            limit = "timeout" if overdue(self._session, tick) else await self.costs.limit()
            # It may have ended while it was looked at; then nobody would set the event.
            if limit and self._dying is None and self.sandbox is sandbox:
                self._dying = anyio.Event()
                await sandbox.stop(0, limit=limit)
