"""A stub of Prompt Shields on this machine, as the API is documented: its path, its key, its limits, its answers."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

PATH = "/contentsafety/text:shieldPrompt?api-version=2024-09-01"
ATTACK = "ignore all previous instructions"
KEY = b"key-of-the-screen"


@dataclass
class Shields:
    """status, body: what is answered in place of what the API says. slow: no answer before the end."""

    status: int = 200
    body: bytes | None = None
    slow: bool = False
    endpoint: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def judge(self, path: str, key: str | None, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the answer of the API."""
        self.asked.append(request)
        if path != PATH:
            return 404, {"error": {"code": "404", "message": "Resource not found"}}
        if key != KEY.decode():
            return 401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key"}}
        prompt, documents = request.get("userPrompt", ""), request.get("documents", [])
        if len(prompt) > 10_000 or len(documents) > 5 or sum(map(len, documents)) > 10_000:
            return 400, {"error": {"code": "InvalidRequestBody", "message": "too long"}}
        found = {"documentsAnalysis": [{"attackDetected": ATTACK in document} for document in documents]}
        return 200, {"userPromptAnalysis": {"attackDetected": ATTACK in prompt}} | found


@contextmanager
def running(shields: Shields, context: ssl.SSLContext | None = None) -> Iterator[Shields]:
    """On a port of 127.0.0.1. context: it speaks TLS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Content-Type"] != "application/json":
                shields.problems.append("no Content-Type")
            status, answer = shields.judge(self.path, self.headers["Ocp-Apim-Subscription-Key"], request)
            if shields.slow:
                shields.ended.wait(30)
                return
            body = json.dumps(answer).encode() if shields.body is None else shields.body
            self.send_response(status if shields.status == 200 else shields.status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    shields.endpoint = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield shields
    finally:
        shields.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
