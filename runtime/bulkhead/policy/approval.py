"""Which calls a person is asked about: the profile's [tools] approve, shell-style patterns."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bulkhead.policy.verdict import ALLOW, Ask, Hold
from bulkhead.wire.messages import Request

if TYPE_CHECKING:
    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message


def asked(message: Message, context: Context) -> Verdict:
    """Holds a call of a tool that [tools] approve names, until the person has said yes."""
    if context.method != "tools/call" or not isinstance(message, Request):
        return ALLOW
    if not any(fnmatchcase(context.tool, pattern) for pattern in context.spec.tools.approve):
        return ALLOW
    effect = Ask(f"tools.approve of the profile {context.spec.name} names it")
    return ALLOW if effect in context.done else Hold(effect)
