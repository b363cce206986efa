"""Judges one session's messages: killed? -> guards -> pins -> what a guard holds for -> the record -> on its way.

Rules: nothing goes on before its record is written and synced, and nothing goes on at all if it cannot be. The guards
are pure (policy/); what they hold for is done here: the person is asked, a screen is shown the text, the server is
asked for its lists. Where a session has no books, as in a test of the relay alone, only the guards judge.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from bulkhead import telemetry
from bulkhead.audit.record import Record
from bulkhead.errors import BulkheadError, DeniedError, IntegrityError
from bulkhead.person import AskedBack
from bulkhead.policy import chain
from bulkhead.policy.declared import LISTS, TOLD
from bulkhead.policy.verdict import ALLOW, Allow, Ask, Context, Deny, Hold, Rewrite, Show
from bulkhead.wire import messages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from anyio.abc import TaskGroup

    from bulkhead.audit.log import AuditLog
    from bulkhead.baselines import Baseline
    from bulkhead.credentials.leases import Leases
    from bulkhead.egress.connection import Connection
    from bulkhead.killed import Watch
    from bulkhead.pending import Pending
    from bulkhead.person import Person
    from bulkhead.pins import PinBook
    from bulkhead.policy.verdict import Verdict
    from bulkhead.questions import Questions
    from bulkhead.spec import ServerSpec
    from bulkhead.wire.messages import Answer, Notification, Request
    from bulkhead.wire.session import Session

    Details = Mapping[str, str | int]

_MAX_PAGES = 1000  # pins end a list before
_TRIES = 3  # a server may say meanwhile that its list has changed
_LOOK = 1.0  # seconds between two looks at what was approved
_LAST = 1.0  # seconds for the last record
# What a list request of our own takes over of the request for which it is made: a modern server needs both.
_KEPT_META = "io.modelcontextprotocol/"
_IDENTITY = frozenset({"initialize", "server/discover"})
NOTHING: Mapping[str, str | int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Books:
    """What is written and remembered of a session beyond its trace.

    session: the runner's id. user: whose session it is. values: whether the record has arguments themselves, and not
    only their digest. begun: what the first record says of the session.
    """

    state: Path
    session: str
    user: str
    killed: Watch
    audit: AuditLog
    pins: PinBook
    begun: dict[str, str]
    baseline: Baseline | None = None
    values: bool = False

    def close(self) -> None:
        """What was learnt is kept, and what was written is signed."""
        if self.baseline is not None:
            self.baseline.close()
        self.audit.close()


class Judgement:
    """One session's. server: requests of the runner's own to the server; person: who is asked; say: who is told."""

    def __init__(
        self,
        spec: ServerSpec,
        session: Session[Pending],
        books: Books | None,
        leases: Leases | None,
        *,
        server: Questions,
        person: Person | None,
        say: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._requests, self._results = chain.for_profile(spec)
        self._session = session
        self._books = books
        self._leases = leases
        self._server = server
        self._person = person
        self._say = say
        self._calls: deque[float] = deque()
        self._listing = anyio.Lock()
        self._tasks: TaskGroup

    async def open(self) -> None:
        """The first record. Raises IntegrityError (reason ``audit``): then nothing starts."""
        if self._books is not None:
            await self._write("session.start", "allow", details=self._books.begun)

    def begin(self, tasks: TaskGroup, tell: Callable[[bytes], Awaitable[None]]) -> None:
        """tasks carry what no message waits for; tell sends the host a notification."""
        self._tasks = tasks
        if self._books is not None:
            tasks.start_soon(self._tell_of_approvals, self._books.pins, tell)

    async def end(self) -> None:
        """The last record. A log that takes none was told with the messages that it stopped."""
        with anyio.move_on_after(_LAST, shield=True), suppress(IntegrityError):
            await self._write("session.end", "")

    def context(self, method: str, tool: str) -> Context:
        """What is known of a request that just came."""
        user = self._books.user if self._books is not None else ""
        if method != "tools/call":
            return Context(self._spec, method, tool, user=user)
        minute_ago = time.monotonic() - 60
        while self._calls and self._calls[0] < minute_ago:
            self._calls.popleft()
        in_flight = sum(entry.context.method == "tools/call" for entry in self._session.host.pending.values())
        return Context(self._spec, method, tool, len(self._calls), in_flight, user=user, nonce=_nonce(self._spec))

    # Requests of the host

    def at_once(self, request: Request, entry: Pending) -> Verdict | None:
        """The verdict on a request; None where the server has to be asked for its list first."""
        books = self._books
        if books is not None:
            if (error := books.killed.refusal()) is not None:
                return Deny(error)
            if books.pins.needs_listing(request.method) is not None:
                return None
            self.arm(entry)
        try:
            verdict = self._judged(request, entry)
        except IntegrityError as error:  # what is pinned cannot be read
            return Deny(error)
        if request.method == "tools/call" and not isinstance(verdict, Deny):
            self._calls.append(time.monotonic())
        return verdict

    async def request(self, request: Request, entry: Pending, verdict: Verdict | None) -> Request:
        """What goes to the server, after all that verdict waits for. Raises BulkheadError or AskedBack.

        What it came to is on record then.
        """
        try:
            if verdict is None:
                await self._list_for(request)
                verdict = self.at_once(request, entry) or Deny(unsettled(request))
            while isinstance(verdict, Hold):
                verdict = await self._after(verdict, request, entry)
            if isinstance(verdict, Deny):
                raise verdict.error
        except AskedBack:
            await self._write_request("hold", request, entry)
            raise
        except BulkheadError as error:
            entry.trace.set(telemetry.DECISION, "deny")
            await self._write_request("deny", request, entry, error.reason)
            raise
        _note(entry, verdict)
        await self._write_request(_word(verdict), request, entry)
        if isinstance(verdict, Rewrite):
            request = request._replace(raw=verdict.message.raw)
        return self._person.without_answer(request) if self._person is not None else request

    def outdated(self, request: Request) -> bool:
        """Whether the list by which a request was judged is no more the one that counts."""
        return self._books is not None and self._books.pins.needs_listing(request.method) is not None

    def arm(self, entry: Pending) -> None:
        """The values of this session's secrets that are known now: they are looked for in what passes."""
        values = self._leases.values() if self._leases is not None else {}
        if values:
            from bulkhead.policy.leaks import Needles  # noqa: PLC0415 - most servers have no secret

            entry.context = entry.context._replace(needles=Needles(values))

    def _judged(self, request: Request, entry: Pending) -> Verdict:
        books = self._books
        refused = books.pins.refusal(request.method, request.params) if books is not None else None
        if books is not None and request.method == "tools/call":
            entry.context = entry.context._replace(schema=books.pins.schema(entry.context.tool))
        verdict = chain.judge(self._requests, request, entry.context)
        if books is None or isinstance(verdict, Deny):
            return verdict
        if refused is not None:  # what the profile denies is told as that
            return Deny(refused)
        return self._unusual(verdict, request, entry)

    def _unusual(self, verdict: Verdict, request: Request, entry: Pending) -> Verdict:
        """A call unlike those before it is noted, or held, as the profile says."""
        baseline = self._books.baseline if self._books is not None else None
        if baseline is None or request.method != "tools/call" or entry.judged:
            return verdict
        entry.judged = True
        reasons = baseline.before(entry.context.tool, len(request.raw))
        if not reasons:
            return verdict
        self._tell_unusual(reasons, entry)
        hold = self._spec.guards.baseline == "hold" and not isinstance(verdict, Hold)
        return Hold(Ask("; ".join(reasons))) if hold else verdict

    def _tell_unusual(self, reasons: tuple[str, ...], entry: Pending) -> None:
        if reasons:
            _note(entry, Allow(reasons))
            self._say(f"{self._spec.name}: unlike before: {'; '.join(reasons)}")

    async def _after(self, hold: Hold, request: Request, entry: Pending) -> Verdict:
        """The verdict once what it holds for is done."""
        _note(entry, hold)
        match hold.effect:
            case Ask(why):
                await self._ask(why, request, entry)
            case Show() as shown:
                await self._show(shown, entry)
        entry.context = entry.context._replace(done=entry.context.done | {hold.effect})
        return self._judged(request, entry)

    async def _ask(self, why: str, request: Request, entry: Pending) -> None:
        if self._person is None:
            raise DeniedError(f"tool {entry.context.tool!r} was not allowed", why=why, reason="approval")
        await self._write("approval", "hold", entry, details={"why": why})
        actor = await self._person.allows(request, why)
        entry.allowed = self._person.digest_of(request)
        await self._write("approval", "allow", entry, actor=actor, details={"call": entry.allowed})

    async def _show(self, shown: Show, entry: Pending) -> None:
        from bulkhead.screens import screen  # noqa: PLC0415 - few profiles have one

        found = await screen(self._spec.screen, await self._screen_key(), shown)
        if found.attack:
            hint = "read what the message says before you call again; [screen] in the profile names the screen"
            raise DeniedError("the screen found an attack", why=found.why, hint=hint, reason="screen")
        if found.why:
            entry.notes.append(found.why)

    async def _screen_key(self) -> bytes:
        """Fetched for each use, as a lease is. Raises SecretError."""
        source = self._spec.screen.key
        if not source:
            return b""
        from bulkhead.credentials.sources import provider_for  # noqa: PLC0415 - few profiles have a screen

        return (await to_thread.run_sync(provider_for(source).fetch)).value

    async def _list_for(self, request: Request) -> None:
        """Asks the server for the list to which a call belongs, as its sandbox did not tell it to the host yet."""
        if self._books is None:
            return
        pins = self._books.pins
        async with self._listing:
            for _ in range(_TRIES):
                if (method := pins.needs_listing(request.method)) is None:
                    return
                await self._list(pins, method, request)

    async def _list(self, pins: PinBook, method: str, request: Request) -> None:
        params = _asking_params(request)
        seconds = max(self._spec.limits.call, self._spec.limits.start)
        for _ in range(_MAX_PAGES):
            answer = await self._server.ask(method, params, seconds)
            if answer.result is None:
                pins.undeclared(method)
                return
            cursor = pins.listed(method, params, answer.result).result.get("nextCursor")
            if type(cursor) is not str:
                return
            params = params | {"cursor": cursor}

    # Answers of the server

    def answer_at_once(self, answer: Answer, entry: Pending) -> Verdict:
        """The verdict on the answer to a request of the host's."""
        method = entry.request.method
        if self._books is not None and answer.result is not None and (method in LISTS or method in _IDENTITY):
            try:
                return _pinned(self._books.pins, answer, answer.result, entry.request)
            except IntegrityError as error:
                return Deny(error)
        entry.context = entry.context._replace(refused=tuple(entry.refused))
        if answer.error:
            return self._error_judged(answer, entry.context)
        return chain.judge(self._results, answer, entry.context)

    def _error_judged(self, answer: Answer, context: Context) -> Verdict:
        """An error's text reaches the model too, so it is judged as a result would be."""
        verdict = chain.judge(self._results, answer._replace(result={"error": answer.error}, error=None), context)
        if not isinstance(verdict, Rewrite):
            return verdict
        changed: Any = verdict.message
        return Rewrite(messages.with_error(answer, changed.result["error"]), verdict.notes)

    async def answer(self, answer: Answer, entry: Pending, verdict: Verdict) -> Answer:
        """What goes to the host, after all that verdict waits for. Raises BulkheadError. It is on record then."""
        try:
            while isinstance(verdict, Hold):
                _note(entry, verdict)
                if isinstance(verdict.effect, Show):  # a person is asked before a call, not after it
                    await self._show(verdict.effect, entry)
                entry.context = entry.context._replace(done=entry.context.done | {verdict.effect})
                verdict = self.answer_at_once(answer, entry)
                if self._books is not None and (error := self._books.killed.refusal()) is not None:
                    raise error  # meanwhile it was nobody's that a kill would end
            if isinstance(verdict, Deny):
                raise verdict.error
        except BulkheadError as error:
            entry.trace.set(telemetry.DECISION, "deny")
            await self._write_answer("deny", answer, entry, error.reason)
            raise
        _note(entry, verdict)
        self._learn(answer, entry)
        if isinstance(verdict, Rewrite):
            answer = answer._replace(raw=verdict.message.raw)
        await self._write_answer(_word(verdict), answer, entry, error_type(answer))
        return answer

    def _learn(self, answer: Answer, entry: Pending) -> None:
        goes_on = answer.result is not None and answer.result.get("resultType") == "input_required"
        if entry.allowed and goes_on and self._person is not None:
            self._person.continues(entry.allowed)
        baseline = self._books.baseline if self._books is not None else None
        if baseline is not None and entry.request.method == "tools/call":
            self._tell_unusual(baseline.after(entry.context.tool, len(answer.raw), entry.reached), entry)

    # What the server says unasked

    def unleaked(self, message: Notification | Request) -> bytes:
        """Without the values of this session's secrets. Raises DeniedError (reason ``leak``) where that is refused."""
        values = self._leases.values() if self._leases is not None else {}
        if not values:
            return message.raw
        from bulkhead.policy.leaks import Needles, results  # noqa: PLC0415 - most servers have no secret

        context = Context(self._spec, "tools/call", needles=Needles(values))
        verdict: Any = results(messages.Answer(b"{}", "", message.params, None), context)
        if isinstance(verdict, Deny):
            raise verdict.error
        if not isinstance(verdict, Rewrite):
            return message.raw
        cleaned: Any = verdict.message
        return messages.encode(json.loads(message.raw) | {"params": cleaned.result})

    async def server_request(self, request: Request, entry: Pending) -> bytes:
        """What goes to the host, on record. Raises BulkheadError."""
        try:
            frame = self.unleaked(request)
        except DeniedError as error:
            await self._write("server.request", "deny", entry, reason=error.reason)
            raise
        await self._write("server.request", "allow", entry, details={"bytes": len(frame)})
        return frame

    # Records

    def secret(self, event: str, name: str) -> None:
        """A lease was granted, renewed, revoked or has expired."""
        self._soon("secret", "", {"name": name, "event": event})

    def connected(self, connection: Connection) -> None:
        """A connection of the sandbox's has ended, or was refused."""
        details: Details = {
            "host": connection.name or connection.address,
            "port": connection.port,
            "rule": connection.rule,
            "dialled": connection.dialled,
            "sent": connection.sent,
            "received": connection.received,
        }
        self._soon("connection", connection.decision, details, connection.reason)

    async def _tell_of_approvals(self, pins: PinBook, tell: Callable[[bytes], Awaitable[None]]) -> None:
        """Another process approves; the host, which was shown less, is told to look again."""
        while True:
            await anyio.sleep(_LOOK)
            with suppress(IntegrityError):  # the next request is told
                for kind in sorted(pins.approved_since() & TOLD.keys()):
                    await tell(messages.notification(TOLD[kind], {}))

    def _soon(self, event: str, decision: str, details: Details, reason: str = "") -> None:
        """A record that no message waits for. Where it cannot be written, the next message is told."""

        async def write() -> None:
            try:
                await self._write(event, decision, reason=reason, details=details)
            except IntegrityError:
                return

        if self._books is not None:
            self._tasks.start_soon(write)

    async def _write_request(self, decision: str, request: Request, entry: Pending, reason: str = "") -> None:
        if self._books is not None:
            details: Details = {"bytes": len(request.raw), **_arguments(request, values=self._books.values)}
            await self._write("request", decision, entry, reason=reason, details=details)

    async def _write_answer(self, decision: str, answer: Answer, entry: Pending, reason: str) -> None:
        if self._books is not None:
            details: Details = {"bytes": len(answer.raw), "sha256": hashlib.sha256(answer.raw).hexdigest()}
            await self._write("result", decision, entry, reason=reason, details=details)

    async def _write(
        self,
        event: str,
        decision: str,
        entry: Pending | None = None,
        *,
        reason: str = "",
        actor: str = "",
        details: Details = NOTHING,
    ) -> None:
        books = self._books
        if books is None:
            return
        of: dict[str, Any] = {}
        if entry is not None:
            of = {"method": entry.request.method, "tool": entry.context.tool, "request_id": str(entry.request.id)}
            of |= {"trace_id": entry.trace.trace_id, "notes": tuple(entry.notes)}
            if entry.trace.uri:
                details = {**details, "uri": entry.trace.uri}
            entry.notes = []
        record = Record(
            event, decision, self._spec.name, books.session, reason=reason, actor=actor, details=details, **of
        )
        await books.audit.write(record)


