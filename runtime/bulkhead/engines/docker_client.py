"""Docker's Engine API over its unix socket, as far as a sandbox's life needs it: JSON in and out, and two raw sockets.

Docker's SDK is used where images are made (docker_api.py), and not here: to import it takes 100 ms of every start and
13 MB of every runner, which is more than all else that a runner imports. docs/design.md has the measure.
Each request has a connection of its own, so calls may overlap. Nothing is taken from the environment: hosts pass no
DOCKER_HOST on, and a proxy has no place between us and the daemon.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from bulkhead.errors import ConflictError, EngineError, GoneError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OLDEST = "1.41"  # Docker 20.10
NEWEST = "1.44"  # what Docker 29 asks for at least
TIMEOUT = 60  # seconds for one answer; a start behind a busy disk takes long

_KINDS = {304: ConflictError, 404: GoneError, 409: ConflictError}
_JSON = {"Content-Type": "application/json"}
_UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}


class Client:
    """One daemon, at the newest version of its API that both sides know. Every method raises EngineError."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._version = ""
        self._asking = threading.Lock()

    def request(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """What the daemon answers, None where it has nothing to say. Blocks; a query's lists and objects become JSON.

        Raises GoneError for what is not there, ConflictError for what is not possible now, EngineError otherwise.
        """
        url = self._url(path, query)
        with self._connection() as connection:
            text = _exchange(connection, method, url, body).read()
        return json.loads(text) if text else None

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """As request(), in a thread, and to its end even if the caller is cancelled meanwhile."""
        from anyio import to_thread  # noqa: PLC0415 - a container is started before there is an event loop

        return await to_thread.run_sync(lambda: self.request(method, path, body, **query))

    def raw(self, path: str, *, body: Any = None, upgrade: bool = False, **query: Any) -> socket.socket:
        """The socket under a POST whose answer's head has come, and is ours to close: its body is still to come."""
        url = self._url(path, query)
        with self._connection() as connection:
            _exchange(connection, "POST", url, body, headers=_UPGRADE if upgrade else {}).close()
            return connection.unix.dup()

    def version(self) -> str:
        """What the daemon and we both speak. Asked once."""
        with self._asking:
            if not self._version:
                with self._connection() as connection:
                    newest = _exchange(connection, "GET", "/_ping").headers.get("Api-Version", "0")
                self._version = _common(newest)
        return self._version

    @contextmanager
    def _connection(self) -> Iterator[_Connection]:
        try:
            with closing(_Connection(self.endpoint.removeprefix("unix://"))) as connection:
                yield connection
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(
                "the container engine does not answer",
                why=f"{self.endpoint}: {error}",
                hint="bulkhead engine says what is there, and installs one",
            ) from error

    def _url(self, path: str, query: dict[str, Any]) -> str:
        words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()}
        return f"/v{self.version()}{quote(path, safe='/:@')}?{urlencode(words)}"


class _Connection(http.client.HTTPConnection):
    """Keeps the socket itself too: http.client lets go of it where an answer ends with the connection."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self.unix = socket.socket(socket.AF_UNIX)
        self._path = path

    def connect(self) -> None:
        self.unix.settimeout(TIMEOUT)
        self.unix.connect(self._path)
        self.sock = self.unix

    def close(self) -> None:
        super().close()
        self.unix.close()


def _exchange(
    connection: _Connection, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> http.client.HTTPResponse:
    """The answer, its body unread. Raises EngineError for a refusal."""
    content = None if body is None else json.dumps(body).encode()
    connection.request(method, url, content, {**(headers or {}), **(_JSON if content else {})})
    answer = connection.getresponse()
    if 200 <= answer.status < 300 or answer.status == http.client.SWITCHING_PROTOCOLS:
        return answer
    raise _KINDS.get(answer.status, EngineError)("the container engine refused", why=_message(answer.read()))


def _common(newest: str) -> str:
    if _number(newest) < _number(OLDEST):
        raise EngineError(
            "the container engine is too old",
            why=f"it speaks version {newest} of Docker's API",
            hint="Docker 20.10 or later",
        )
    return min(newest, NEWEST, key=_number)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.decode(errors="replace")[:500]
