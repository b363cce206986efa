"""Where in a definition a text can stand; the rest of each definition is honest."""

from __future__ import annotations

from typing import Any


def _tool(**changed: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"city": {"type": "string", "description": "A city's name"}}}
    return {"name": "get_weather", "description": "The weather of a city", "inputSchema": schema} | changed


def _parameter(**changed: Any) -> dict[str, Any]:
    member = {"type": "string", "description": "A city's name"} | changed
    return _tool(inputSchema={"type": "object", "properties": {"city": member}, "required": ["city"]})


def _key(text: str) -> dict[str, Any]:
    return _tool(inputSchema={"type": "object", "properties": {text: {"type": "string"}}})


def _nested(text: str) -> dict[str, Any]:
    inner = {"type": "object", "properties": {"deep": {"anyOf": [{"type": "null"}, {"const": 1, "description": text}]}}}
    return _tool(inputSchema={"type": "object", "$defs": {"Part": inner}})


def definition(place: str, text: str) -> Any:
    """A tool, prompt, resource, template or a server's own words, with the text in its place."""
    return _PLACES[place](text)


_PLACES: dict[str, Any] = {
    "description": lambda text: _tool(description=text),
    "after": lambda text: _tool(description=f"The weather of a city.\n\n{text}"),
    "tool": lambda text: _tool(name=text),
    "title": lambda text: _tool(title=text),
    "annotation": lambda text: _tool(annotations={"title": text, "readOnlyHint": True}),
    "parameter": lambda text: _parameter(description=text),
    "nested": _nested,
    "key": _key,
    "enum": lambda text: _parameter(enum=["celsius", text]),
    "default": lambda text: _parameter(default=text),
    "example": lambda text: _parameter(examples=[text]),
    "pattern": lambda text: _parameter(pattern=text),
    "ref": lambda text: _tool(inputSchema={"type": "object", "properties": {"city": {"$ref": text}}}),
    "output": lambda text: _tool(
        outputSchema={"type": "object", "properties": {"t": {"type": "number", "title": text}}}
    ),
    "meta": lambda text: _tool(_meta={"com.example/note": text}),
    "icon": lambda text: _tool(icons=[{"src": text, "mimeType": "image/svg+xml"}]),
    "prompt": lambda text: {"name": "review", "description": text, "arguments": []},
    "argument": lambda text: {"name": "review", "arguments": [{"name": "code", "description": text, "required": True}]},
    "argument name": lambda text: {"name": "review", "arguments": [{"name": text}]},
    "resource": lambda text: {"uri": "file:///a.txt", "name": "a.txt", "description": text},
    "resource name": lambda text: {"uri": "file:///a.txt", "name": text},
    "uri": lambda text: {"uri": text, "name": "a.txt"},
    "template": lambda text: {"uriTemplate": "file:///{path}", "name": "files", "description": text},
    "instructions": lambda text: {"serverInfo": {"name": "weather", "version": "1"}, "instructions": text},
    "server": lambda text: {"serverInfo": {"name": text, "version": "1"}},
}
