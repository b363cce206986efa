"""What an external screen is shown: the arguments of a call, and all that a result gives the model to read. PURE.

Each message is held until its texts were shown. Where the same texts are asked for again they are not shown twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkhead.policy import texts
from bulkhead.policy.verdict import ALLOW, Hold, Show
from bulkhead.wire.messages import Answer, Request

if TYPE_CHECKING:
    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message

_ASKED = frozenset({"tools/call", "prompts/get"})
_ANSWERED = frozenset({"tools/call", "prompts/get", "resources/read"})


def request(message: Message, context: Context) -> Verdict:
    """Holds a call until its arguments were shown, where [screen] has an endpoint."""
    if context.method not in _ASKED or not isinstance(message, Request):
        return ALLOW
    return _shown(message.params.get("arguments"), context)


def result(message: Message, context: Context) -> Verdict:
    """Holds a result until its texts were shown."""
    if context.method not in _ANSWERED or not isinstance(message, Answer):
        return ALLOW
    return _shown(message.result, context)


def _shown(body: Any, context: Context) -> Verdict:
    if not context.spec.screen.endpoint:
        return ALLOW
    show = Show(_documents(body))
    return Hold(show) if show.documents and show not in context.done else ALLOW


def _documents(body: Any) -> tuple[str, ...]:
    """Each text, then all other values, and all keys, as one document: an instruction may be cut over several."""
    read, values, keys, _ = texts.gathered(body)
    joined = ("\n".join(values), "\n".join(keys))
    return tuple(document for document in (*read, *joined) if document.strip())
