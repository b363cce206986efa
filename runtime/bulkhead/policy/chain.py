"""Which guards judge what, and in which order. The first Deny wins, and a guard that raises is a Deny."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.errors import DeniedError
from bulkhead.policy import budgets, network, tools
from bulkhead.policy.verdict import ALLOW, Deny

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.policy.verdict import Context, Guard, Verdict
    from bulkhead.wire.messages import Message

REQUEST: tuple[Guard, ...] = (tools.allowed, budgets.concurrency, budgets.rate)
RESULT: tuple[Guard, ...] = (budgets.output, network.denied)


def judge(guards: Sequence[Guard], message: Message, context: Context) -> Verdict:
    """The verdict of all guards on one message."""
    for guard in guards:
        try:
            verdict = guard(message, context)
        except Exception as error:
            return Deny(DeniedError("a guard failed, so the message was refused", why=f"{guard.__name__}: {error}"))
        if type(verdict) is Deny:
            return verdict
    return ALLOW
