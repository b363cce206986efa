"""Requests of the runner's own, to one side of a session: their answers go to whoever asked, and to nobody else.

Their ids begin with OWN_PREFIX, and a side that uses it for its own requests is refused, so no answer can be mistaken.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import anyio

from bulkhead.errors import BulkheadError, LimitError, ProtocolError
from bulkhead.wire import messages
from bulkhead.wire.session import OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from bulkhead.wire.messages import Answer, Id


class _Question:
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.answer: Answer | BulkheadError | None = None


class Questions:
    """Those of one side; send writes a frame to it."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._open: dict[Id, _Question] = {}
        self._numbers = itertools.count(1)

    async def ask(self, method: str, params: dict[str, Any], seconds: float) -> Answer:
        """The answer, a result or an error. Raises LimitError (reason ``timeout``), or what end() was given."""
        question, own_id = _Question(), f"{OWN_PREFIX}{next(self._numbers)}"
        self._open[own_id] = question
        try:
            await self._send(messages.encode({"jsonrpc": "2.0", "id": own_id, "method": method, "params": params}))
            with anyio.move_on_after(seconds):
                await question.done.wait()
        finally:
            del self._open[own_id]
            if question.answer is None:
                with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                    await self._send(messages.notification("notifications/cancelled", {"requestId": own_id}))
        if question.answer is None:
            raise LimitError(f"{method} was not answered", why=f"it took more than {seconds:g} s", reason="timeout")
        if isinstance(question.answer, BulkheadError):
            raise question.answer
        return question.answer

    def answered(self, answer: Answer) -> bool:
        """Whether it belongs to a question, which then has it."""
        return self._close(answer.id, answer)

    def malformed(self, suspects: Iterable[str], why: str) -> None:
        """A frame that is none meant to answer one of these ids: a question among them fails."""
        for suspect in suspects:
            self._close(suspect, ProtocolError("the answer was refused", why=why))

    def end(self, error: BulkheadError) -> None:
        """The side is gone."""
        for own_id in list(self._open):
            self._close(own_id, error)

    def _close(self, own_id: Id, answer: Answer | BulkheadError) -> bool:
        question = self._open.get(own_id)
        if question is None:
            return False
        question.answer = answer
        question.done.set()
        return True
