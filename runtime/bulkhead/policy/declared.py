"""What a server declares, item by item, and the one text that stands for each. PURE.

Rules: every member of an item counts, known or not. The text is that of RFC 8785, so the order of members is no
change, nor are other ways to write a number that every JSON parser reads as the same: 1, 1.0 and 1e0, or 0 and -0.0.
An integer beyond 2^53 is written with all its digits: a parser with exact integers reads others as others. The order
in arrays counts, but for what JSON Schema has as a set: `required`, `enum`, `type` and the arrays of
`dependentRequired`, where they stand as keywords of an inputSchema or outputSchema.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from json.encoder import encode_basestring as _quoted
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SERVER = "server:"
# Longer names and URIs are no names.
MAX_NAME = 4096
# Where a result of 2026-07-28 says what `serverInfo` says in that of `initialize`.
STAMP = "io.modelcontextprotocol/serverInfo"
IDENTITY = ("serverInfo", "instructions", "_meta")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of item: the request that lists it, the result's member that has the list, the member that names it."""

    name: str
    method: str
    member: str
    id: str


LISTS: Mapping[str, Kind] = {
    kind.method: kind
    for kind in (
        Kind("tool", "tools/list", "tools", "name"),
        Kind("prompt", "prompts/list", "prompts", "name"),
        Kind("resource", "resources/list", "resources", "uri"),
        Kind("template", "resources/templates/list", "resourceTemplates", "uriTemplate"),
    )
}
# What names an item: its kind, and the member of params that has its name.
CALLS: Mapping[str, tuple[str, str]] = {
    "tools/call": ("tool", "name"),
    "prompts/get": ("prompt", "name"),
    "resources/read": ("resource", "uri"),
    "resources/subscribe": ("resource", "uri"),
}
# The lists that a notification says are others now.
CHANGED: Mapping[str, tuple[str, ...]] = {
    "notifications/tools/list_changed": ("tools/list",),
    "notifications/prompts/list_changed": ("prompts/list",),
    "notifications/resources/list_changed": ("resources/list", "resources/templates/list"),
}


# What a host is told of a kind that it should list again.
TOLD: Mapping[str, str] = {LISTS[method].name: note for note, methods in CHANGED.items() for method in methods}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a server declares. odd: why nobody can approve it, "" where one can."""

    key: str
    kind: str
    name: str
    value: Any
    odd: str = ""


def items(method: str, result: dict[str, Any]) -> list[Item]:
    """What a result declares; of a list as many as it has entries, in their order.

    Two of one name are both odd, and so is what has no name. A list that is none is one odd item.
    """
    kind = LISTS.get(method)
    if kind is None:
        return [Item(SERVER, "server", "", identity(result))]
    declared = result.get(kind.member, [])
    if type(declared) is not list:
        return [_odd(kind, declared, f"{kind.member} is no list")]
    found = [_item(kind, value) for value in declared]
    count = Counter(item.key for item in found)
    return [item if count[item.key] == 1 else _twice(item, found) for item in found]


def _item(kind: Kind, value: Any) -> Item:
    name = value.get(kind.id) if type(value) is dict else None
    if type(name) is not str or not 0 < len(name) <= MAX_NAME:
        return _odd(kind, value, f"it has no {kind.id}" if type(value) is dict else "it is no object")
    twins = [key for key in value if key != kind.id and key.casefold() == kind.id.casefold()]
    odd = f"it has the key {twins[0]!r}, which some hosts read as {kind.id!r}" if twins else ""
    return Item(f"{kind.name}:{name}", kind.name, name, value, odd)


def _odd(kind: Kind, value: Any, why: str) -> Item:
    return Item(f"{kind.name}:?{digest(value)[7:15]}", kind.name, "", value, why)


def _twice(item: Item, found: list[Item]) -> Item:
    same = [other.value for other in found if other.key == item.key]
    return Item(item.key, item.kind, item.name, same, f"it is declared {len(same)} times in one list")


def identity(result: dict[str, Any]) -> dict[str, Any]:
    """Who a server says that it is, the same in both eras; what depends on who asks is left out."""
    found = {key: result[key] for key in IDENTITY if result.get(key) is not None}
    meta = found.get("_meta")
    if type(meta) is dict and STAMP in meta:
        stamp = meta[STAMP]
        if canonical(found.get("serverInfo", stamp)) == canonical(stamp):
            found |= {"serverInfo": stamp, "_meta": {key: value for key, value in meta.items() if key != STAMP}}
    return {key: value for key, value in found.items() if key != "_meta" or value != {}}


def odd_members(method: str, result: dict[str, Any]) -> list[str]:
    """Members that some hosts read as those which are judged: Go's decoder takes "Tools" for "tools"."""
    kind = LISTS.get(method)
    judged = (kind.member,) if kind is not None else IDENTITY
    folded = {name.casefold() for name in judged}
    return [key for key in result if key not in judged and key.casefold() in folded]


