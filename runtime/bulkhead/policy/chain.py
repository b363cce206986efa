"""Which guards judge what, and in which order: deny wins over hold, and a guard that raises is a deny.

Each guard sees what the one before it made of the message. So what rewrites stands where the next should see the
result: secrets are redacted before a screen is shown a text, and untrusted text is marked last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.errors import DeniedError
from bulkhead.policy import (
    approval,
    arguments,
    budgets,
    invisible,
    leaks,
    marking,
    network,
    rules,
    screening,
    tools,
)
from bulkhead.policy.verdict import ALLOW, Allow, Deny, Hold, Rewrite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.policy.verdict import Context, Guard, Verdict
    from bulkhead.spec import ServerSpec
    from bulkhead.wire.messages import Message

REQUEST: tuple[Guard, ...] = (
    tools.allowed,
    budgets.concurrency,
    budgets.rate,
    arguments.fitting,
    leaks.arguments,
    rules.judged,
    approval.asked,
    screening.request,
)
RESULT: tuple[Guard, ...] = (
    budgets.output,
    network.denied,
    leaks.results,
    invisible.results,
    screening.result,
    marking.marked,
)


def for_profile(spec: ServerSpec) -> tuple[tuple[Guard, ...], tuple[Guard, ...]]:
    """Those of REQUEST and of RESULT that can have anything to say under a profile: the others would cost each call."""
    idle: dict[Guard, bool] = {
        arguments.fitting: not spec.guards.arguments,
        rules.judged: not spec.guards.rules,
        approval.asked: not spec.tools.approve,
        screening.request: not spec.screen.endpoint,
        screening.result: not spec.screen.endpoint,
        invisible.results: spec.guards.invisible == "pass",
        marking.marked: not spec.guards.marking,
    }
    request, result = (tuple(guard for guard in guards if not idle.get(guard)) for guards in (REQUEST, RESULT))
    return request, result


def judge(guards: Sequence[Guard], message: Message, context: Context) -> Verdict:
    """The verdict of all guards on one message."""
    came, hold, notes = message, None, tuple[str, ...]()
    for guard in guards:
        try:
            verdict = guard(message, context)
        except Exception as error:
            why = f"{guard.__module__.rpartition('.')[2]}.{guard.__name__} raised {type(error).__name__}"
            return Deny(DeniedError("a guard failed, so the message was refused", why=why, hint="report it"))
        if verdict is ALLOW:
            continue
        if isinstance(verdict, Deny):
            return verdict
        notes += verdict.notes
        if isinstance(verdict, Rewrite):
            message = verdict.message
        elif isinstance(verdict, Hold):
            hold = hold or verdict
    if hold is not None:
        return Hold(hold.effect, notes)
    return Rewrite(message, notes) if message is not came else Allow(notes) if notes else ALLOW
