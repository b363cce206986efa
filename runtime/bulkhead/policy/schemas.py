"""How much work a JSON Schema makes. A server wrote it, so it is weighed before any validator sees it.

A few lines of `$ref` can ask for 2**60 visits, or for a deeper stack than a process has. So the parts of a schema are
counted as they unfold, for arguments nested to each depth. What cannot be counted is refused: references that leave the
schema, which are never fetched either, that move with where they stand, or that lead to themselves at one place.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Parts that judge the same value as the schema they stand in, and parts that judge what is in it.
_HERE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"})
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies"})
_BELOW = frozenset(
    {"properties", "patternProperties", "additionalProperties", "propertyNames", "items", "prefixItems"}
    | {"additionalItems", "contains", "unevaluatedItems", "unevaluatedProperties"}
)
_LISTS = ("enum", "const", "required", "dependentRequired")
_MOVING = frozenset({"$dynamicRef", "$recursiveRef"})
_MOVED = frozenset({"$id", "id"})
_MOVES = "it has references whose meaning depends on where they stand"
_UNEVALUATED = frozenset({"unevaluatedItems", "unevaluatedProperties"})
# jsonschema_rs looks at what stands beside "unevaluated..." again, which was measured as 2.5 times a level.
_AGAIN = 4
_MOST_VALUES = 10_000
# Of one compiled pattern a validator may hold 1 MiB.
_MOST_PATTERNS = 128
# Of a chain at one place. A validator's stack holds 250 where arguments are nested 120 deep.
_LONGEST_CHAIN = 64
_DEEPEST = 32
_ENOUGH = 2**40


class UnjudgedError(Exception):
    """A schema that no arguments are judged by; str() says why."""


class Weight(NamedTuple):
    """visits, patterns: of all parts together, by how deep the arguments are nested; the last is for deeper ones too.

    endless: the schema repeats itself, so that nothing is known of arguments deeper than the last.
    """

    visits: Sequence[int]
    patterns: Sequence[int]
    endless: bool


class _Part(NamedTuple):
    visits: int
    patterns: int
    again: int
    here: list[int]
    below: list[int]


def weigh(schema: dict[str, Any]) -> Weight:
    """What it takes to judge by a schema. Raises UnjudgedError."""
    values, _ = extent(schema)
    if values > _MOST_VALUES:
        raise UnjudgedError(f"it has more than {_MOST_VALUES} values")
    parts = _parts(schema)
    if sum(part.patterns for part in parts.values()) > _MOST_PATTERNS:
        raise UnjudgedError(f"it has more than {_MOST_PATTERNS} patterns")
    order, root = _order(parts), id(schema)
    visits: list[int] = []
    for total in islice(_totals(parts, order, root, {key: part.visits for key, part in parts.items()}), _DEEPEST):
        visits.append(total)
        if visits[-2:-1] == [total]:  # each part counts, so what has not grown once has ended
            break
    patterns = _totals(parts, order, root, {key: part.patterns for key, part in parts.items()})
    return Weight(visits, list(islice(patterns, len(visits))), endless=visits[-2:-1] != visits[-1:])


def extent(value: Any) -> tuple[int, int]:
    """How many values there are in a value, itself included, and how deep they are nested; 0: in nothing."""
    level, values, depth = [value], 0, -1
    while level:
        values, depth = values + len(level), depth + 1
        nested = [item for item in level if type(item) in (dict, list)]
        level = [inner for item in nested for inner in (item.values() if type(item) is dict else item)]
    return values, depth


def _parts(schema: dict[str, Any]) -> dict[int, _Part]:
    """All parts that can be reached, by the identity of their tables."""
    parts: dict[int, _Part] = {}
    waiting: list[Any] = [schema]
    while waiting:
        table = waiting.pop()
        if id(table) in parts:
            continue
        if table is not schema and not _MOVED.isdisjoint(table):
            raise UnjudgedError(_MOVES)
        here, below = list(_here(table, schema)), list(_below(table))
        parts[id(table)] = _part(table, here, below)
        waiting += [part for part in (*here, *below) if type(part) is dict]
    return parts


def _part(table: dict[str, Any], here: list[Any], below: list[Any]) -> _Part:
    if not _MOVING.isdisjoint(table):
        raise UnjudgedError(_MOVES)
    listed = sum(extent(table[key])[0] for key in _LISTS if key in table)
    patterned = table.get("patternProperties")
    patterns = ("pattern" in table) + (len(patterned) if type(patterned) is dict else 0)
    again = 1 if _UNEVALUATED.isdisjoint(table) else _AGAIN
    plain = sum(type(part) is not dict for part in (*here, *below))
    return _Part(1 + listed + plain, patterns, again, _tables(here), _tables(below))


def _tables(parts: list[Any]) -> list[int]:
    return [id(part) for part in parts if type(part) is dict]


def _here(table: dict[str, Any], schema: dict[str, Any]) -> Iterator[Any]:
    for key in _HERE.intersection(table):
        yield from _values(key, table[key])
    if "$ref" in table:
        yield _target(table["$ref"], schema)


def _below(table: dict[str, Any]) -> Iterator[Any]:
    for key in _BELOW.intersection(table):
        yield from _values(key, table[key])


def _values(key: str, value: Any) -> Iterable[Any]:
    if key in _NAMED:
        return value.values() if type(value) is dict else ()
    return value if type(value) is list else (value,)


def _target(reference: Any, schema: dict[str, Any]) -> Any:
    """What "#" or "#/a/b" means in the schema."""
    if type(reference) is not str or not (reference == "#" or reference.startswith("#/")):
        raise UnjudgedError("it refers to something outside itself")
    found: Any = schema
    for step in unquote(reference).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(name)] if type(found) is list else found[name]
        except (LookupError, TypeError, ValueError):
            raise UnjudgedError("it refers to a part that it does not have") from None
    return found


def _order(parts: dict[int, _Part]) -> list[int]:
    """The parts, each after those that judge at its own place."""
    try:
        order = list(TopologicalSorter({key: part.here for key, part in parts.items()}).static_order())
    except CycleError:
        raise UnjudgedError("a part of it refers to itself") from None
    chains: dict[int, int] = {}
    for key in order:
        chains[key] = 1 + max((chains[inner] for inner in parts[key].here), default=0)
    if max(chains.values()) > _LONGEST_CHAIN:
        raise UnjudgedError(f"a chain of its references is longer than {_LONGEST_CHAIN}")
    return order


def _totals(parts: dict[int, _Part], order: list[int], root: int, own: dict[int, int]) -> Iterator[int]:
    """The sum of own over all parts as they unfold from root, for arguments of depth 0, 1, 2 ..."""
    inner = dict.fromkeys(parts, 0)
    while True:
        level: dict[int, int] = {}
        for key in order:
            part = parts[key]
            here = part.again * sum(level[other] for other in part.here)
            level[key] = min(_ENOUGH, own[key] + here + sum(inner[other] for other in part.below))
        yield level[root]
        inner = level
