"""A value of a configuration, and where it stands in the text. PURE.

Rules: positions are of characters, and text[start:end] is the value as it was written. Whatever is not changed by
splices stays as it is, byte for byte. What would mean two things (a key that stands twice, a value that stands for
another) is refused by the parsers, with UnreadableError.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bulkhead.errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DEEPEST = 200


@dataclass(slots=True)
class Node:
    """value: of a scalar. style: "flow" for all that is one piece; "block" of YAML; "table" with a header of TOML.

    start -1: the value has no one place, as a table of TOML that stands in pieces.
    """

    start: int
    end: int
    value: Any = None
    members: dict[str, Member] | None = None
    items: list[Node] | None = None
    style: Literal["flow", "block", "table"] = "flow"

    def plain(self) -> Any:
        """As json.loads() would give it."""
        if self.members is not None:
            return {key: member.node.plain() for key, member in self.members.items()}
        return self.value if self.items is None else [item.plain() for item in self.items]

    def at(self, pointer: Sequence[str]) -> Node | None:
        """The value below these keys."""
        node: Node | None = self
        for key in pointer:
            member = node.members.get(key) if node and node.members else None
            node = member.node if member else None
        return node


class Member(NamedTuple):
    """A key of a table, where it begins and ends, and its value."""

    start: int
    end: int
    node: Node


@dataclass(frozen=True, slots=True)
class Splice:
    """One piece of the text, and what stands there instead."""

    start: int
    end: int
    text: str = field(repr=False)


def matching(root: Node, pattern: Sequence[str], pointer: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The pointers of all values that a pattern means; "*" is any key."""
    if not pattern:
        yield pointer
        return
    node = root.at(pointer)
    for key in (node.members or {}) if node else ():
        if pattern[0] in ("*", key):
            yield from matching(root, pattern[1:], (*pointer, key))


def spliced(text: str, splices: Iterable[Splice]) -> str:
    """The text with all of them, which must not overlap."""
    for splice in sorted(splices, key=lambda splice: splice.start, reverse=True):
        text = text[: splice.start] + splice.text + text[splice.end :]
    return text


def line_of(text: str, position: int) -> int:
    """Counted from 1."""
    return text.count("\n", 0, position) + 1


def unreadable(text: str, position: int, why: str) -> UnreadableError:
    """The error of a parser; what names the line, and whoever knows the file puts it in front."""
    what = f"{line_of(text, position)}: this cannot be read"
    return UnreadableError(what, why=why, hint="mend it in an editor first")
