"""A call that failed because the network refused something was denied, and its host is told so: by whom, and why.

The server passes on a resolver's or a connection's error, which says nothing of a decision. What the gate refused is
known; a sandbox without egress has no gate, and there the words that resolvers and HTTP clients have for it tell.
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
    """Turns the failed call of a server that wanted more of the network than it has into a denial."""
    if context.method != "tools/call" or not isinstance(message, Answer) or message.result is None:
        return ALLOW
    if message.result.get("isError") is not True:
        return ALLOW
    if context.refused:
        return _refused(context)
    return _offline(context) if not context.spec.egress and _UNREACHED.search(_text(message)) else ALLOW


def _refused(context: Context) -> Deny:
    hosts = ", ".join(f"{rule.host}:{','.join(map(str, rule.ports))}" for rule in context.spec.egress)
    return Deny(
        DeniedError(
            f"tool {context.tool!r} failed: it was refused to reach {', '.join(context.refused)}",
            why=f"the profile grants {hosts}",
            hint="add it to [[egress]], or start with --allow HOST:PORT, if the server should reach it",
        )
    )


def _offline(context: Context) -> Deny:
    return Deny(
        DeniedError(
            f"tool {context.tool!r} failed without a network",
            why="the profile grants no host, so its sandbox has no network",
            hint="name what it should reach in [[egress]], or start with --allow HOST:PORT; nothing was sent",
        )
    )


def _text(answer: Answer) -> str:
    content: Any = (answer.result or {}).get("content")
    items = content if isinstance(content, list) else []
    return "\n".join(str(item.get("text")) for item in items if isinstance(item, dict))
