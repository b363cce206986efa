"""The network that a profile grants and that this version cannot give yet.

No sandbox has a network until egress is built, so a server whose profile has [[egress]] fails at its own calls. The
host is told that it was denied and by whom, instead of the resolver's error that the server passes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.errors import DeniedError
from bulkhead.policy.verdict import ALLOW, Deny
from bulkhead.wire.messages import Answer

if TYPE_CHECKING:
    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message


def denied(message: Message, context: Context) -> Verdict:
    """Turns the failed call of a server that is without the network of its profile into a denial."""
    failed = type(message) is Answer and message.result is not None and message.result.get("isError") is True
    if not failed or context.method != "tools/call" or not context.spec.egress:
        return ALLOW
    hosts = ", ".join(rule.host for rule in context.spec.egress)
    return Deny(
        DeniedError(
            f"tool {context.tool!r} failed without a network",
            why=f"the profile grants {hosts}, but this version starts every server without a network",
            hint="egress comes with a later version; nothing was sent",
        )
    )
