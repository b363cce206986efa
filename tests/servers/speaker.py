"""MCP over stdio by hand, both eras, for the servers that tests use: standard library only, no types in the way.

A request runs in a thread of its own, so a tool may ask its client something and wait for the answer. Handlers get
the whole message and give back the result's members, or None where they have answered by themselves.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Handler = Callable[["Speaker", dict[str, Any]], dict[str, Any] | None]

LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
_CACHED = ("server/discover", "resources/read")


class RpcError(Exception):
    """Becomes a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.body: dict[str, Any] = {"code": code, "message": message} | ({} if data is None else {"data": data})


def text(value: str) -> dict[str, Any]:
    """A tool's result of one text."""
    return {"content": [{"type": "text", "text": value}]}


def meta(message: Mapping[str, Any]) -> dict[str, Any]:
    """params._meta of a message."""
    found: dict[str, Any] = message.get("params", {}).get("_meta", {})
    return found


def is_modern(message: Mapping[str, Any]) -> bool:
    """Whether a request is of the stateless era: it says its version itself."""
    return f"{META}protocolVersion" in meta(message)


class Speaker:
    """One stdio session of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        self.client: dict[str, Any] = {}
        self.shaken = False
        self.cancelled: dict[Any, threading.Event] = {}

    def raw(self, data: bytes) -> None:
        """Bytes to stdout, all of them, past every buffer."""
        with self._lock:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(1, rest) :]

    def send(self, **members: Any) -> None:
        """One frame."""
        self.raw(json.dumps({"jsonrpc": "2.0"} | members).encode() + b"\n")

    def notify(self, method: str, **params: Any) -> None:
        """One notification."""
        self.send(method=method, params=params)

    def ask(self, method: str, params: Mapping[str, Any], timeout: float = 30) -> dict[str, Any]:
        """A request to the client; its whole answer. Raises queue.Empty after timeout seconds."""
        request_id = f"s{next(self._ids)}"
        answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._waiting[request_id] = answers
        self.send(id=request_id, method=method, params=params)
        return answers.get(timeout=timeout)

    def serve(self, methods: Mapping[str, Handler]) -> None:
        """Reads stdin until its end; every request in a thread of its own."""
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "method" not in message:
                self._waiting.pop(message["id"], queue.SimpleQueue()).put(message)
            elif "id" in message:
                self.cancelled[message["id"]] = threading.Event()
                threading.Thread(target=self._answer, args=(methods, message), daemon=True).start()
            elif message["method"] == "notifications/cancelled":
                self.cancelled.get(message["params"]["requestId"], threading.Event()).set()
            elif message["method"] in methods:
                methods[message["method"]](self, message)

    def _answer(self, methods: Mapping[str, Handler], message: dict[str, Any]) -> None:
        request_id, method = message["id"], message["method"]
        try:
            if method not in methods:
                raise RpcError(-32601, f"no method {method}")
            result = methods[method](self, message)
        except RpcError as error:
            self.send(id=request_id, error=error.body)
            return
        finally:
            cancelled = self.cancelled.pop(request_id)
        if result is None or cancelled.is_set():
            return
        if is_modern(message):
            cached = method.endswith("/list") or method in _CACHED
            result = {"resultType": "complete"} | result | ({"ttlMs": 0, "cacheScope": "private"} if cached else {})
        self.send(id=request_id, result=result)


def handshakes(name: str, capabilities: Mapping[str, Any], *, modern: bool = True) -> dict[str, Handler]:
    """The handlers of initialize and ping, and of server/discover where the server speaks the modern era too."""
    server = {"name": name, "version": "1"}

    def initialize(speaker: Speaker, message: dict[str, Any]) -> dict[str, Any]:
        speaker.client = message["params"]
        asked = message["params"]["protocolVersion"]
        version = asked if asked in LEGACY else LEGACY[0]
        return {"protocolVersion": version, "capabilities": capabilities, "serverInfo": server}

    def ping(_speaker: Speaker, _message: dict[str, Any]) -> dict[str, Any]:
        return {}

    def discover(_speaker: Speaker, message: dict[str, Any]) -> dict[str, Any]:
        if not is_modern(message):
            raise RpcError(-32602, f"_meta has no {META}protocolVersion")
        return {
            "supportedVersions": [MODERN, *LEGACY],
            "capabilities": capabilities,
            "_meta": {f"{META}serverInfo": server},
        }

    both: dict[str, Handler] = {"initialize": initialize, "ping": ping}
    return both | ({"server/discover": discover} if modern else {})
