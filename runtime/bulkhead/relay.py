"""ONE session's pumps: what a host says goes to its sandbox, what the sandbox says comes back. Read this first.

    host -> frame -> message -> guards -> span opens -> sandbox
    sandbox -> frame -> message -> guards -> host -> span closes, with what the call used

Rules: the bytes that came are the bytes that are forwarded. Every request that a host makes is answered once: by the
server, or by an error that names the cause. A frame that is no message is dropped and told; where it meant to answer a
live request, that request fails at once. A sandbox that reaches a limit is stopped, every request in flight is told
which limit, and the next request starts a new sandbox, at most MAX_RESTARTS times a minute; a legacy server is given
the host's own handshake again. The session ends by cancelling its task group, whoever sees the end first.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from bulkhead import telemetry
from bulkhead.connections import Connections
from bulkhead.costs import Costs
from bulkhead.errors import BulkheadError, LimitError, ProtocolError, StartError
from bulkhead.obituary import obituary
from bulkhead.policy import chain
from bulkhead.policy.verdict import Context, Deny
from bulkhead.wire import broken, messages
from bulkhead.wire.context import with_context
from bulkhead.wire.frames import Overlong, Splitter
from bulkhead.wire.messages import Answer, Id, Malformed, Notification, Request
from bulkhead.wire.session import LASTING, OWN_PREFIX, PROTOCOL_KEY, Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import ByteReceiveStream, ByteSendStream, TaskGroup

    from bulkhead.engines.base import Exit, Sandbox, Usage
    from bulkhead.serverlog import ServerLog
    from bulkhead.spec import ServerSpec
    from bulkhead.telemetry import Call, Telemetry

MAX_RESTARTS = 3
# Hosts give the runner about 2 s between the end of stdin and SIGKILL; removing a container takes 0.2 of them.
LEAVE = 1.0
GRACE = 0.3
# Seconds that a call may wait for a person's answer beyond its own deadline.
PATIENCE = 600.0
_PERSON = frozenset({"elicitation/create", "sampling/createMessage"})
_HANDSHAKE = f"{OWN_PREFIX}initialize"
_BUSY_TICK = 0.25
_IDLE_TICK = 1.0
_MAX_TOLD = 10
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


@dataclass(slots=True)
class Pending:
    """A request without an answer: who waits, since when and until when, and what it has cost so far."""

    request: Request
    trace: Call
    context: Context
    deadline: float = math.inf
    before: Usage | None = None
    waited: float = 0.0
    refused: list[str] = field(default_factory=list)  # what its server wanted to reach meanwhile, and might not


@dataclass(slots=True)
class Replay:
    """The handshake that a restarted server is given: done once it answered or ended."""

    done: anyio.Event = field(default_factory=anyio.Event)
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What `ps` shows of a session: written by the runner when it changes, never for a call."""

    sandbox: str = ""
    starts: int = 0
    last_end: str = ""
    refused: tuple[str, ...] = ()