def error_type(answer: Answer) -> str:
    """The code of an error, ``tool_error`` for a tool's own, "" for none."""
    if answer.error is not None:
        return str(answer.error["code"])
    return telemetry.TOOL_ERROR if answer.result is not None and answer.result.get("isError") is True else ""


def _pinned(pins: PinBook, answer: Answer, result: dict[str, Any], request: Request) -> Verdict:
    """A list, or a server's introduction, with what is held taken out."""
    listed = request.method in LISTS
    judged = pins.listed(request.method, request.params, result) if listed else pins.introduced(result)
    if judged.result is result:
        return Allow(judged.notes) if judged.notes else ALLOW
    return Rewrite(messages.with_result(answer, judged.result), judged.notes)


def _nonce(spec: ServerSpec) -> str:
    return os.urandom(8).hex() if spec.guards.marking else ""


def _word(verdict: Verdict | None) -> str:
    return "rewrite" if isinstance(verdict, Rewrite) else "allow"


def _note(entry: Pending, verdict: Verdict | None) -> None:
    """What guards found: onto the span, and into the next record."""
    if isinstance(verdict, Allow | Rewrite | Hold):
        for note in verdict.notes:
            if note not in entry.notes:
                entry.notes.append(note)
                entry.trace.event("bulkhead.finding", note=telemetry.clean(note))


def unsettled(request: Request) -> IntegrityError:
    """The list that a request is to be judged by is another again as soon as it was read."""
    what = f"{request.method} cannot be judged: the server's list changes while it is read"
    return IntegrityError(what, hint="call again; a server that always does this is broken, or hides what it has")


def _asking_params(request: Request) -> dict[str, Any]:
    kept = {key: value for key, value in messages.meta(request.params).items() if key.startswith(_KEPT_META)}
    return {"_meta": kept} if kept else {}


def _arguments(request: Request, *, values: bool) -> dict[str, str]:
    if "arguments" not in request.params:
        return {}
    text = json.dumps(request.params["arguments"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if values:
        return {"arguments": text}
    return {"arguments_sha256": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()}