# The text of a value


def canonical(value: Any) -> str:
    """The text of RFC 8785, with integers of any size."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(key)}:{canonical(value[key])}" for key in sorted(value, key=_order)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    return _number(value) if isinstance(value, float) else json.dumps(value)


def _order(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _number(value: float) -> str:
    import rfc8785  # noqa: PLC0415 - few definitions have a number with a fraction

    return rfc8785.dumps(value).decode()


def digest(value: Any) -> str:
    """ "sha256:..." of a value's text."""
    return f"sha256:{sha256(canonical(value).encode('utf-8', 'surrogatepass')).hexdigest()}"


def digest_of(item: Item) -> str:
    """The digest of an item's form."""
    return digest(form(item.kind, item.value))


def quick(value: Any) -> str:
    """A text by which values are the same if it is; if it is another, they may yet be. Ten times as fast."""
    return _QUICK.encode(value)


_QUICK = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False)


# The value of an item, without what is no change


_SETS = frozenset({"required", "enum", "type"})
_SCHEMAS_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_SETS_BY_NAME = frozenset({"dependentRequired", "dependencies"})
_SCHEMAS = frozenset({
    "items", "prefixItems", "additionalItems", "unevaluatedItems", "contains", "additionalProperties",
    "unevaluatedProperties", "propertyNames", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "contentSchema",
})  # fmt: skip


def form(kind: str, value: Any) -> Any:
    """An item's value with each set of its schemas as a sorted tuple: what is compared, and of which digests are."""
    if kind != "tool" or type(value) is not dict:
        return value
    return {key: _schema(inner) if key in ("inputSchema", "outputSchema") else inner for key, inner in value.items()}


def _schema(value: Any) -> Any:
    if isinstance(value, list):
        return [_schema(item) for item in value]
    return {key: _keyword(key, inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _keyword(key: str, value: Any) -> Any:
    if key in _SETS and isinstance(value, list):
        return _set(value)
    if key in _SCHEMAS:
        return _schema(value)
    if key in _SCHEMAS_BY_NAME and isinstance(value, dict):
        return {name: _schema(inner) for name, inner in value.items()}
    if key in _SETS_BY_NAME and isinstance(value, dict):
        return {name: _set(inner) if isinstance(inner, list) else _schema(inner) for name, inner in value.items()}
    return value


def _set(value: list[Any]) -> tuple[Any, ...]:
    return tuple(sorted(value, key=canonical))


# Leaf by leaf

_NONE = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One leaf, at its JSON pointer; before and after are texts, "" where there was none, or is none."""

    at: str
    before: str
    after: str


def leaves(value: Any, at: str = "") -> dict[str, str]:
    """The text of every leaf under its JSON pointer; an empty object or array is one, and so is a set."""
    return dict(_leaves(value, at))


def _leaves(value: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{at}/{_escaped(key)}")
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{at}/{index}")
    else:
        yield at, canonical(value)


def differences(before: Any, after: Any, at: str = "") -> Iterator[Change]:
    """All leaves in which two values differ; what is on one side alone is told leaf by leaf, too."""
    if before is _NONE:
        yield from (Change(place, "", text) for place, text in _leaves(after, at))
    elif after is _NONE:
        yield from (Change(place, text, "") for place, text in _leaves(before, at))
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key, _NONE), after.get(key, _NONE), f"{at}/{_escaped(key)}")
    elif isinstance(before, list) and isinstance(after, list):
        for index, (old, new) in enumerate(zip_longest(before, after, fillvalue=_NONE)):
            yield from differences(old, new, f"{at}/{index}")
    elif (old := canonical(before)) != (new := canonical(after)):
        yield Change(at, old, new)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
