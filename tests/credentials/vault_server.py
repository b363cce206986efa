"""A Vault's HTTP API, as far as a client reads secrets: mounts, KV versions 1 and 2, dynamic secrets, and leases.

Answers are those of Vault 1.15 and OpenBao 2. mood makes it fail in one way: "sealed", "slow", "garbage", "list",
"redirect", "limited", "broken", "uninitialised".
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

MOUNTS: dict[str, dict[str, Any]] = {
    "secret/": {"type": "kv", "options": {"version": "2"}},
    "team/kv/": {"type": "kv", "options": {"version": "2"}},
    "old/": {"type": "kv", "options": {"version": "1"}},
    "database/": {"type": "database", "options": None},
}
MOODS: dict[str, tuple[int, Any]] = {
    "sealed": (503, {"errors": ["Vault is sealed"]}),
    "garbage": (200, "<html>hello</html>"),
    "list": (200, ["data"]),
    "limited": (429, {"errors": ["request path: rate limit quota exceeded"]}),
    "broken": (500, {"errors": ["internal error"]}),
    "uninitialised": (501, {"errors": ["not initialized"]}),
}


class FakeVault:
    """On 127.0.0.1 until close(). stored: path without "data/" -> fields. leases: id -> seconds."""

    def __init__(self, token: str, stored: dict[str, dict[str, Any]]) -> None:
        self.token, self.stored = token, stored
        self.leases: dict[str, int] = {}
        self.given = 0
        self.renewable, self.duration = True, 60
        self.mood, self.redirect = "", ""
        self.asked: list[tuple[str, str, str]] = []  # method, path, namespace
        self.tokens: list[str] = []
        self.released = threading.Event()
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def speak_tls(self, context: ssl.SSLContext) -> None:
        """From now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = self.url.replace("http:", "https:")

    def answer(self, path: str, token: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body of the answer to one request; path begins after /v1/."""
        if self.mood == "slow":
            self.released.wait(30)
        if self.mood in MOODS:
            return MOODS[self.mood]
        if token != self.token:
            return 403, {"errors": ["permission denied"]}
        if path.startswith("sys/leases/"):
            return self._lease(path.removeprefix("sys/leases/"), body)
        mount = self._mount(path.removeprefix("sys/internal/ui/mounts/"))
        if path.startswith("sys/internal/ui/mounts/"):
            return (
                (200, _whole({"path": mount, **MOUNTS[mount]})) if mount else (403, {"errors": ["permission denied"]})
            )
        return self._read(mount, path)

    def _mount(self, path: str) -> str:
        return next((mount for mount in MOUNTS if path.startswith(mount)), "")

    def _read(self, mount: str, path: str) -> tuple[int, Any]:
        if mount == "database/":
            return self._dynamic()
        versioned = (MOUNTS[mount]["options"] or {}) == {"version": "2"}
        below = path.removeprefix(mount)
        if versioned and not below.startswith("data/"):
            return 404, {"errors": [], "warnings": ["Invalid path for a versioned K/V secrets engine."]}
        found = self.stored.get(mount + below.removeprefix("data/") if versioned else path)
        if found is None:
            return 404, {"errors": []}
        return 200, _whole({"data": found, "metadata": {"version": 1}} if versioned else found, duration=2764800)

    def _dynamic(self) -> tuple[int, Any]:
        self.given += 1
        lease = f"database/creds/app/{self.given}"
        self.leases[lease] = self.duration
        fields = self.stored["database/creds/app"]
        return 200, _whole(fields, lease=lease, duration=self.duration, renewable=self.renewable)

    def _lease(self, verb: str, body: dict[str, Any]) -> tuple[int, Any]:
        lease = body.get("lease_id")
        if lease not in self.leases:
            return 400, {"errors": ["lease not found"]} if verb == "renew" else {"errors": ["invalid lease"]}
        if verb == "revoke":
            del self.leases[lease]
            return 202, None
        self.leases[lease] += 60
        return 200, _whole(None, lease=lease, duration=self.duration, renewable=True)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        vault = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                """Not on the tests' stderr."""

            def do_GET(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
                path, token = self.path.removeprefix("/v1/"), self.headers.get("X-Vault-Token", "")
                vault.asked.append((self.command, path, self.headers.get("X-Vault-Namespace", "")))
                vault.tokens.append(token)
                if vault.mood == "redirect":
                    self._send(307, b"", {"Location": vault.redirect + self.path})
                    return
                status, answer = vault.answer(path, token, body)
                text = answer if isinstance(answer, str) else json.dumps(answer)
                self._send(status, b"" if answer is None else text.encode(), {"Content-Type": "application/json"})

            do_PUT = do_POST = do_GET

            def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        return Handler


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not wait, or does not believe the certificate, breaks off."""


def _whole(data: Any, *, lease: str = "", duration: int = 0, renewable: bool = False) -> dict[str, Any]:
    return {
        "request_id": "8c1a7a3b-0000-0000-0000-000000000000",
        "lease_id": lease,
        "renewable": renewable,
        "lease_duration": duration,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }
