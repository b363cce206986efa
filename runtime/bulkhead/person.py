"""Asks the person about one call: through the host where it can elicit, and through `bulkhead approve` always.

A legacy host is sent an ``elicitation/create`` while its call waits. A modern one gets the question as the call's
result (``input_required``), and calls again with the answer and a token of ours: the token is good once, for the same
tool with the same arguments. Who cannot be asked so is waited for, and at the deadline the answer is no.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from bulkhead import approvals
from bulkhead.errors import BulkheadError, DeniedError
from bulkhead.wire import messages
from bulkhead.wire.session import CAPABILITIES_KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from bulkhead.approvals import Waiting
    from bulkhead.pending import Pending
    from bulkhead.questions import Questions
    from bulkhead.spec import ServerSpec
    from bulkhead.wire.messages import Request
    from bulkhead.wire.session import Session

T = TypeVar("T")

_KEY = "bulkhead/approval"
_POLL = 0.25
_PROGRESS = 5.0  # seconds: less than any host waits between two of them
_REMEMBERED = 256


class AskedBack(Exception):
    """The host is to ask its person, and to call again: result is the answer to this request."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__("the host is to ask")
        self.result = result


class Person:
    """Whoever decides for one session. host: the runner's own requests to the host; tell sends it a frame."""

    def __init__(
        self,
        spec: ServerSpec,
        state: Path,
        session: Session[Pending],
        host: Questions,
        *,
        tell: Callable[[bytes], Awaitable[None]],
        say: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._state = state
        self._session = session
        self._host = host
        self._tell = tell
        self._say = say
        self._asked_back: OrderedDict[str, str] = OrderedDict()  # token: digest
        self._continued: OrderedDict[str, None] = OrderedDict()  # digests

    async def allows(self, request: Request, why: str) -> str:
        """Who allowed it. Raises DeniedError (reason ``approval``), or AskedBack."""
        tool = str(request.params.get("name", request.params.get("uri", "")))
        arguments = request.params.get("arguments", {})
        digest = self.digest_of(request)
        if request.params.get("requestState") is not None and digest in self._continued:
            del self._continued[digest]
            return "allowed in the round before"
        seconds = self._spec.limits.approval
        call = approvals.waiting(self._spec.name, tool, arguments, digest=digest, why=why, seconds=seconds)
        if _elicits(messages.meta(request.params).get(CAPABILITIES_KEY)):
            return self._through_result(request, call)
        return await self._waited_for(request, call)

    def digest_of(self, request: Request) -> str:
        """Of exactly this call."""
        name = str(request.params.get("name", request.params.get("uri", "")))
        return approvals.digest_of(self._spec.name, request.method, name, request.params.get("arguments", {}))

    def continues(self, digest: str) -> None:
        """An allowed call was answered with a question of the server's: the call that follows is still the same."""
        _remember(self._continued, digest, None)

    def without_answer(self, request: Request) -> Request:
        """The request as its server is to see it: without the person's answer to a question of ours."""
        responses = request.params.get("inputResponses")
        if not (isinstance(responses, dict) and _KEY in responses):
            return request
        params = {key: value for key, value in request.params.items() if key not in ("inputResponses", "requestState")}
        return messages.with_params(request, params)

    def _through_result(self, request: Request, call: Waiting) -> str:
        responses, token = request.params.get("inputResponses"), request.params.get("requestState")
        if isinstance(token, str) and self._asked_back.pop(token, "") == call.digest:
            answer = responses.get(_KEY) if isinstance(responses, dict) else None
            if approvals.said_yes(answer if isinstance(answer, dict) else None):
                return "the person at the host"
            raise _denied(call, "the person at the host did not allow it")
        token = os.urandom(16).hex()
        _remember(self._asked_back, token, call.digest)
        question = {"method": "elicitation/create", "params": _params(call)}
        raise AskedBack({"resultType": "input_required", "inputRequests": {_KEY: question}, "requestState": token})

    async def _waited_for(self, request: Request, call: Waiting) -> str:
        found: list[tuple[bool, str]] = []
        approvals.put(self._state, call)
        self._say(f"{call.server}: {call.tool!r} waits for `bulkhead approve --call {call.id}` ({call.why})")
        try:
            async with anyio.create_task_group() as tasks:
                with anyio.move_on_after(self._spec.limits.approval):
                    initialize = self._session.initialize
                    capabilities = initialize.params.get("capabilities") if initialize is not None else None
                    if _elicits(capabilities):
                        tasks.start_soon(self._through_host, call, found)
                    tasks.start_soon(self._keep_patient, request, call)
                    while not found and request.id in self._session.host.pending:
                        if (said := approvals.decision(self._state, call)) is not None:
                            found.append((said.allow, said.actor))
                        else:
                            await anyio.sleep(_POLL)
                tasks.cancel_scope.cancel()
        finally:
            approvals.remove(self._state, call)
        if not found:
            raise _denied(call, f"nobody answered within {self._spec.limits.approval:g} s")
        allow, actor = found[0]
        if not allow:
            raise _denied(call, f"{actor} did not allow it")
        return actor

    async def _through_host(self, call: Waiting, found: list[tuple[bool, str]]) -> None:
        try:
            answer = await self._host.ask("elicitation/create", _params(call), self._spec.limits.approval)
        except BulkheadError:
            return
        if answer.result is not None:  # an error is no answer of the person's: the shell is left
            found.append((approvals.said_yes(answer.result), "the person at the host"))

    async def _keep_patient(self, request: Request, call: Waiting) -> None:
        """A host that gave a token for progress hears that it is waited for, and why."""
        token = messages.meta(request.params).get("progressToken")
        if type(token) not in (str, int):
            return
        text = f"waits for a person: bulkhead approve --call {call.id}"
        note = partial(messages.notification, "notifications/progress")
        for count in range(1, 1 << 20):
            await self._tell(note({"progressToken": token, "progress": count, "message": text}))
            await anyio.sleep(_PROGRESS)


def _remember(table: OrderedDict[str, T], key: str, value: T) -> None:
    table[key] = value
    while len(table) > _REMEMBERED:
        table.popitem(last=False)


def _elicits(capabilities: object) -> bool:
    """Whether a client can show a form. An empty capability means that it can (2025-06-18)."""
    found = capabilities.get("elicitation") if isinstance(capabilities, dict) else None
    return isinstance(found, dict) and (not found or "form" in found)


def _params(call: Waiting) -> dict[str, Any]:
    text, schema = approvals.question(call)
    return {"message": text, "requestedSchema": schema}


def _denied(call: Waiting, why: str) -> DeniedError:
    hint = "call again to ask again, or change [tools] approve in the profile"
    return DeniedError(f"tool {call.tool!r} was not allowed", why=why, hint=hint, reason="approval")
