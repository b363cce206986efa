"""The processes of containers, found in /proc: so they can be ended while the engine does not answer.

Who is in which cgroup is everybody's to read, and a container's cgroup has its id for a name. To end a process of
another user takes root. Of an engine on another machine nothing is found here.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_PAUSE = 0.02
_OVER = frozenset("ZX")  # states of a process that runs no more, and waits for its parent


def processes_of(containers: Collection[str]) -> list[int]:
    """Their process ids."""
    if not containers:
        return []
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal() and _runs_in(path, containers)]


def end_processes(containers: Collection[str], seconds: float) -> list[int]:
    """SIGKILL to all of them, and again, for they may fork; those that are left after so many seconds."""
    deadline = time.monotonic() + seconds
    while left := processes_of(containers):
        for pid in left:
            _end(pid, containers)
        if time.monotonic() > deadline:
            break
        time.sleep(_PAUSE)
    return left


def _runs_in(process: Path, containers: Collection[str]) -> bool:
    try:
        cgroups = (process / "cgroup").read_text()
        if not any(container in cgroups for container in containers):
            return False
        return (process / "stat").read_text().rpartition(")")[2].split()[0] not in _OVER
    except (OSError, IndexError):  # it has ended meanwhile
        return False


def _end(pid: int, containers: Collection[str]) -> None:
    """Through a handle, looked at once more: the number may be another process's by now."""
    with suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if _runs_in(Path(f"/proc/{pid}"), containers):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
