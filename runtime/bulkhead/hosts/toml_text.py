"""TOML, each value with its place: tomllib judges the text and gives no places, so they are found here. PURE.

What was found has to be what tomllib says, or the text is refused: nothing here judges syntax.
"""

from __future__ import annotations

import re
import tomllib

from bulkhead.hosts.node import DEEPEST, Member, Node, unreadable

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_SCALAR = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]+(?:Z|[+-][0-9:]+)?"
    r"|[^\s,\]}#]+",
    re.DOTALL,
)


def parse(text: str) -> Node:
    """The whole text as a table. Raises UnreadableError."""
    bare = text.removeprefix("\ufeff")
    try:
        data = tomllib.loads(bare)
        root = _Reader(text, len(text) - len(bare)).document()
    except (ValueError, IndexError, RecursionError) as error:
        raise unreadable(text, 0, f"it is not TOML, or nested too deeply: {error}"[:200]) from None
    if root.plain() != data:
        raise unreadable(text, 0, "it uses a form of TOML in which no places are found")
    return root


class _Reader:
    """One way through the text. open: the tables that the last header is in, whose ends are not seen yet."""

    def __init__(self, text: str, start: int) -> None:
        self._text, self._at = text, start
        self._root = Node(-1, -1, members={}, style="table")
        self._open: list[Node] = []

    def document(self) -> Node:
        table = self._root
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._assignment(table, 0)
                self._grow()
            self._skip(_BLANK)
        return self._root

    def _header(self) -> Node:
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        self._skip(_SPACE)
        start = self._at
        path = self._names()
        self._skip(_SPACE)
        self._at += 2 if array else 1
        node, walked = self._root, list[Node]()
        for name in path[:-1]:
            node = _newest(self._below(node, name, start))
            walked.append(node)
        table = self._table(node, path[-1], start, array=array)
        self._opened([*walked, table])
        return table

    def _table(self, parent: Node, name: str, start: int, *, array: bool) -> Node:
        if not array:
            table = self._below(parent, name, start)
            table.start = self._at if table.start == -1 and not table.members else table.start
            return table
        table = Node(self._at, self._at, members={}, style="table")
        list_ = _members(parent).setdefault(name, Member(start, self._at, Node(-1, -1, items=[])))
        (list_.node.items if list_.node.items is not None else []).append(table)
        return table

    def _below(self, node: Node, name: str, start: int) -> Node:
        fresh = Node(-1, -1, members={}, style="table")
        return _members(node).setdefault(name, Member(start, self._at, fresh)).node

    def _opened(self, tables: list[Node]) -> None:
        """One that was left and is entered again stands in pieces."""
        left = [table for table in self._open if all(table is not other for other in tables)]
        for table in left:
            table.value = "left"
        for table in tables:
            if table.value == "left":
                table.start = -1
        self._open = tables
        self._grow()

    def _grow(self) -> None:
        for table in self._open:
            table.end = self._at

    def _assignment(self, table: Node, depth: int) -> None:
        start = self._at
        names = self._names()
        end = self._at
        self._skip(_SPACE)
        self._at += 1  # the "="
        self._skip(_SPACE)
        node = self._value(depth)
        for name in names[:-1]:
            table = self._below(table, name, start)
        _members(table)[names[-1]] = Member(start, end, node)

    def _value(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise ValueError("too deep")
        start, opening = self._at, self._text[self._at]
        if opening not in "[{":
            return Node(start, self._skip(_SCALAR), tomllib.loads(f"v = {self._text[start : self._at]}")["v"])
        node = Node(start, start, members={}) if opening == "{" else Node(start, start, items=[])
        self._at += 1
        self._skip(_BLANK)
        while self._text[self._at] not in "]}":
            if node.items is None:
                self._assignment(node, depth + 1)
            else:
                node.items.append(self._value(depth + 1))
            self._skip(_BLANK)
            self._at += self._text[self._at] == ","
            self._skip(_BLANK)
        self._at += 1
        node.end = self._at
        return node

    def _names(self) -> list[str]:
        """The parts of a dotted key, quotes and escapes read by tomllib itself."""
        begun = self._at
        value = tomllib.loads(f"{self._text[begun : self._skip(_KEY)]} = 0")
        names: list[str] = []
        while isinstance(value, dict):
            ((name, value),) = value.items()
            names.append(name)
        return names

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"something else at {self._at}")
        self._at = match.end()
        return self._at


def _members(node: Node) -> dict[str, Member]:
    if node.members is None:
        raise ValueError("a table is something else, too")
    return node.members


def _newest(node: Node) -> Node:
    return node.items[-1] if node.items else node
