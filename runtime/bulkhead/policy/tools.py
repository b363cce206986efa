"""Which tools may be called: the profile's [tools] allow and deny, shell-style patterns; deny wins."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bulkhead.errors import DeniedError
from bulkhead.policy.verdict import ALLOW, Deny

if TYPE_CHECKING:
    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message


def allowed(message: Message, context: Context) -> Verdict:
    """Denies a call of a tool that [tools] denies or does not allow."""
    del message
    if context.method != "tools/call":
        return ALLOW
    rules, tool = context.spec.tools, context.tool
    if any(fnmatchcase(tool, pattern) for pattern in rules.deny):
        why = f"tools.deny of the profile {context.spec.name} names it"
    elif not any(fnmatchcase(tool, pattern) for pattern in rules.allow):
        why = f"tools.allow of the profile {context.spec.name} does not name it"
    else:
        return ALLOW
    return Deny(
        DeniedError(f"tool {tool!r} is denied", why=why, hint="change [tools] in the profile if it is meant to")
    )
