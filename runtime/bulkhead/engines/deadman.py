"""Removes a runner's containers when the runner is killed: a small process that waits for its end.

SIGKILL leaves a process no last word, and a container is the daemon's child and not its own. So the runner forks this
one early, while it is still small and has no threads. It holds nothing but one end of a pipe and the endpoint that the
engine notes in the runner's lock file, and wakes when the pipe breaks. A byte before that says that all is well.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.engines.runners import RUNNER, STATE, endpoint_of, state_id
from bulkhead.errors import EngineError

if TYPE_CHECKING:
    from bulkhead.engines.docker_client import Client
    from bulkhead.engines.runners import Runner

# Seconds to look for containers: one that the daemon was asked for just before may appear late, and the daemon may be
# busy. After the end nothing of the runner may be left for longer than 10 s.
LOOK = 6.0
GIVE_UP = 30.0
PAUSE = 0.25
PIPE = 3
COMM = "bulkhead-watch"  # the kernel keeps 15 characters
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Watcher:
    """The runner's end of the pipe, and the process at the other."""

    pid: int
    pipe: int

    def dismiss(self) -> None:
        """Ends the watcher, because the runner has removed everything itself."""
        with suppress(BrokenPipeError):
            os.write(self.pipe, b"\0")
        os.close(self.pipe)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def watch(runner: Runner) -> Watcher:
    """Forks the watcher. To be called before there are threads or an event loop."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _watch(runner, reading)
        finally:
            os._exit(0)  # nothing of the runner's own clean-up may run here
    os.close(reading)
    return Watcher(pid, writing)


def _watch(runner: Runner, pipe: int) -> None:
    _leave(pipe)
    with runner.path.open("rb", buffering=0) as lock_file:  # opened anew: it must not hold the runner's lock
        if os.read(PIPE, 1):
            return
        endpoint = endpoint_of(lock_file.read())
    if endpoint:
        _clean(endpoint, {STATE: state_id(runner.path.parent.parent), RUNNER: runner.id})


def _leave(pipe: int) -> None:
    """Out of the runner's session, signals and files: a terminal or a host that ends the group must not end this."""
    os.setsid()
    for ignored in _IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    Path("/proc/self/comm").write_text(COMM)
    os.dup2(pipe, PIPE)
    os.closerange(PIPE + 1, os.sysconf("SC_OPEN_MAX"))
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(PIPE):
        os.dup2(null, number)
    os.close(null)


def _clean(endpoint: str, labels: dict[str, str]) -> None:
    """Until LOOK seconds have passed and a look finds nothing, whatever the daemon answers meanwhile."""
    from bulkhead.engines.docker_client import Client  # noqa: PLC0415 - a watcher that is never needed stays small

    client = Client(endpoint)
    filters = {"label": [f"{name}={value}" for name, value in labels.items()]}
    begun, left = time.monotonic(), True
    while time.monotonic() < begun + (GIVE_UP if left else LOOK):
        left = True
        with suppress(EngineError):
            left = _remove_all(client, filters)
        time.sleep(PAUSE)


def _remove_all(client: Client, filters: dict[str, list[str]]) -> bool:
    """Whether there was any."""
    found = client.request("GET", "/containers/json", all=True, filters=filters)
    for container in found:
        with suppress(EngineError):  # one that is being removed already must not keep the next one alive
            client.request("DELETE", f"/containers/{container['Id']}", force=True, v=True)
    return bool(found)
