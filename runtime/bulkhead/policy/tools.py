"""Which tools may be called: the profile's [tools] allow and deny, shell-style patterns; deny wins.

A call that one server reads otherwise than another is refused, or the rules could be walked around: Go's decoder takes
"Name" for "name", and JavaScript looks a tool up by ["delete_all"] as by "delete_all".
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from bulkhead.errors import DeniedError
from bulkhead.policy.verdict import ALLOW, Deny
from bulkhead.wire.messages import Answer

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


_KEYS = frozenset({"name", "arguments"})


def allowed(message: Message, context: Context) -> Verdict:
    """Denies a call of a tool that [tools] denies or does not allow."""
    if context.method != "tools/call" or isinstance(message, Answer):
        return ALLOW
    why = _unclear(message.params) or _ruled_out(context)
    if not why:
        return ALLOW
    hint = "change [tools] in the profile if it is meant to be called"
    return Deny(DeniedError(f"tool {context.tool!r} is denied", why=why, hint=hint))


def _unclear(params: dict[str, Any]) -> str:
    if type(params.get("name")) is not str:
        return "the call names no tool: name is not a string"
    for key in params.keys() - _KEYS:
        if key.casefold() in _KEYS:
            return f"the call has the key {key!r}, which some servers read in another case"
    return ""


def _ruled_out(context: Context) -> str:
    rules, tool = context.spec.tools, context.tool
    if any(fnmatchcase(tool, pattern) for pattern in rules.deny):
        return f"tools.deny of the profile {context.spec.name} names it"
    if not any(fnmatchcase(tool, pattern) for pattern in rules.allow):
        return f"tools.allow of the profile {context.spec.name} does not name it"
    return ""
