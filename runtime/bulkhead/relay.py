"""ONE session's pumps: what a host says goes to its sandbox, what the sandbox says comes back. Read this first.

    host -> frame -> message -> span opens -> judged, on record -> leases -> sandbox
    sandbox -> frame -> message -> judged, on record -> host -> span closes, with what the call used

Rules: the bytes that came are the bytes that are forwarded, unless a guard rewrote them (judgement.py). Every request
that a host makes is answered once: by the server, or by an error that names the cause. A frame that is no message is
dropped and told; where it meant to answer a live request, that request fails at once. What takes time, as a person's
word, keeps no other message waiting. When a sandbox ends, every request in flight is told why (keeper.py has its life
and its limits). The session ends by cancelling its task group, whoever sees the end first.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from bulkhead import telemetry
from bulkhead.connections import Connections
from bulkhead.errors import BulkheadError, DeniedError, LimitError, ProtocolError
from bulkhead.judgement import Judgement, error_type, unsettled
from bulkhead.keeper import GONE, GRACE, HANDSHAKE, LEAVE, MAX_RESTARTS, Keeper
from bulkhead.pending import Pending, postpone
from bulkhead.person import AskedBack, Person
from bulkhead.policy.declared import LISTS
from bulkhead.policy.verdict import Context, Hold
from bulkhead.questions import Questions
from bulkhead.together import together
from bulkhead.wire import broken, messages
from bulkhead.wire.context import with_context
from bulkhead.wire.frames import Overlong, Splitter
from bulkhead.wire.messages import Answer, Id, Malformed, Notification, Request
from bulkhead.wire.session import LASTING, OWN_PREFIX, PROTOCOL_KEY, Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from anyio.abc import ByteReceiveStream, ByteSendStream, TaskGroup

    from bulkhead.credentials.leases import Leases
    from bulkhead.engines.base import Exit, Sandbox
    from bulkhead.judgement import Books
    from bulkhead.keeper import Status
    from bulkhead.policy.verdict import Verdict
    from bulkhead.serverlog import ServerLog
    from bulkhead.spec import ServerSpec
    from bulkhead.telemetry import Telemetry

_MAX_TOLD = 10


class Relay:
    """One host session. launch starts a fresh sandbox; say prints a line for the person at stderr.

    Without leases the server has no secrets; without books nothing is pinned or put on record.
    """

    def __init__(
        self,
        spec: ServerSpec,
        host: tuple[ByteReceiveStream, ByteSendStream],
        launch: Callable[[TaskGroup, Connections], Awaitable[Sandbox]],
        *,
        recorder: Telemetry,
        log: ServerLog,
        say: Callable[[str], None],
        leases: Leases | None = None,
        books: Books | None = None,
        publish: Callable[[Status], None] = lambda _: None,
    ) -> None:
        self._spec = spec
        self._host_in, self._host_out = host
        self._recorder = recorder
        self._say = say
        self._leases = leases
        self._books = books
        self._session: Session[Pending] = Session(left=Pending.left)
        self._to_server_own = Questions(self._ask_server)
        self._to_host_own = Questions(self._to_host)
        self._judgement = Judgement(
            spec,
            self._session,
            books,
            leases,
            server=self._to_server_own,
            person=Person(spec, books.state, self._session, self._to_host_own, tell=self._to_host, say=say)
            if books is not None
            else None,
            say=say,
        )
        connections = Connections(
            spec.name,
            recorder,
            say=say,
            in_flight=self._in_flight,
            record=self._judgement.connected,
            changed=lambda: self._keeper.note(refused=connections.refused),
        )
        self._keeper = Keeper(
            spec,
            self._session,
            lambda tasks: self._launched(launch(tasks, connections)),
            hear=self._from_sandbox,
            bury=self._bury,
            recorder=recorder,
            log=log,
            say=say,
            publish=publish,
        )
        self._answered = False  # by any sandbox of this session
        self._protocol = ""
        self._told = 0
        self._host_lock = anyio.Lock(fast_acquire=True)
        self._tasks: TaskGroup

    async def run(self, stop: anyio.Event | None = None) -> BulkheadError | None:
        """Until the host closes its side, or stop is set. Returns why the server never answered, if it never did.

        Raises IntegrityError (reason ``audit``) where there can be no record of it.
        """
        await self._judgement.open()
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._judgement.begin(tasks, self._tell)
                if self._leases is not None:
                    self._leases.begin(tasks, self._keeper.write_secret, self._judgement.secret)
                self._keeper.begin(tasks)
                if stop is not None:
                    tasks.start_soon(self._leave_on, stop)
                await self._pump_host()
                await self._leave()
        except Exception as error:
            await self._confess(error)
            raise
        finally:
            if self._leases is not None:
                await self._leases.end()
            for entry in (*self._session.host.end(), *self._session.server.end()):
                entry.trace.end("cancelled")
            await self._keeper.stop()
            await self._judgement.end()
        return None if self._answered else self._keeper.last_error

    async def kill(self, error: BulkheadError) -> None:
        """Ends all that is in flight, and the sandbox; what is asked later is refused for as long as it is killed."""
        if self._leases is not None:
            self._leases.suspend()
        async with anyio.create_task_group() as tasks:  # a host that does not read keeps nothing alive
            tasks.start_soon(self._keeper.kill, error)
            for entry in self._session.host.end():
                tasks.start_soon(self._fail, entry, error)

    async def _launched(self, starting: Awaitable[Sandbox]) -> Sandbox:
        sandbox = await starting
        if self._leases is not None:
            self._leases.started()
        if self._books is not None:
            self._books.pins.restarted()
        return sandbox

    # From the host

    async def _pump_host(self) -> None:
        splitter = Splitter(self._spec.limits.message)
        while True:
            try:
                data = await self._host_in.receive()
            except GONE:
                return
            await together(splitter.feed(data), self._from_host)

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
        await self._keeper.ready()
        if type(request.id) is str and request.id.startswith(OWN_PREFIX):
            raise Malformed(f"using an id that starts with {OWN_PREFIX!r}")
        entry = self._open(request)
        try:
            self._session.host.ask(request, entry)
        except Malformed:
            entry.trace.end("malformed")
            raise
        self._session.note(request)
        verdict = self._judgement.at_once(request, entry)
        if verdict is None or isinstance(verdict, Hold) or entry.leases:  # it may take its time: other messages go on
            self._tasks.start_soon(self._pass_on, request, entry, verdict)
        else:
            await self._pass_on(request, entry, verdict)

    async def _pass_on(self, request: Request, entry: Pending, verdict: Verdict | None) -> None:
        """To the sandbox, once it may and all secrets are there that it may use; else an error to the host."""
        try:
            request = await self._judgement.request(request, entry, verdict)
            for lease in entry.leases:
                if self._session.host.pending.get(request.id) is entry:
                    await lease.open(entry.trace)
            if entry.leases:
                self._judgement.arm(entry)
            if self._session.host.pending.get(request.id) is not entry:  # cancelled meanwhile
                entry.left()
                return
            sandbox = await self._keeper.revived(request)
            for _ in range(MAX_RESTARTS):
                if not self._judgement.outdated(request):
                    break
                # Another sandbox than the one by whose list it was judged.
                request = await self._judgement.request(request, entry, None)
                sandbox = await self._keeper.revived(request)
            else:
                raise unsettled(request)
            await self._forward(request, entry, sandbox)
        except AskedBack as back:
            await self._give(request, entry, back.result)
        except BulkheadError as error:
            entry.left()
            await self._drop(request, entry, error)

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
        kept = {"cursor": params["cursor"]} if request.method in LISTS and "cursor" in params else {}
        leases = self._leases.for_tool(name) if self._leases is not None and request.method == "tools/call" else ()
        context = self._judgement.context(request.method, name)
        return Pending(request._replace(raw=b"", params=kept), trace, context, leases=leases)

    async def _give(self, request: Request, entry: Pending, result: dict[str, Any]) -> None:
        """A result of the runner's own."""
        if self._session.host.pending.get(request.id) is entry:
            self._session.host.drop(request.id)
            entry.trace.end()
            await self._to_host(messages.encode({"jsonrpc": "2.0", "id": request.id, "result": result}))

    async def _drop(self, request: Request, entry: Pending, error: BulkheadError) -> None:
        if self._session.host.pending.get(request.id) is entry:
            self._session.host.drop(request.id)
            await self._fail(entry, error)

    async def _forward(self, request: Request, entry: Pending, sandbox: Sandbox) -> None:
        limits = self._spec.limits
        if request.method not in LASTING:
            entry.deadline = time.monotonic() + (limits.call if self._keeper.spoken else limits.start)
        entry.trace.sent()
        await self._keeper.send(sandbox, with_context(request, entry.trace.traceparent))
        entry.before = await self._keeper.costs.begin(alone=len(self._session.host.pending) == 1)

    async def _host_notification(self, note: Notification) -> None:
        self._session.note(note)
        sandbox = self._keeper.sandbox
        cancelled = self._session.host.cancel(note) if note.method == "notifications/cancelled" else None
        if cancelled is not None:
            cancelled.trace.end("cancelled")
        trace = self._recorder.begin(note.method, request_id=None, parent=messages.traceparent(note.params))
        trace.sent()
        if sandbox is not None:
            await self._keeper.send(sandbox, with_context(note, trace.traceparent))
        trace.end("" if sandbox is not None else "exited")

    async def _host_answer(self, answer: Answer) -> None:
        if self._to_host_own.answered(answer):
            return
        entry = self._session.server.answer(answer)
        if entry is None:
            return
        entry.trace.answered()
        sandbox = self._keeper.sandbox
        entry.trace.end(error_type(answer) if sandbox is not None else "exited")
        if sandbox is not None:
            await self._keeper.send(sandbox, answer.raw)

    # From the sandbox

    async def _from_sandbox(self, lines: Iterator[bytes | Overlong]) -> None:
        await together(lines, self._from_server)

    async def _ask_server(self, frame: bytes) -> None:
        await self._keeper.send(await self._keeper.revived(None), frame)

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
            elif self._books is not None:
                self._books.pins.list_changed(message.method)
            with suppress(DeniedError):
                await self._to_host(self._judgement.unleaked(message))

    async def _server_request(self, request: Request) -> None:
        if type(request.id) is str and request.id.startswith(OWN_PREFIX):
            raise Malformed(f"a request with an id that starts with {OWN_PREFIX!r}")
        parent = messages.traceparent(request.params)
        trace = self._recorder.begin(request.method, request_id=request.id, parent=parent, from_host=False)
        # Without its bytes: a server may have many in flight, and each may be as large as limits.message.
        asked = request._replace(raw=b"", params={})
        entry = Pending(asked, trace, Context(self._spec, request.method))
        try:
            self._session.server.ask(asked, entry)
        except Malformed:
            trace.end("malformed")
            raise
        try:
            frame = await self._judgement.server_request(request, entry)
        except BulkheadError as error:
            if self._session.server.drop(request.id) is not None:
                trace.end(error.reason)
                await self._answer_server(messages.failure(request.id, error))
            return
        if self._session.server.pending.get(request.id) is entry:
            trace.sent()
            await self._to_host(frame)

    async def _answer_server(self, frame: bytes) -> None:
        if self._keeper.sandbox is not None:
            await self._keeper.send(self._keeper.sandbox, frame)

    async def _server_answer(self, answer: Answer) -> None:
        if answer.id == HANDSHAKE and self._keeper.replay is not None:
            self._keeper.replay.answer = answer
            self._keeper.replay.done.set()
            return
        if self._to_server_own.answered(answer):
            self._has_spoken()
            return
        entry = self._session.host.answer(answer)
        if entry is None:
            return
        entry.trace.answered()
        self._has_spoken()
        if entry.request.method == "initialize" and answer.result is not None:
            self._keeper.shaken = True
            self._protocol = str(answer.result.get("protocolVersion"))
            self._recorder.note(telemetry.PROTOCOL_VERSION, self._protocol)
        verdict = self._judgement.answer_at_once(answer, entry)
        if isinstance(verdict, Hold):  # a screen may take its time
            self._tasks.start_soon(self._pass_back, answer, entry, verdict)
        else:
            await self._pass_back(answer, entry, verdict)

    def _has_spoken(self) -> None:
        self._answered = True
        if not self._keeper.spoken:
            self._keeper.spoken = True
            postpone(self._session, self._spec.limits.call)

    async def _pass_back(self, answer: Answer, entry: Pending, verdict: Verdict) -> None:
        """To the host, once it may."""
        failure = error_type(answer)
        try:
            answer = await self._judgement.answer(answer, entry, verdict)
            entry.trace.set(telemetry.BYTES_OUT, len(answer.raw))
            await self._to_host(answer.raw)
        except BulkheadError as error:
            await self._fail(entry, error)
            return
        except BaseException:
            entry.trace.end(failure)
            raise
        entry.trace.stop(failure)
        if failure:
            await self._keeper.costs.end_now(entry.trace, entry.before)
        else:
            self._keeper.costs.end(entry.trace, entry.before)

    async def _fault(self, why: str, suspects: Sequence[str], reason: str) -> None:
        """A frame of the server's is dropped: told once in a while, and the request that it meant to answer fails."""
        self._told += 1
        if self._told <= _MAX_TOLD:
            last = " (no more of these are told)" if self._told == _MAX_TOLD else ""
            self._say(f"{self._spec.name}: dropped from the server's output: {why}{last}")
        if HANDSHAKE in suspects and self._keeper.replay is not None:
            self._keeper.replay.done.set()
        self._to_server_own.malformed(suspects, why)
        request_id = self._session.host.matching(suspects)
        if request_id is None:
            return
        entry = self._session.host.pending[request_id]
        self._session.host.drop(request_id)
        kind = LimitError if reason == "message" else ProtocolError
        what = "the server's answer was refused"
        await self._fail(entry, kind(what, why=why, hint="report it to the server's author", reason=reason))

    # The ends

    async def _bury(self, error: BulkheadError, end: Exit) -> None:
        """A sandbox has ended: whoever waits for it is told why, and what it asked is withdrawn."""
        self._to_server_own.end(error)
        for entry in self._session.host.end(lambda entry: bool(entry.trace.sent_at)):
            await self._fail(entry, error)
        for request_id in list(self._session.server.pending):
            await self._withdraw(request_id, f"the server ended: {end}")

    async def _tell(self, note: bytes) -> None:
        """A notification that the server did not make. A modern host has asked for what it wants to hear."""
        if self._keeper.shaken:
            await self._to_host(note)

    async def _withdraw(self, request_id: Id, reason: str) -> None:
        """What a server that is gone had asked the host: cancelled, so that a late answer is nobody's."""
        frame = messages.notification("notifications/cancelled", {"requestId": request_id, "reason": reason})
        note = messages.parse(frame)
        if isinstance(note, Notification) and (entry := self._session.server.cancel(note)) is not None:
            entry.trace.end("cancelled")
        await self._to_host(frame)

    async def _leave_on(self, stop: anyio.Event) -> None:
        await stop.wait()
        await self._leave()

    async def _leave(self) -> None:
        await self._keeper.leave()
        self._tasks.cancel_scope.cancel()

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
        self._keeper.costs.note(entry.trace, entry.before)
        entry.trace.end(error.reason)
        await self._to_host(messages.failure(entry.request.id, error))

    async def _to_host(self, frame: bytes) -> None:
        async with self._host_lock:
            try:
                await self._host_out.send(frame + b"\n")
            except GONE:
                self._tasks.cancel_scope.cancel()

    def _in_flight(self) -> list[Pending]:
        """The tool calls that a connection may belong to; where there is none, any request, as in a start."""
        pending = list(self._session.host.pending.values())
        return [entry for entry in pending if entry.context.method == "tools/call"] or pending


async def refuse(host: tuple[ByteReceiveStream, ByteSendStream], error: BulkheadError) -> None:
    """Answers the host's first request with error, where one comes within the time that a host gives a start."""
    splitter = Splitter(2**20)
    with anyio.move_on_after(2 * LEAVE), suppress(*GONE):
        while True:
            for line in splitter.feed(await host[0].receive()):
                with suppress(Malformed):
                    request = None if isinstance(line, Overlong) else messages.parse(line)
                    if isinstance(request, Request):
                        await host[1].send(messages.failure(request.id, error) + b"\n")
                        return


_RAISE_MESSAGE = "send less, or raise limits.message in the profile"
