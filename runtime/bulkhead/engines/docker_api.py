"""Docker's SDK behind one call: in a thread, with its errors as ours, at a version that the daemon speaks.

The SDK is imported at the first call, in the thread: it takes longer than all else that ``bulkhead run`` imports.
Its clients are Any here, since half of the SDK has no types.
Never ``docker.from_env``: hosts pass no DOCKER_HOST on, and what it reads beside that is nobody's decision here.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread

from bulkhead.errors import ConflictError, EngineError, GoneError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

OLDEST = "1.41"  # Docker 20.10
NEWEST = "1.44"  # what Docker 29 asks for at least
TIMEOUT = 60  # seconds for one answer; a start behind a busy disk takes long


class Api:
    """One daemon. Its calls may overlap: each takes a connection of its own."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._client: Any = None
        self._connecting = threading.Lock()

    async def call(self, function: Callable[[Any], T]) -> T:
        """function's result, run in a thread to its end even if the caller is cancelled meanwhile."""
        return await anyio.to_thread.run_sync(self.blocking, function)

    def blocking(self, function: Callable[[Any], T]) -> T:
        """As call(), in this thread."""
        import docker.errors  # noqa: PLC0415
        import requests  # noqa: PLC0415

        try:
            return function(self._connected())
        except docker.errors.APIError as error:
            raise _refused(error) from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise _unreachable(self.endpoint, error) from error

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> Any:
        with self._connecting:
            if self._client is None:
                self._client = connect(self.endpoint)
            return self._client


def connect(endpoint: str) -> Any:
    """A client at the newest version that both sides know, from OLDEST to NEWEST."""
    from docker.api.client import APIClient  # noqa: PLC0415

    def client(version: str) -> Any:
        made = APIClient(endpoint, version=version, timeout=TIMEOUT)
        made.trust_env = False  # no proxy and no .netrc of the environment between us and the daemon
        return made

    first = client(OLDEST)
    spoken = first.get(f"{first.base_url}/_ping", timeout=TIMEOUT).headers.get("Api-Version", "0")
    if _number(spoken) < _number(OLDEST):
        raise EngineError(
            "the container engine is too old",
            why=f"it speaks version {spoken} of Docker's API",
            hint="Docker 20.10 or later",
        )
    return first if spoken == OLDEST else client(min(spoken, NEWEST, key=_number))


def remove_container(client: Any, container: str) -> None:
    """Kills it, if it runs, and leaves nothing of it, volumes included."""
    client.remove_container(container, force=True, v=True)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _refused(error: Exception) -> EngineError:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    kind = {404: GoneError, 409: ConflictError, 304: ConflictError}.get(status, EngineError)
    return kind("the container engine refused", why=str(getattr(error, "explanation", "") or error))


def _unreachable(endpoint: str, error: Exception) -> EngineError:
    return EngineError(
        "the container engine does not answer",
        why=f"{endpoint}: {error}",
        hint="bulkhead engine says what is there, and installs one",
    )
