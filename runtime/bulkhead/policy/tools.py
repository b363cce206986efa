"""Which tools may be called: the profile's [tools] allow and deny, shell-style patterns; deny wins."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bulkhead.errors import DeniedError
from bulkhead.policy.verdict import ALLOW, Deny

if TYPE_CHECKING:
    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.spec import ServerSpec
    from bulkhead.wire.messages import Message


def refusal(spec: ServerSpec, tool: str) -> str:
    """Why the profile does not let a tool be called; "" if it does."""
    if any(fnmatchcase(tool, pattern) for pattern in spec.tools.deny):
        return f"tools.deny of the profile {spec.name} names it"
    if not any(fnmatchcase(tool, pattern) for pattern in spec.tools.allow):
        return f"tools.allow of the profile {spec.name} does not name it"
    return ""


def allowed(message: Message, context: Context) -> Verdict:
    """Denies a call of a tool that [tools] denies or does not allow."""
    del message
    if context.method != "tools/call" or not (why := refusal(context.spec, context.tool)):
        return ALLOW
    hint = "change [tools] in the profile if it is meant to be called"
    return Deny(DeniedError(f"tool {context.tool!r} is denied", why=why, hint=hint))
