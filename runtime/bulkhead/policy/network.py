"""The network that this version gives to no server: a call that failed for want of it was denied, and is told so.

No sandbox has a network until egress is built, so a server that needs one fails at its own calls. The host is told that
it was denied, by whom and why, instead of the resolver's error that the server passes on. That a network was wanted is
seen from the profile's [[egress]], or from the words that resolvers and HTTP clients have for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bulkhead.errors import DeniedError
from bulkhead.policy.verdict import ALLOW, Deny
from bulkhead.wire.messages import Answer

if TYPE_CHECKING:
    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message

# glibc's and Node's resolvers, the kernel, and mcp-server-fetch.
_UNREACHED = re.compile(
    r"name resolution|Name or service not known|getaddrinfo|ENOTFOUND|EAI_AGAIN|ENETUNREACH|Network is unreachable"
    r"|Could not resolve host|connection issue"
)


def denied(message: Message, context: Context) -> Verdict:
    """Turns the failed call of a server that wanted a network into a denial."""
    if context.method != "tools/call" or not isinstance(message, Answer) or message.result is None:
        return ALLOW
    if message.result.get("isError") is not True or not (context.spec.egress or _UNREACHED.search(_text(message))):
        return ALLOW
    hosts = ", ".join(rule.host for rule in context.spec.egress) or "no host"
    return Deny(
        DeniedError(
            f"tool {context.tool!r} failed without a network",
            why=f"the profile grants {hosts}, and this version starts every server without a network",
            hint="egress comes with a later version; nothing was sent",
        )
    )


def _text(answer: Answer) -> str:
    content: Any = (answer.result or {}).get("content")
    items = content if isinstance(content, list) else []
    return "\n".join(str(item.get("text")) for item in items if isinstance(item, dict))