class Relay:
    """One host session. launch starts a fresh sandbox; say prints a line for the person at stderr."""

    def __init__(
        self,
        spec: ServerSpec,
        host: tuple[ByteReceiveStream, ByteSendStream],
        launch: Callable[[TaskGroup, Connections], Awaitable[Sandbox]],
        *,
        recorder: Telemetry,
        log: ServerLog,
        say: Callable[[str], None],
        publish: Callable[[Status], None] = lambda _: None,
    ) -> None:
        self._spec = spec
        self._host_in, self._host_out = host
        self._launch = launch
        self._recorder = recorder
        self._log = log
        self._say = say
        self._publish = publish

        self._session: Session[Pending] = Session()
        self._connections = Connections(
            spec.name, recorder, say=say, in_flight=self._in_flight, changed=self._refusals_changed
        )
        self._status = Status()
        self._sandbox: Sandbox | None = None
        self._costs = Costs()  # of the last sandbox
        self._answered = False  # by any sandbox of this session
        self._spoken = False  # by the sandbox that runs now
        self._shaken = False
        self._protocol = ""
        self._replay: Replay | None = None
        self._restarts: deque[float] = deque()
        self._calls: deque[float] = deque()
        self._told = 0
        self._dying: anyio.Event | None = None  # set once the sandbox that is being stopped is gone
        self._leaving = False
        self._last_error: BulkheadError | None = None
        self._heard_out = anyio.Event()  # all that the sandbox said has gone to the host, and its end
        self._starting = anyio.Lock()
        self._host_lock = anyio.Lock(fast_acquire=True)
        self._tasks: TaskGroup

    async def run(self, stop: anyio.Event | None = None) -> BulkheadError | None:
        """Until the host closes its side, or stop is set. Returns why the server never answered, if it never did."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._start_early)
                tasks.start_soon(self._watch)
                if stop is not None:
                    tasks.start_soon(self._leave_on, stop)
                await self._pump_host()
                await self._leave()
        except Exception as error:
            await self._confess(error)
            raise
        finally:
            await self._stop_sandbox()
        return None if self._answered else self._last_error

    # From the host

    async def _pump_host(self) -> None:
        splitter = Splitter(self._spec.limits.message)
        while True:
            try:
                data = await self._host_in.receive()
            except _GONE:
                return
            for line in splitter.feed(data):
                await self._from_host(line)

    async def _from_host(self, line: bytes | Overlong) -> None:
        try:
            if isinstance(line, Overlong):
                raise Malformed(f"{line.size} bytes, the limit is {self._spec.limits.message}")
            message = messages.parse(line)
            if isinstance(message, Request):
                await self._request(message)
            elif isinstance(message, Notification):
                await self._host_notification(message)
            else:
                await self._host_answer(message)
        except Malformed as error:
            await self._refuse(line, f"the host's frame is {error}")

    async def _refuse(self, line: bytes | Overlong, why: str) -> None:
        """Answers a frame of the host's that is none, by its id where it can be told and nobody else waits for it."""
        if isinstance(line, Overlong):
            request_id = broken.request_id(line.head, line.tail)
            error: BulkheadError = LimitError("frame refused", why=why, hint=_RAISE_MESSAGE, reason="message")
        else:
            request_id = broken.request_id(line[:1024], line[-1024:])
            error = ProtocolError("frame refused", why=why)
        if request_id in self._session.host.pending:
            request_id = None
        await self._to_host(messages.failure(request_id, error))

    async def _request(self, request: Request) -> None:
        if self._dying is not None:
            await self._dying.wait()  # or it would fail for what others did, with a sandbox that is going
        if type(request.id) is str and request.id.startswith(OWN_PREFIX):
            raise Malformed(f"using an id that starts with {OWN_PREFIX!r}")
        entry = self._open(request)
        try:
            self._session.host.ask(request, entry)
        except Malformed:
            entry.trace.end("malformed")
            raise
        self._session.note(request)
        verdict = chain.judge(chain.REQUEST, request, entry.context)
        try:
            if isinstance(verdict, Deny):
                entry.trace.set(telemetry.DECISION, "deny")
                raise verdict.error
            if request.method == "tools/call":
                self._calls.append(time.monotonic())
            sandbox = self._sandbox or await self._revived(request)
            await self._forward(request, entry, sandbox)
        except BulkheadError as error:
            if self._session.host.pending.pop(request.id, None) is not None:
                await self._fail(entry, error)

    def _open(self, request: Request) -> Pending:
        params = request.params
        name = params.get("name")
        name = name if type(name) is str else ""
        uri = params.get("uri")
        trace = self._recorder.begin(
            request.method,
            request_id=request.id,
            name=name,
            uri=uri if type(uri) is str else "",
            parent=messages.traceparent(params),
        )
        trace.set(telemetry.BYTES_IN, len(request.raw))
        version = messages.meta(params).get(PROTOCOL_KEY)
        if type(version) is str and version != self._protocol:
            self._protocol = version
            self._recorder.note(telemetry.PROTOCOL_VERSION, version)
        # Without its bytes: many may wait, and each may be as large as limits.message.
        return Pending(request._replace(raw=b"", params={}), trace, self._context(request.method, name))

    def _context(self, method: str, tool: str) -> Context:
        if method != "tools/call":
            return Context(self._spec, method)
        minute_ago = time.monotonic() - 60
        while self._calls and self._calls[0] < minute_ago:
            self._calls.popleft()
        in_flight = sum(entry.context.method == "tools/call" for entry in self._session.host.pending.values())
        return Context(self._spec, method, tool, len(self._calls), in_flight)

    async def _forward(self, request: Request, entry: Pending, sandbox: Sandbox) -> None:
        limits = self._spec.limits
        if request.method not in LASTING:
            entry.deadline = time.monotonic() + (limits.call if self._spoken else limits.start)
        entry.trace.sent()
        await self._to_sandbox(sandbox, with_context(request, entry.trace.traceparent))
        entry.before = await self._costs.begin(alone=len(self._session.host.pending) == 1)

    async def _host_notification(self, note: Notification) -> None:
        self._session.note(note)
        sandbox = self._sandbox
        cancelled = self._session.host.cancel(note) if note.method == "notifications/cancelled" else None
        if cancelled is not None:
            cancelled.trace.end("cancelled")
        trace = self._recorder.begin(note.method, request_id=None, parent=messages.traceparent(note.params))
        trace.sent()
        if sandbox is not None:
            await self._to_sandbox(sandbox, with_context(note, trace.traceparent))
        trace.end("" if sandbox is not None else "exited")

    async def _host_answer(self, answer: Answer) -> None:
        entry = self._session.server.answer(answer)
        if entry is None:
            return
        entry.trace.answered()
        entry.trace.end(_error_type(answer) if self._sandbox is not None else "exited")
        if self._sandbox is not None:
            await self._to_sandbox(self._sandbox, answer.raw)

    # From the sandbox

    async def _pump_sandbox(self, sandbox: Sandbox, heard_out: anyio.Event) -> None:
        splitter = Splitter(self._spec.limits.message)
        try:
            while True:
                data = await sandbox.stdout.receive()
                for line in splitter.feed(data):
                    await self._from_server(line)
        except _GONE:
            pass
        self._dying = self._dying or anyio.Event()
        # Closed output and a living process: nothing can come from it any more.
        with anyio.move_on_after(LEAVE):
            await sandbox.wait()
        await sandbox.stop(0)
        end = await sandbox.wait()
        if end.cause == "exited" and (rest := splitter.end()) is not None:
            await self._from_server(rest)
        await self._ended(end)
        heard_out.set()

    async def _drain_stderr(self, sandbox: Sandbox) -> None:
        try:
            while True:
                self._log.write(await sandbox.stderr.receive())
        except _GONE:
            return

    async def _from_server(self, line: bytes | Overlong) -> None:
        if isinstance(line, Overlong):
            why = f"a line of {line.size} bytes, the limit is {self._spec.limits.message}"
            await self._fault(why, broken.suspects(line.head, line.tail), "message")
            return
        try:
            message = messages.parse(line)
        except Malformed as error:
            if (rest := broken.salvage(line)) is not None and not line.startswith(b"{"):
                await self._fault("text before a message", [], "malformed")
                await self._from_server(rest)
            else:
                await self._fault(f"a line that is {error}", broken.suspects(line[:1024], line[-1024:]), "malformed")
            return
        try:
            await self._server_message(message)
        except Malformed as error:
            await self._fault(str(error), [str(message.id)] if isinstance(message, Answer) else [], "malformed")

    async def _server_message(self, message: messages.Message) -> None:
        if isinstance(message, Answer):
            await self._server_answer(message)
        elif isinstance(message, Request):
            await self._server_request(message)
        else:
            if message.method == "notifications/cancelled":
                cancelled = self._session.server.cancel(message)
                if cancelled is not None:
                    cancelled.trace.end("cancelled")
            await self._to_host(message.raw)

    async def _server_request(self, request: Request) -> None:
        parent = messages.traceparent(request.params)
        trace = self._recorder.begin(request.method, request_id=request.id, parent=parent, from_host=False)
        # Without its bytes: a server may have many in flight, and each may be as large as limits.message.
        asked = request._replace(raw=b"", params={})
        try:
            self._session.server.ask(asked, Pending(asked, trace, Context(self._spec, request.method)))
        except Malformed:
            trace.end("malformed")
            raise
        trace.sent()
        await self._to_host(request.raw)

    async def _server_answer(self, answer: Answer) -> None:
        if answer.id == _HANDSHAKE and self._replay is not None:
            self._replay.answer = answer
            self._replay.done.set()
            return
        entry = self._session.host.answer(answer)
        if entry is None:
            return
        entry.trace.answered()
        self._answered = True
        if not self._spoken:
            self._speaks()
        if entry.request.method == "initialize" and answer.result is not None:
            self._shaken = True
            self._protocol = str(answer.result.get("protocolVersion"))
            self._recorder.note(telemetry.PROTOCOL_VERSION, self._protocol)
        verdict = chain.judge(chain.RESULT, answer, entry.context._replace(refused=tuple(entry.refused)))
        if isinstance(verdict, Deny):
            entry.trace.set(telemetry.DECISION, "deny")
            await self._fail(entry, verdict.error)
            return
        entry.trace.set(telemetry.BYTES_OUT, len(answer.raw))
        error_type = _error_type(answer)
        try:
            await self._to_host(answer.raw)
        except BaseException:
            entry.trace.end(error_type)
            raise
        entry.trace.stop(error_type)
        if error_type:
            await self._costs.end_now(entry.trace, entry.before)
        else:
            self._costs.end(entry.trace, entry.before)

    def _speaks(self) -> None:
        """The first answer has come: from now on limits.call holds, for what was asked before it too."""
        self._spoken = True
        for entry in self._session.host.pending.values():
            if entry.deadline < math.inf:
                entry.deadline = time.monotonic() + self._spec.limits.call

    async def _fault(self, why: str, suspects: Sequence[str], reason: str) -> None:
        """A frame of the server's is dropped: told once in a while, and the request that it meant to answer fails."""
        self._told += 1
        if self._told <= _MAX_TOLD:
            last = " (no more of these are told)" if self._told == _MAX_TOLD else ""
            self._say(f"{self._spec.name}: dropped from the server's output: {why}{last}")
        if _HANDSHAKE in suspects and self._replay is not None:
            self._replay.done.set()
        request_id = self._session.host.matching(suspects)
        if request_id is None:
            return
        entry = self._session.host.pending.pop(request_id)
        kind = LimitError if reason == "message" else ProtocolError
        what = "the server's answer was refused"
        await self._fail(entry, kind(what, why=why, hint="report it to the server's author", reason=reason))

    # Life and death of sandboxes

    async def _start_early(self) -> None:
        """The container comes up while the host's first frame is on its way."""
        try:
            await self._revived(None)
        except BulkheadError:
            # Requests that come in are told why; the runner ends once the host had time to ask.
            await anyio.sleep(2 * LEAVE)
            self._tasks.cancel_scope.cancel()

    async def _revived(self, request: Request | None) -> Sandbox:
        """The living sandbox, started if there is none. Raises BulkheadError, told once."""
        async with self._starting:
            if self._sandbox is None:
                if self._last_error is not None and not self._status.starts:
                    raise self._last_error
                try:
                    await self._start(request)
                except BulkheadError as error:
                    self._last_error = error
                    raise
        if self._sandbox is None:
            raise self._last_error or StartError("the server ended while it was starting")
        return self._sandbox

    async def _start(self, request: Request | None) -> None:
        now = time.monotonic()
        while self._restarts and self._restarts[0] < now - 60:
            self._restarts.popleft()
        if len(self._restarts) >= MAX_RESTARTS:
            why = f"{MAX_RESTARTS} restarts in the last minute; last: {self._status.last_end}"
            hint = f"see `bulkhead trace {self._spec.name}` and wait a minute"
            raise LimitError("the server is not started again", why=why, hint=hint, reason="restarts")
        if self._status.starts:
            self._restarts.append(now)
        sandbox = await self._launch(self._tasks, self._connections)
        self._session.server.end()  # ids of the server before it are this one's to use
        self._sandbox, self._costs, self._spoken = sandbox, Costs(sandbox, self._tasks), False
        self._status = replace(self._status, sandbox=sandbox.id, starts=self._status.starts + 1)
        self._publish(self._status)
        self._recorder.sandbox_started(sandbox.id)
        self._tasks.start_soon(self._drain_stderr, sandbox)
        self._heard_out = anyio.Event()
        self._tasks.start_soon(self._pump_sandbox, sandbox, self._heard_out)
        if self._status.starts > 1:
            self._say(f"{self._spec.name}: started again after: {self._status.last_end}")
            await self._shake_again(sandbox, request)

    async def _shake_again(self, sandbox: Sandbox, request: Request | None) -> None:
        """Gives a legacy server the handshake that the one before it had."""
        initialize = self._session.initialize
        if not self._shaken or initialize is None or (request is not None and request.method == "initialize"):
            return
        self._replay = replay = Replay()
        await self._to_sandbox(sandbox, messages.with_id(initialize, _HANDSHAKE))
        with anyio.move_on_after(self._spec.limits.start):
            await replay.done.wait()
        self._replay = None
        if not replay.done.is_set():
            await sandbox.stop(0, limit="timeout")
            raise LimitError("the server did not start again in time", hint="raise limits.start", reason="timeout")
        if replay.answer is None or replay.answer.error is not None:
            await sandbox.stop(0)
            error = replay.answer and replay.answer.error
            why = f"it answered: {error['message']:.200}" if error else "it ended, or its answer was malformed"
            raise StartError("the server did not take its handshake again", why=why, reason="exited")
        self._spoken = True
        if self._session.initialized is not None:
            await self._to_sandbox(sandbox, self._session.initialized.raw)

    async def _ended(self, end: Exit) -> None:
        self._status = replace(self._status, sandbox="", last_end=str(end))
        self._publish(self._status)
        self._sandbox = None
        self._costs.settle()
        error = obituary(end, self._spec, self._costs.last, spoken=self._spoken, last_words=self._log.last(3))
        self._recorder.sandbox_ended("" if self._leaving else error.reason)
        if self._session.host.pending or not self._leaving:
            self._last_error = error
        if self._replay is not None:
            self._replay.done.set()
        for entry in self._session.host.end():
            await self._fail(entry, error)
        for request_id in list(self._session.server.pending):
            await self._withdraw(request_id, f"the server ended: {end}")
        if self._dying is not None:
            self._dying.set()
            self._dying = None

    async def _withdraw(self, request_id: Id, reason: str) -> None:
        """What a server that is gone had asked the host: cancelled, so that a late answer is nobody's."""
        frame = messages.notification("notifications/cancelled", {"requestId": request_id, "reason": reason})
        note = messages.parse(frame)
        if isinstance(note, Notification) and (entry := self._session.server.cancel(note)) is not None:
            entry.trace.end("cancelled")
        await self._to_host(frame)

    # Its connections

    def _in_flight(self) -> list[Pending]:
        """The tool calls that a connection may belong to; where there is none, any request, as in a start."""
        pending = list(self._session.host.pending.values())
        return [entry for entry in pending if entry.context.method == "tools/call"] or pending

    def _refusals_changed(self) -> None:
        self._status = replace(self._status, refused=self._connections.refused)
        self._publish(self._status)

    # Deadlines and limits

    async def _watch(self) -> None:
        while True:
            tick = _BUSY_TICK if self._session.host.pending else _IDLE_TICK
            await anyio.sleep(tick)
            sandbox = self._sandbox
            if sandbox is None:
                continue
            limit = self._overdue(tick) or await self._costs.limit()
            # It may have ended while it was looked at; then nobody would set the event.
            if limit and self._dying is None and self._sandbox is sandbox:
                self._dying = anyio.Event()
                await sandbox.stop(0, limit=limit)

    def _overdue(self, tick: float) -> str:
        """Deadlines stand still while the server waits for the person, but not for ever: it could ask to gain time."""
        asks = any(entry.request.method in _PERSON for entry in self._session.server.pending.values())
        for entry in self._session.host.pending.values():
            if asks and entry.waited < PATIENCE:
                entry.deadline += tick
                entry.waited += tick
            elif entry.deadline < time.monotonic():
                return "timeout"
        return ""

    # The ends

    async def _leave_on(self, stop: anyio.Event) -> None:
        await stop.wait()
        await self._leave()

    async def _leave(self) -> None:
        """The host is done: the server gets the end of its input, and a moment to finish what it was asked."""
        self._leaving = True
        if self._sandbox is not None:
            await self._sandbox.stdin.aclose()
            # Not for its end alone: what it said last is still on its way to the host.
            with anyio.move_on_after(LEAVE):
                await self._heard_out.wait()
        self._tasks.cancel_scope.cancel()

    async def _stop_sandbox(self) -> None:
        sandbox, self._sandbox = self._sandbox, None
        self._costs.settle()
        for entry in (*self._session.host.end(), *self._session.server.end()):
            entry.trace.end("cancelled")
        if sandbox is not None:
            with anyio.CancelScope(shield=True):
                await sandbox.stop(GRACE)

    async def _confess(self, error: Exception) -> None:
        """A fault of our own ends the session, but nobody waits for an answer that cannot come."""
        ours = BulkheadError("bulkhead failed", why=repr(error), hint="report it, with what stands at stderr")
        with anyio.move_on_after(GRACE):
            for entry in self._session.host.end():
                await self._fail(entry, ours)

    async def _fail(self, entry: Pending, error: BulkheadError) -> None:
        if isinstance(error, LimitError):
            entry.trace.set(telemetry.LIMIT, error.reason)
        entry.trace.set(telemetry.STATUS_CODE, str(error.code))
        self._costs.note(entry.trace, entry.before)
        entry.trace.end(error.reason)
        await self._to_host(messages.failure(entry.request.id, error))

    async def _to_host(self, frame: bytes) -> None:
        async with self._host_lock:
            try:
                await self._host_out.send(frame + b"\n")
            except _GONE:
                self._tasks.cancel_scope.cancel()

    async def _to_sandbox(self, sandbox: Sandbox, frame: bytes) -> None:
        """A sandbox that is gone is no error here: _ended answers for it."""
        try:
            await sandbox.stdin.send(frame + b"\n")
        except _GONE:
            return


async def refuse(host: tuple[ByteReceiveStream, ByteSendStream], error: BulkheadError) -> None:
    """Answers the host's first request with error, where one comes within the time that a host gives a start."""
    splitter = Splitter(2**20)
    with anyio.move_on_after(2 * LEAVE), suppress(*_GONE):
        while True:
            for line in splitter.feed(await host[0].receive()):
                with suppress(Malformed):
                    request = None if isinstance(line, Overlong) else messages.parse(line)
                    if isinstance(request, Request):
                        await host[1].send(messages.failure(request.id, error) + b"\n")
                        return


_RAISE_MESSAGE = "send less, or raise limits.message in the profile"


def _error_type(answer: Answer) -> str:
    if answer.error is not None:
        return str(answer.error["code"])
    return "tool_error" if answer.result is not None and answer.result.get("isError") is True else ""
