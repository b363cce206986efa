"""The server that the conformance suite is run against: every tool, prompt and resource that it asks for by name.

    python3 -m tests.servers.fixture

It speaks both eras. What needs the client in the middle of a call asks it by a request in the legacy era, and by an
``input_required`` result in the modern one; what a tool does between is written once (inputs.py). Answers hold what the
client sent, where it matters that it came through unchanged (``reflect``).
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.servers import inputs, media
from tests.servers.speaker import META, RpcError, Speaker, handshakes, is_modern, meta, text

if TYPE_CHECKING:
    from collections.abc import Callable

Message: TypeAlias = dict[str, Any]
Result: TypeAlias = dict[str, Any]
Tool: TypeAlias = "Callable[[Speaker, Message], Result | None]"

CAPABILITIES = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "logging": {},
    "completions": {},
}
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
WATCHED = "test://watched-resource"
_PAUSE = 0.05


class State:
    """What one session has set."""

    def __init__(self) -> None:
        self.level = "debug"
        self.subscribed: set[str] = set()
        self.listener: Any = None


STATE = State()


def _says(*content: Result) -> Tool:
    return lambda _speaker, _message: {"content": list(content)}


def _log(speaker: Speaker, data: str, level: str = "info") -> None:
    if LEVELS.index(level) >= LEVELS.index(STATE.level):
        speaker.notify("notifications/message", level=level, logger="fixture", data=data)


def _logging(speaker: Speaker, _message: Message) -> Result:
    for data in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        _log(speaker, data)
        time.sleep(_PAUSE)
    return text("logged three times")


def _progress(speaker: Speaker, message: Message) -> Result:
    token = meta(message).get("progressToken")
    for progress in (0, 50, 100):
        if token is not None:
            said = f"{progress} of 100"
            speaker.notify("notifications/progress", progressToken=token, progress=progress, total=100, message=said)
        time.sleep(_PAUSE)
    return text(f"progress told to {token}")


def _failing(_speaker: Speaker, _message: Message) -> Result:
    return text("This tool intentionally returns an error for testing") | {"isError": True}


def _until_cancelled(speaker: Speaker, message: Message) -> None:
    """Never answers; says in a log message that the cancellation came."""
    cancelled = speaker.cancelled[message["id"]]
    _log(speaker, "waiting")
    if cancelled.wait(30):
        _log(speaker, "cancelled", "alert")


def _reflect(_speaker: Speaker, message: Message) -> Result:
    """The whole request as it arrived, and _meta and unknown members in the answer."""
    return text(json.dumps(message)) | {"_meta": {"example.org/kept": [1, None]}, "example.org/member": {"a": 1.5}}


def _changed(speaker: Speaker, message: Message) -> Result:
    for kind in ("tools", "prompts", "resources"):
        _push(speaker, f"notifications/{kind}/list_changed")
    if WATCHED in STATE.subscribed or is_modern(message):
        _push(speaker, "notifications/resources/updated", uri=WATCHED)
    return text("changed")


def _push(speaker: Speaker, method: str, **params: Any) -> None:
    """A notification outside of any call: in the modern era it belongs to the subscription."""
    marked = {} if STATE.listener is None else {"_meta": {f"{META}subscriptionId": STATE.listener}}
    speaker.notify(method, **params, **marked)


TOOLS: dict[str, tuple[str, Tool]] = {
    "test_simple_text": ("One text", _says(media.text_block("This is a simple text response for testing."))),
    "test_image_content": ("One image", _says(media.IMAGE)),
    "test_audio_content": ("One sound", _says(media.AUDIO)),
    "test_embedded_resource": ("One resource", _says(media.embedded("test://embedded-resource", "Embedded here."))),
    "test_multiple_content_types": (
        "A text, an image and a resource",
        _says(media.text_block("Multiple content types test:"), media.IMAGE, media.MIXED),
    ),
    "test_tool_with_logging": ("Logs three times while it runs", _logging),
    "test_tool_with_progress": ("Tells its progress three times", _progress),
    "test_error_handling": ("Always fails", _failing),
    "test_until_cancelled": ("Runs until it is cancelled", _until_cancelled),
    "test_list_changed": ("Says that every list has changed", _changed),
    "test_reconnection": ("Takes a moment", _progress),
    "reflect": ("The request as it arrived", _reflect),
    "json_schema_2020_12_tool": ("A tool with a demanding schema", _says(media.text_block("valid"))),
} | {name: (item.description, inputs.tool(item)) for name, item in inputs.TOOLS.items()}

SCHEMAS = {"json_schema_2020_12_tool": media.SCHEMA} | {n: i.schema for n, i in inputs.TOOLS.items()}


def _tools_list(_speaker: Speaker, _message: Message) -> Result:
    any_object = {"type": "object"}
    return {
        "tools": [
            {"name": name, "description": described, "inputSchema": SCHEMAS.get(name, any_object)}
            for name, (described, _) in TOOLS.items()
        ]
    }


def _tools_call(speaker: Speaker, message: Message) -> Result | None:
    name = message["params"]["name"]
    if name not in TOOLS:
        raise RpcError(-32602, f"Unknown tool: {name}")
    return TOOLS[name][1](speaker, message)


def _resources_read(_speaker: Speaker, message: Message) -> Result:
    uri = message["params"]["uri"]
    if uri in media.RESOURCES:
        return {"contents": [{"uri": uri} | media.RESOURCES[uri]]}
    parts = uri.split("/")
    if uri.startswith("test://template/") and parts[-1] == "data" and len(parts) == 5:
        body = {"id": parts[3], "templateTest": True, "data": f"Data for ID: {parts[3]}"}
        return {"contents": [{"uri": uri, "mimeType": "application/json", "text": json.dumps(body)}]}
    raise RpcError(-32602, f"Resource not found: {uri}", {"uri": uri})


def _resources_list(_speaker: Speaker, _message: Message) -> Result:
    return {
        "resources": [
            {"uri": uri, "name": uri.removeprefix("test://"), "description": uri, "mimeType": body["mimeType"]}
            for uri, body in media.RESOURCES.items()
        ]
    }


def _templates_list(_speaker: Speaker, _message: Message) -> Result:
    template = {"uriTemplate": "test://template/{id}/data", "name": "template", "mimeType": "application/json"}
    return {"resourceTemplates": [template | {"description": "Data of an id"}]}


def _subscribe(_speaker: Speaker, message: Message) -> Result:
    STATE.subscribed.add(message["params"]["uri"])
    return {}


def _unsubscribe(_speaker: Speaker, message: Message) -> Result:
    STATE.subscribed.discard(message["params"]["uri"])
    return {}


def _prompts_list(_speaker: Speaker, _message: Message) -> Result:
    return {
        "prompts": [
            {
                "name": name,
                "description": name.replace("_", " "),
                "arguments": [{"name": arg, "description": arg, "required": True} for arg in arguments],
            }
            for name, arguments in media.PROMPTS.items()
        ]
    }


def _prompts_get(_speaker: Speaker, message: Message) -> Result:
    name, arguments = message["params"]["name"], message["params"].get("arguments", {})
    if name not in media.PROMPTS:
        raise RpcError(-32602, f"Unknown prompt: {name}")
    if missing := [arg for arg in media.PROMPTS[name] if arg not in arguments]:
        raise RpcError(-32602, f"Missing arguments: {missing}")
    return {"messages": media.prompt(name, arguments)}


def _complete(_speaker: Speaker, message: Message) -> Result:
    prefix = message["params"]["argument"]["value"]
    values = [value for value in ("paris", "park", "party") if value.startswith(prefix)]
    return {"completion": {"values": values, "total": len(values), "hasMore": False}}


def _set_level(_speaker: Speaker, message: Message) -> Result:
    level = message["params"]["level"]
    if level not in LEVELS:
        raise RpcError(-32602, f"Unknown level: {level}")
    STATE.level = level
    return {}


def _listen(speaker: Speaker, message: Message) -> Result:
    """Modern: acknowledges, and answers only when the client cancels (which is no answer)."""
    STATE.listener = message["id"]
    _push(speaker, "notifications/subscriptions/acknowledged", notifications=message["params"]["notifications"])
    speaker.cancelled[message["id"]].wait()
    STATE.listener = None
    return {}


def _roots_changed(speaker: Speaker, _message: Message) -> None:
    def ask() -> None:
        _log(speaker, json.dumps(speaker.ask("roots/list", {}).get("result")), "alert")

    threading.Thread(target=ask, daemon=True).start()


HANDLERS = {
    "tools/list": _tools_list,
    "tools/call": _tools_call,
    "resources/list": _resources_list,
    "resources/read": _resources_read,
    "resources/templates/list": _templates_list,
    "resources/subscribe": _subscribe,
    "resources/unsubscribe": _unsubscribe,
    "prompts/list": _prompts_list,
    "prompts/get": _prompts_get,
    "completion/complete": _complete,
    "logging/setLevel": _set_level,
    "subscriptions/listen": _listen,
    "example.org/unknown": _reflect,
    "notifications/roots/list_changed": _roots_changed,
}

if __name__ == "__main__":
    Speaker().serve(handshakes("fixture", CAPABILITIES) | HANDLERS)
