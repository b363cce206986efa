"""Which engine, and at which endpoint: the explicit one, else the first of a table that answers.

Hosts pass few environment variables on, so the table holds the usual places. An endpoint that was asked for by name is
never exchanged for another one: if it does not answer, that is an error.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.engines.docker import DockerEngine
from bulkhead.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkhead.engines.base import Engine

# In the order in which they are tried; {runtime} is the user's runtime folder, {home} the home folder.
PLACES = (
    "/var/run/docker.sock",
    "{runtime}/docker.sock",
    "{home}/.docker/run/docker.sock",
    "{home}/.docker/desktop/docker.sock",
)
_UNIX = "unix://"
_HINT = "install docker.io (as root: bulkhead engine --install), or start the service of the one that is there"


def open_engine(setting: str = "auto", *, state: Path, runner: str = "") -> Engine:
    """The engine that setting names: "auto", "docker", or an endpoint such as "unix:///srv/docker.sock".

    Raises EngineError when there is none that answers, with what was tried.
    """
    return DockerEngine(find_endpoint(setting), state=state, runner=runner)


def find_endpoint(setting: str = "auto") -> str:
    """The endpoint alone; see open_engine()."""
    refuse_missing(setting)
    asked = os.environ.get("DOCKER_HOST", "") if setting in ("auto", "docker") else setting
    if asked:
        return _checked(asked)
    tried = {}
    for path in _places():
        tried[path] = _silence(path)
        if not tried[path]:
            return _UNIX + path
    reasons = "; ".join(f"{path}: {why}" for path, why in tried.items())
    raise EngineError("no container engine answers", why=reasons, hint=_HINT)


def refuse_missing(setting: str) -> None:
    """Raises EngineError for an engine that this version has not, whoever asks for it: a profile, or the settings."""
    if setting in ("oci", "kubernetes"):
        raise EngineError(
            f"the engine {setting!r} is not part of this version", hint='set engine to "auto" or "docker"'
        )


def _checked(endpoint: str) -> str:
    if not endpoint.startswith(_UNIX):
        raise EngineError(
            f"the engine at {endpoint} is not used",
            why="only unix sockets are: the attach stream over TLS or ssh is not part of this version",
            hint="unset DOCKER_HOST, or forward the engine's socket to a local one with ssh -L",
        )
    why = _silence(endpoint.removeprefix(_UNIX))
    if why:
        raise EngineError("the container engine does not answer", why=f"{endpoint}: {why}", hint=_HINT)
    return endpoint


def _places() -> Iterator[str]:
    runtimes = dict.fromkeys((os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{os.getuid()}"))
    for place in PLACES:
        for runtime in runtimes if "{runtime}" in place else ("",):
            if runtime or "{runtime}" not in place:
                yield place.format(runtime=runtime, home=Path.home())


def _silence(path: str) -> str:
    """Why nobody answers at path; "" if somebody does."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        try:
            sock.connect(path)
        except OSError as error:
            return error.strerror or str(error)
    return ""
