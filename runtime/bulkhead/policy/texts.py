"""All texts of a message, in an order in which what was cut over several of them is joined again. PURE.

Order: first what stands under "text", which is what a model reads one after the other, then all other values, then the
keys of objects. Binary data (``blob``, and ``data`` of images and sound) is apart: it is no text. The same walk gathers
and replaces, so that each text gets its own back.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TEXT, VALUE, KEY, BINARY = range(4)
_BINARY_TYPES = ("image", "audio")
# From the root: ((None, "content"), 0) is /content/0. None is the root.
Path: TypeAlias = "tuple[Any, str | int] | None"
Visit: TypeAlias = "Callable[[int, str, Path], str]"


def walk(node: Any, visit: Visit, path: Path = None) -> Any:
    """The same document with what visit(kind, text, path) makes of each text. Keys that become equal are told apart."""
    if type(node) is dict:
        return _object(node, visit, path)
    if type(node) is list:
        return [
            visit(VALUE, item, (path, at)) if type(item) is str else walk(item, visit, (path, at))
            for at, item in enumerate(node)
        ]
    return node


def _object(node: dict[str, Any], visit: Visit, path: Path) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, item in node.items():
        name = visit(KEY, key, path)
        while name in made:
            name += "'"
        if type(item) is str:
            made[name] = visit(_kind(node, key), item, (path, name))
        else:
            made[name] = walk(item, visit, (path, name))
    return made


def _kind(node: dict[str, Any], key: str) -> int:
    if key == "text":
        return TEXT
    is_data = key == "blob" or (key == "data" and node.get("type") in _BINARY_TYPES)
    return BINARY if is_data else VALUE


def pointer(path: Path) -> str:
    """As RFC 6901 writes it, at most 120 characters, none of them invisible."""
    parts: list[str] = []
    while path is not None:
        path, step = path
        parts.append(str(step).replace("~", "~0").replace("/", "~1"))
    text = "".join(f"/{part}" for part in reversed(parts)) or "/"
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:120])


def gathered(node: Any) -> tuple[list[str], list[str], list[str], list[str]]:
    """Its texts, other values, keys and binary data."""
    lists: tuple[list[str], ...] = ([], [], [], [])

    def visit(kind: int, text: str, _: Path) -> str:
        lists[kind].append(text)
        return text

    walk(node, visit)
    return lists[0], lists[1], lists[2], lists[3]


def joined(texts: Sequence[str]) -> bytes:
    """One text in UTF-8, with a line end between two."""
    return "\n".join(texts).encode("utf-8", "surrogatepass")


def starts(texts: Sequence[str]) -> list[int]:
    """Where each text begins in the joined one."""
    sizes = (len(text.encode("utf-8", "surrogatepass")) + 1 for text in texts)
    return [0, *accumulate(sizes)][:-1]
