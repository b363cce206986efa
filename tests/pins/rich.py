"""A server that declares all that MCP knows, and every way to change one leaf of it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOL: dict[str, Any] = {
    "name": "weather",
    "title": "Weather",
    "description": "The weather of a place.",
    "inputSchema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "place": {"type": "string", "description": "A town", "minLength": 1, "examples": ["Oslo", "Rome"]},
            "days": {"type": ["integer", "null"], "minimum": 1, "maximum": 18446744073709551615, "default": 3},
            "unit": {"enum": ["C", "F"], "default": "C"},
            "near": {
                "type": "object",
                "properties": {"lat": {"type": "number", "multipleOf": 0.5}, "lon": {"$ref": "#/$defs/degree"}},
                "required": ["lat", "lon"],
                "additionalProperties": False,
            },
            "any": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "uniqueItems": True}]},
        },
        "required": ["place"],
        "dependentRequired": {"near": ["unit", "days"]},
        "$defs": {"degree": {"type": "number", "minimum": -180, "exclusiveMaximum": 180.0}},
    },
    "outputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    "annotations": {
        "title": "Weather", "readOnlyHint": True, "destructiveHint": False, "idempotentHint": True,
        "openWorldHint": True,
    },
    "icons": [{"src": "https://example.com/icon.png", "mimeType": "image/png", "sizes": ["48x48", "any"]}],
    "execution": {"taskSupport": "optional"},
    "_meta": {
        "ui": {"resourceUri": "ui://weather/view", "visibility": ["model", "app"], "csp": {"connectDomains": []}},
        "example.com/note": None,
    },
    "x-unknown": {"deep": [{"er": {}}]},
}  # fmt: skip
PROMPT: dict[str, Any] = {
    "name": "forecast",
    "title": "Forecast",
    "description": "Asks for a forecast.",
    "arguments": [{"name": "place", "title": "Place", "description": "A town", "required": True}, {"name": "days"}],
    "icons": [{"src": "https://example.com/prompt.svg"}],
    "_meta": {"example.com/version": 1},
}
RESOURCE: dict[str, Any] = {
    "uri": "weather://oslo",
    "name": "oslo",
    "title": "Oslo",
    "description": "The weather of Oslo",
    "mimeType": "text/plain",
    "size": 100,
    "annotations": {"audience": ["user", "assistant"], "priority": 0.5, "lastModified": "2026-01-01T00:00:00Z"},
    "icons": [{"src": "https://example.com/oslo.png"}],
    "_meta": {"example.com/kind": "town"},
}
TEMPLATE: dict[str, Any] = {
    "uriTemplate": "weather://{place}",
    "name": "place",
    "title": "A place",
    "description": "The weather of any place",
    "mimeType": "text/plain",
    "annotations": {"audience": ["assistant"], "priority": 1},
    "_meta": {"example.com/kind": "any"},
}
INTRODUCTION: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {"listChanged": True}},
    "serverInfo": {
        "name": "weather", "title": "Weather", "version": "1.2.3", "description": "Knows the weather",
        "websiteUrl": "https://example.com", "icons": [{"src": "https://example.com/icon.png", "sizes": ["any"]}],
    },
    "instructions": "Ask for one town at a time.",
    "_meta": {"example.com/build": {"number": 7}},
}  # fmt: skip
DISCOVERED: dict[str, Any] = {
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {}},
    "instructions": INTRODUCTION["instructions"],
    "_meta": {"io.modelcontextprotocol/serverInfo": INTRODUCTION["serverInfo"], **INTRODUCTION["_meta"]},
    "resultType": "complete",
    "ttlMs": 1000,
    "cacheScope": "private",
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A definition with one leaf changed, added or removed, and the JSON pointer of it."""

    what: str
    at: str
    value: Any


def mutants(value: Any, skipped: frozenset[str] = frozenset()) -> Iterator[Mutant]:
    """Every leaf changed; every member and element removed; one member or element added to each object and array."""
    for path in _paths(value):
        at = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
        if path and path[0] in skipped:
            continue
        here = _at(value, path)
        if not isinstance(here, dict | list) or not here:
            yield Mutant("changed", at, _with(value, path, _other(here)))
        if path:
            yield Mutant("removed", at, _without(value, path))
        if isinstance(here, dict):
            yield Mutant("added", f"{at}/added", _with(value, (*path, "added"), "x"))
        elif isinstance(here, list):
            yield Mutant("added", at, _with(value, path, [*here, "x"]))


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(inner, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    copy = deepcopy(value)
    if not path:
        return new
    _at(copy, path[:-1])[path[-1]] = new
    return copy


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    copy = deepcopy(value)
    del _at(copy, path[:-1])[path[-1]]
    return copy


def _other(leaf: Any) -> Any:
    """What is not the same, though a careless comparison says so: True and 1, 2**64 and 2**64 - 1."""
    if isinstance(leaf, bool):
        return int(leaf)
    if isinstance(leaf, int):
        return leaf + 1
    if isinstance(leaf, float):
        return leaf + 0.25
    return f"{leaf} " if isinstance(leaf, str) else False if leaf is None else None
