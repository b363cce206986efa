"""An Azure Key Vault over TLS, and the token endpoint of a machine's identity, as App Service has it.

The vault answers the first request with the challenge that names its authority and resource, as the real one does.
mood makes it fail in one way: "forbidden", "limited", "slow", "drip", "garbage", "stranger".
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

VAULT = "team"
DOMAIN = "vault.test"
MOODS: dict[str, tuple[int, Any]] = {
    "forbidden": (403, {"error": {"code": "Forbidden", "message": "no", "innererror": {"code": "ForbiddenByPolicy"}}}),
    "limited": (429, {"error": {"code": "Throttled", "message": "too many"}}),
    "garbage": (200, "<html>hello</html>"),
    "stranger": (401, {"error": {"code": "Unauthorized", "message": "no"}}),
}


class FakeAzure:
    """On 127.0.0.1 until close(). stored: name -> version -> value; the last version is the newest."""

    def __init__(self, context: ssl.SSLContext, token: str, stored: dict[str, dict[str, str]]) -> None:
        self.token, self.stored, self.mood = token, stored, ""
        self.asked: list[str] = []
        self.released = threading.Event()
        self._vault = self._serve(self._vault_handler(), context)
        self._identity = self._serve(self._identity_handler(), None)
        self.authority = f"{DOMAIN}:{self._vault.server_port}"
        self.address = f"https://{{vault}}.{self.authority}"
        self.identity = f"http://127.0.0.1:{self._identity.server_port}/msi/token"

    def environment(self, authority: Path) -> dict[str, str]:
        """The variables that lead the library here, with the authority that it has to believe."""
        return {
            "AZURE_KEYVAULT_URL": self.address,
            "IDENTITY_ENDPOINT": self.identity,
            "IDENTITY_HEADER": "header",
            "REQUESTS_CA_BUNDLE": str(authority),
        }

    def close(self) -> None:
        self.released.set()
        for server in (self._vault, self._identity):
            server.shutdown()
            server.server_close()

    def answer(self, path: str, authorization: str) -> tuple[int, Any]:
        if self.mood == "slow":
            self.released.wait(30)
        if self.mood in MOODS:
            return MOODS[self.mood]
        if authorization != f"Bearer {self.token}":
            return 401, {"error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer token."}}
        name, version = (*path.removeprefix("/secrets/").strip("/").split("/"), "")[:2]
        versions = self.stored.get(name, {})
        version = version or next(reversed(versions), "")
        if version not in versions:
            return 404, {"error": {"code": "SecretNotFound", "message": "A secret was not found."}}
        place = f"https://{VAULT}.{self.authority}/secrets/{name}/{version}"
        return 200, {"value": versions[version], "id": place, "attributes": {"enabled": True}}

    def _serve(self, handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None) -> ThreadingHTTPServer:
        server = _Quiet(("127.0.0.1", 0), handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def _vault_handler(self) -> type[BaseHTTPRequestHandler]:
        azure = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                azure.asked.append(self.path)
                status, answer = azure.answer(path, self.headers.get("Authorization", ""))
                if not query.startswith("api-version="):
                    status, answer = 400, {"error": {"code": "BadParameter", "message": "api-version"}}
                headers = {}
                if status == 401:
                    challenge = (
                        f'Bearer authorization="https://login.test/tenant", resource="https://{azure.authority}"'
                    )
                    headers = {"WWW-Authenticate": challenge}
                if azure.mood == "drip":
                    self.drip(azure.released)
                else:
                    self.answer(status, answer, headers)

        return Handler

    def _identity_handler(self) -> type[BaseHTTPRequestHandler]:
        azure = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                known = self.headers.get("X-IDENTITY-HEADER") == "header" and "resource=" in self.path
                token = {"access_token": azure.token, "expires_on": "9999999999", "token_type": "Bearer"}
                self.answer(*((200, token) if known else (400, {"error": "unknown"})), {})

        return Handler


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not believe the certificate breaks off."""


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Not on the tests' stderr."""

    def drip(self, released: threading.Event) -> None:
        """A byte is always there soon, and the end never."""
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
        while not released.wait(0.05):
            self.wfile.write(b"a")

    def answer(self, status: int, body: Any, headers: dict[str, str]) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
