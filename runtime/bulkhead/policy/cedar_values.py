"""How Cedar sees a call's arguments: Cedar has no null and no floating point.

A whole number is a Long, and a fraction of at most four places a decimal. null is Null::"null", and any other number
is Number::"1e+300": such a value equals nothing but itself, and to compare it is an error, which denies. Refused is
what Cedar would read otherwise than the server: a key that Cedar's JSON has for itself, and one that differs only in
case from a key that the rules read, as Go's decoder would take it for that one.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_ESCAPES = frozenset({"__entity", "__extn", "__expr"})
_LONGS = range(-(2**63), 2**63)
_PLACES = range(1, 5)
_DECIMALS = 922_337_203_685_477


class UnmappableError(Exception):
    """Arguments that Cedar could read otherwise than the server; str() says why."""


def mapped(value: Any, keys: Mapping[str, frozenset[str]]) -> Any:
    """A JSON value as Cedar's JSON has it. keys: see in_case(). Raises UnmappableError."""
    if value is None:
        return _entity("Null", "null")
    if type(value) is dict:
        if not _ESCAPES.isdisjoint(value):
            raise UnmappableError("an argument has a name that only Cedar uses")
        in_case(value, keys)
        return {key: mapped(item, keys) for key, item in value.items()}
    if type(value) is list:
        return [mapped(item, keys) for item in value]
    return _number(value) if type(value) in (int, float) else value


def in_case(value: Mapping[str, Any], keys: Mapping[str, frozenset[str]]) -> None:
    """Raises UnmappableError for a key in another case. keys: what is read, as written, by its casefold()."""
    for key in value:
        known = keys.get(key.casefold())
        if known and key not in known:
            raise UnmappableError(f"{key[:80]!r} is, but for its case, a name that the rules read")


def _number(value: float) -> Any:
    if value == int(value) and int(value) in _LONGS:
        return int(value)
    text = format(Decimal(repr(value)), "f")
    if len(text.partition(".")[2]) in _PLACES and abs(value) < _DECIMALS:
        return {"__extn": {"fn": "decimal", "arg": text}}
    return _entity("Number", json.dumps(value))


def _entity(kind: str, name: str) -> dict[str, Any]:
    return {"__entity": {"type": kind, "id": name}}
