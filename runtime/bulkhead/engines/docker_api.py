"""Docker's SDK behind one call, where images are made: in a thread, with its errors as ours.

It streams archives and follows a daemon's progress, which takes more than docker_client.py has; and it is imported at
the first call, because a runner whose image is there does without it. Its clients are Any here, since half of the SDK
has no types. Never ``docker.from_env``: what it reads is nobody's decision here.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from bulkhead.engines.docker_client import TIMEOUT
from bulkhead.errors import ConflictError, EngineError, GoneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkhead.engines.docker_client import Client

T = TypeVar("T")


class Api:
    """The daemon of a Client. Its calls may overlap: each takes a connection of its own."""

    def __init__(self, client: Client) -> None:
        self._daemon = client
        self._client: Any = None
        self._connecting = threading.Lock()

    async def call(self, function: Callable[[Any], T]) -> T:
        """function's result, run in a thread to its end even if the caller is cancelled meanwhile."""
        from anyio import to_thread  # noqa: PLC0415 - a runner imports this before there is an event loop

        return await to_thread.run_sync(self._blocking, function)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _blocking(self, function: Callable[[Any], T]) -> T:
        import docker.errors  # noqa: PLC0415
        import requests  # noqa: PLC0415

        try:
            return function(self._connected())
        except docker.errors.APIError as error:
            raise _refused(error) from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            why = f"{self._daemon.endpoint}: {error}"
            raise EngineError("the container engine does not answer", why=why) from error

    def _connected(self) -> Any:
        from docker.api.client import APIClient  # noqa: PLC0415

        with self._connecting:
            if self._client is None:
                made = APIClient(self._daemon.endpoint, version=self._daemon.version(), timeout=TIMEOUT)
                made.trust_env = False  # no proxy and no .netrc of the environment between us and the daemon
                self._client = made
            return self._client


def _refused(error: Exception) -> EngineError:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    kind = {404: GoneError, 409: ConflictError}.get(status, EngineError)
    return kind("the container engine refused", why=str(getattr(error, "explanation", "") or error))
