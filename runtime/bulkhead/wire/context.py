"""Trace context on its way to a server: our span in the place of the host's, in the bytes that the host sent.

A host that sends no traceparent gets its bytes forwarded as they are. baggage is the host's own and never goes to a
server. Everything else stays byte for byte: reading and writing the message again would change its numbers.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from bulkhead.wire.messages import meta

if TYPE_CHECKING:
    from bulkhead.wire.messages import Notification, Request

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class _Member(NamedTuple):
    key: int
    value: int
    end: int


def with_context(message: Request | Notification, traceparent: str) -> bytes:
    """The message's bytes with traceparent in the place of the one in ``params._meta``, and without ``baggage``."""
    if meta(message.params).keys().isdisjoint(("traceparent", "baggage")):
        return message.raw
    text = message.raw.decode("utf-8")
    found = _members(text, _members(text, _members(text, 0)["params"].value)["_meta"].value)
    edits = []
    if "traceparent" in found:
        edits.append((found["traceparent"].value, found["traceparent"].end, json.dumps(traceparent)))
    if "baggage" in found:
        edits.append((*_with_comma(text, found["baggage"]), ""))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text.encode("utf-8")


def _members(text: str, at: int) -> dict[str, _Member]:
    """Where the members of the object at ``at`` stand; the text is known to be sound."""
    members = {}
    at = _skip(text, _skip(text, at) + 1)
    while text[at] != "}":
        key, after = _DECODER.raw_decode(text, at)
        value = _skip(text, _skip(text, after) + 1)
        _, end = _DECODER.raw_decode(text, value)
        members[key] = _Member(at, value, end)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return members


def _with_comma(text: str, member: _Member) -> tuple[int, int]:
    """From where to where a member is cut out, with the comma after it, or before it if it is the last."""
    after = _skip(text, member.end)
    if text[after] == ",":
        return member.key, _skip(text, after + 1)
    before = text[: member.key].rstrip(" \t\n\r")
    return (len(before) - 1 if before.endswith(",") else member.key), member.end


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
