"""What can still be read from a frame that is no message: a message behind other text, and whose answer was meant.

Only members of the envelope count: those before the first value that is an object or a list (Python's SDK writes "id"
there), and the last one (Node's SDK writes it there). An "id" inside a result or an argument belongs to somebody else.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulkhead.wire.messages import Id

_STRING = rb'"(?:[^"\\]|\\.)*+"'
_SCALAR = _STRING + rb'|[^\s"{}\[\],:]++'
_LEADING = re.compile(rb"\s*\{(?:\s*" + _STRING + rb"\s*:\s*(?:" + _SCALAR + rb")\s*(?:,|(?=\})))*+", re.DOTALL)
# A quote inside a string has a backslash before it.
_LAST = re.compile(rb'(?<!\\)("(?:id|method)"\s*:\s*(?:' + _SCALAR + rb"))\s*\}\s*\Z", re.DOTALL)
_ANY_ID = re.compile(rb'(?<!\\)"id"\s*:\s*(' + _SCALAR + rb")", re.DOTALL)
_ANSWER = re.compile(rb'"(?:jsonrpc|result|error)"\s*:', re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")


def salvage(frame: bytes) -> bytes | None:
    """The object after a prefix that some servers print without a newline ("Ready{...}"); None if there is none."""
    start = frame.find(b'{"')
    return frame[start:] if start > 0 else None


def suspects(head: bytes, tail: bytes) -> list[str]:
    """The ids that a server's frame may have meant to answer, as text: "2" for 2, "2" and 2.0.

    head and tail: the frame's two ends, which may overlap. A log line in JSON that has an "id" answers nothing.
    """
    members = _members(head, tail)
    if "method" in members or not any(_ANSWER.search(end) for end in (head, tail)):
        return []
    if "id" in members:
        found = [members["id"]]
    elif b'"method"' in head:
        return []
    else:
        found = [_json(value) for end in (head, tail) for value in _ANY_ID.findall(end)]
    return [str(value).removesuffix(".0") for value in found if type(value) in (str, int, float)]


def request_id(head: bytes, tail: bytes) -> Id | None:
    """The id of a host's request of which these are the ends; None where it cannot be told, or where it is none."""
    members = _members(head, tail)
    value = members.get("id")
    if "method" not in members or type(value) not in (str, int) or _SURROGATE.search(str(value)):
        return None
    return value


def _members(head: bytes, tail: bytes) -> dict[str, Any]:
    """The members of the envelope that can be seen."""
    leading, last = _LEADING.match(head), _LAST.search(tail)
    seen: dict[str, Any] = {}
    if last is not None:
        seen |= _json(b"{" + last[1] + b"}") or {}
    if leading is not None:
        seen |= _json(leading[0].rstrip(b", \t\r\n") + b"}") or {}
    return seen


def _json(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8", "replace"))
    except ValueError:
        return None
