"""JSON as hosts read it: with comments, trailing commas and a byte order mark; each value with its place. PURE.

Anything else that is no JSON is refused, and so are keys that stand twice: hosts differ in which one counts.
"""

from __future__ import annotations

import json
import re

from bulkhead.hosts.node import DEEPEST, Member, Node, unreadable

_BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"')
_OTHER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])|true\b|false\b|null\b")


def parse(text: str) -> Node:
    """The one value of the text. Raises UnreadableError."""
    start = _blank(text, 1 if text.startswith("\ufeff") else 0)
    node = _value(text, start, 0)
    end = _blank(text, node.end)
    if end != len(text):
        raise unreadable(text, end, "something stands behind the end")
    return node


def _value(text: str, at: int, depth: int) -> Node:
    if depth > DEEPEST:
        raise unreadable(text, at, "its values are nested too deeply")
    if text.startswith("{", at):
        return _object(text, at, depth)
    if text.startswith("[", at):
        return _array(text, at, depth)
    found = _STRING.match(text, at) or _OTHER.match(text, at)
    if found is None:
        raise unreadable(text, at, "a value is missing here, or is not JSON")
    try:
        return Node(at, found.end(), json.loads(found[0]))
    except ValueError:
        raise unreadable(text, at, "this number is too long") from None


def _object(text: str, at: int, depth: int) -> Node:
    members: dict[str, Member] = {}
    position = _blank(text, at + 1)
    while not text.startswith("}", position):
        key = _STRING.match(text, position)
        if key is None:
            raise unreadable(text, position, "a key in double quotes, or '}', is missing here")
        name = json.loads(key[0])
        if name in members:
            raise unreadable(text, position, "this key is there already, and hosts differ in which one counts")
        colon = _blank(text, key.end())
        if not text.startswith(":", colon):
            raise unreadable(text, colon, "a ':' is missing here")
        node = _value(text, _blank(text, colon + 1), depth + 1)
        members[name] = Member(position, key.end(), node)
        position = _next(text, node.end, "}")
    return Node(at, position + 1, members=members)


def _array(text: str, at: int, depth: int) -> Node:
    items: list[Node] = []
    position = _blank(text, at + 1)
    while not text.startswith("]", position):
        items.append(_value(text, position, depth + 1))
        position = _next(text, items[-1].end, "]")
    return Node(at, position + 1, items=items)


def _next(text: str, at: int, closing: str) -> int:
    """Where the next value, or the closing bracket, stands."""
    position = _blank(text, at)
    if text.startswith(",", position):
        return _blank(text, position + 1)
    if not text.startswith(closing, position):
        raise unreadable(text, position, f"a ',' or {closing!r} is missing here")
    return position


def _blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at
