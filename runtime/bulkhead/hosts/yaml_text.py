"""YAML, each value with its place: PyYAML reads it. PURE.

Refused is what would make one place mean two values: anchors with aliases, merge keys, keys that stand twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkhead.hosts.node import DEEPEST, Member, Node, unreadable

if TYPE_CHECKING:
    from bulkhead.errors import UnreadableError

_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def parse(text: str) -> Node:
    """The one document of the text. Raises UnreadableError."""
    import yaml  # noqa: PLC0415 - for the one host that writes YAML

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return Node(0, 0, members={}) if root is None else _Reader(text).node(root, 0)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        why = str(getattr(error, "problem", None) or "it is not YAML")
        raise unreadable(text, mark.index if mark else 0, why) from None


class _Reader:
    def __init__(self, text: str) -> None:
        import yaml  # noqa: PLC0415 - see parse()

        self._text = text
        self._seen: set[int] = set()
        self._scalar: Any = yaml.SafeLoader("").construct_object

    def node(self, found: Any, depth: int) -> Node:
        if id(found) in self._seen or depth > DEEPEST:
            raise self._refused(found, "an alias, or values that are nested too deeply, cannot be changed in one place")
        self._seen.add(id(found))
        if found.id != "scalar" and found.tag not in _PLAIN:
            raise self._refused(found, "a tag gives the value another meaning")
        if found.id == "mapping":
            return self._mapping(found, depth)
        if found.id == "sequence":
            items = [self.node(item, depth + 1) for item in found.value]
            return self._collection(found, Node(found.start_mark.index, 0, items=items), items)
        return Node(found.start_mark.index, found.end_mark.index, self._scalar(found))

    def _mapping(self, found: Any, depth: int) -> Node:
        members: dict[str, Member] = {}
        for key, value in found.value:
            if key.id != "scalar" or key.value in members or key.value == "<<":
                raise self._refused(key, "this key is there already, or is no plain key")
            node = self.node(value, depth + 1)
            members[key.value] = Member(key.start_mark.index, key.end_mark.index, node)
        values = [member.node for member in members.values()]
        return self._collection(found, Node(found.start_mark.index, 0, members=members), values)

    def _collection(self, found: Any, node: Node, values: list[Node]) -> Node:
        """PyYAML lets a block end where the next one begins: comments between are none of its own."""
        block = not found.flow_style and bool(values)
        node.end = values[-1].end if block else found.end_mark.index
        node.style = "block" if block else "flow"
        return node

    def _refused(self, found: Any, why: str) -> UnreadableError:
        return unreadable(self._text, found.start_mark.index, why)
