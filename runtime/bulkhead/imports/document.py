"""A foreign document: its tables, with the lines on which their keys stand, and what nobody asked for.

Rules: nothing is dropped in silence: a key that no reader knows is told. A value is never told: it may be a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bulkhead.errors import UsageError
from bulkhead.hosts.node import Node, line_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["left out", "changed", "to do"]


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that is otherwise than the document says. line: counted from 1, 0 for none."""

    kind: Kind
    line: int
    at: str
    why: str


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a document, as text, and where it stands."""

    text: str = field(repr=False)
    at: str
    line: int


class Table:
    """A table of a document. What was asked for counts as known, and unknown() has the rest."""

    def __init__(self, source: str, text: str, node: Node, at: str = "") -> None:
        self.source = source
        self.at = at
        self._text = text
        self._node = node
        self._known: set[str] = set()

    def with_changes(self, other: Table) -> Table:
        """A table that says what other says, where other says something."""
        members = {**(self._node.members or {}), **(other._node.members or {})}
        return Table(self.source, self._text, Node(self._node.start, self._node.end, members=members), self.at)

    @property
    def keys(self) -> list[str]:
        """In their order."""
        return list(self._node.members or {})

    def line(self, key: str = "") -> int:
        """Of a key, or of the table."""
        member = (self._node.members or {}).get(key)
        return line_of(self._text, max(member.start if member else self._node.start, 0))

    def path(self, key: str) -> str:
        """The key as it is told: env[2].name."""
        return f"{self.at}.{key}" if self.at else key

    def node(self, key: str) -> Node | None:
        """The value of a key; None for one that is not there, or says nothing."""
        self._known.add(key)
        found = self._node.at((key,))
        empty = found is None or (found.members is None and found.items is None and found.value is None)
        return None if empty else found

    def has(self, key: str) -> bool:
        """Whether the key says something."""
        found = self.node(key)
        return found is not None and found.plain() not in ("", [], {}, False)

    def text(self, key: str) -> str:
        """A text, a number or a truth value as text; "" where there is none. Raises UsageError."""
        found = self.node(key)
        return "" if found is None else self._scalar(found, key)

    def texts(self, key: str) -> list[Item]:
        """A list of such, or one alone. Raises UsageError."""
        found = self.node(key)
        nodes = [] if found is None else [found] if found.items is None else found.items
        paths = [self.path(key) if found is node else f"{self.path(key)}[{index}]" for index, node in enumerate(nodes)]
        return [
            Item(self._scalar(node, key), at, line_of(self._text, node.start))
            for at, node in zip(paths, nodes, strict=True)
        ]

    def named(self, key: str) -> dict[str, Item]:
        """A table of texts. Raises UsageError."""
        table = self.table(key)
        return {name: Item(table.text(name), table.path(name), table.line(name)) for name in table.keys}

    def table(self, key: str) -> Table:
        """An empty one where there is none. Raises UsageError."""
        found = self.node(key)
        if found is not None and found.members is None:
            raise self.wrong(key, "a table is expected")
        return Table(self.source, self._text, found or Node(0, 0, members={}), self.path(key))

    def tables(self, key: str) -> list[Table]:
        """A list of tables. Raises UsageError."""
        found = self.node(key)
        items = [] if found is None else found.items
        if items is None or any(item.members is None for item in items):
            raise self.wrong(key, "a list of tables is expected")
        return [Table(self.source, self._text, it, f"{self.path(key)}[{n}]") for n, it in enumerate(items)]

    def item(self, key: str) -> Item:
        """The text of a key, with its place."""
        return Item(self.text(key), self.path(key), self.line(key))

    def pass_over(self, keys: Iterable[str]) -> None:
        """Keys that are for people, or for the program that the document was made for."""
        self._known.update(keys)

    def unknown(self) -> Iterator[Told]:
        """What nobody asked for."""
        for key in self.keys:
            if key not in self._known:
                yield Told("left out", self.line(key), self.path(_shown(key)), "this key is not known")

    def told(self, kind: Kind, key: str, why: str) -> Told:
        """Of one key."""
        return Told(kind, self.line(key), self.path(_shown(key)), why)

    def wrong(self, key: str, why: str, hint: str = "") -> UsageError:
        """What makes the whole document useless."""
        what = f"{self.source}:{self.line(key)}: {self.path(_shown(key)) or 'the document'} cannot be used"
        return UsageError(what, why=why, hint=hint or "mend the document, or write a profile: docs/profiles.md")

    def _scalar(self, node: Node, key: str) -> str:
        if node.members is not None or node.items is not None:
            raise self.wrong(key, "a text is expected")
        if isinstance(node.value, str) and any("\ud800" <= character <= "\udfff" for character in node.value):
            raise self.wrong(key, "half a character stands in it")
        # As it was written: YAML's yes, 0644 and 1.10 are meant as texts here.
        return node.value if isinstance(node.value, str) else self._text[node.start : node.end]


def _shown(key: str) -> str:
    """A key can be anything: one line of it, and not all of a long one."""
    return key if key.isascii() and key.isprintable() and len(key) < 64 else ascii(key[:64])
