"""What a container uses: from its cgroup's files where the daemon is on this machine, else from the daemon.

Read before and after every call, so it has to be cheap: the files are opened once and read again in place, a few
microseconds each, with no thread and no daemon between. cgroup v1 has a hierarchy a controller, v2 one for all.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.engines.base import Usage
from bulkhead.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkhead.engines.docker_client import Client

CGROUP = Path("/sys/fs/cgroup")

# A field of Usage, its file below the controller's folder, the key in it ("" for a lone number), and its unit.
_V1 = (
    ("cpu_seconds", "cpuacct", "cpuacct.usage", "", 1e-9),
    ("throttled_seconds", "cpu", "cpu.stat", "throttled_time", 1e-9),
    ("memory_bytes", "memory", "memory.usage_in_bytes", "", 1),
    ("memory_peak_bytes", "memory", "memory.max_usage_in_bytes", "", 1),
    ("oom_kills", "memory", "memory.oom_control", "oom_kill", 1),
    ("pids", "pids", "pids.current", "", 1),
    ("pids_refused", "pids", "pids.events", "max", 1),
)
_V2 = (
    ("cpu_seconds", "", "cpu.stat", "usage_usec", 1e-6),
    ("throttled_seconds", "", "cpu.stat", "throttled_usec", 1e-6),
    ("memory_bytes", "", "memory.current", "", 1),
    ("memory_peak_bytes", "", "memory.peak", "", 1),
    ("oom_kills", "", "memory.events", "oom_kill", 1),
    ("pids", "", "pids.current", "", 1),
    ("pids_refused", "", "pids.events", "max", 1),
)


class Meter:
    """Reads one container's usage until close(); after its end, what was read last."""

    def __init__(self, client: Client, container: str, pid: int, targets: Sequence[str]) -> None:
        self._client = client
        self._container = container
        self._last = Usage()
        self._files = _open_files(pid, container)
        self._tmpfs = _open_tmpfs(pid, targets) if self._files else {}
        self._closed = False

    async def read(self, *, whole: bool = True) -> Usage:
        if not self._closed:
            with suppress(OSError, EngineError):  # it has ended meanwhile, and its cgroup with it
                self._last = self.read_files(whole=whole) if self._files else await self._ask()
        return self._last

    def read_files(self, *, whole: bool = True) -> Usage:
        values: dict[str, Any] = {name: unit * _number(fd, key) for name, fd, key, unit in self._files}
        tmpfs = self._tmpfs.items() if whole else ()
        return Usage(full=tuple(target for target, fd in tmpfs if _is_full(fd)), **values)

    def new_peak(self) -> None:
        peak = next((fd for name, fd, _, _ in self._files if name == "memory_peak_bytes"), None)
        if peak is not None and not self._closed:
            with suppress(OSError):  # before Linux 6.12, version 2 keeps one peak for the cgroup's whole life
                os.pwrite(peak, b"0", 0)

    async def _ask(self) -> Usage:
        path = f"/containers/{self._container}/stats"
        return _from_stats(await self._client.call("GET", path, stream=False, **{"one-shot": True}))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for fd in {fd for _, fd, _, _ in self._files} | set(self._tmpfs.values()):
            os.close(fd)


def _open_files(pid: int, container: str) -> list[tuple[str, int, bytes, float]]:
    """The rows of the table that can be read here: none where pid is another machine's, or hidden from us."""
    folders = _folders(pid, container)
    files: dict[Path, int] = {}
    rows = []
    for field, controller, name, key, unit in _V1 if "memory" in folders else _V2:
        path = folders[controller] / name if controller in folders else None
        with suppress(OSError):  # memory.peak came with Linux 5.19, pids.events with 4.8
            if path is not None:
                fd = files.setdefault(path, -1)
                files[path] = _open(path) if fd < 0 else fd
                rows.append((field, files[path], key.encode(), unit))
    return rows


def _open(path: Path) -> int:
    """For reading; for writing too where we may, as the peak can be set back by root alone."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _folders(pid: int, container: str) -> dict[str, Path]:
    """A controller's name to the container's folder; the name is empty for version 2."""
    folders: dict[str, Path] = {}
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            # Some runtimes put the processes into a folder below the one that has the limits.
            head, found, tail = path.partition(container)
            if found:
                below = (head + found + tail.partition("/")[0]).lstrip("/")
                folders |= {name: CGROUP / name / below for name in controllers.split(",")}
    return folders


def _open_tmpfs(pid: int, targets: Sequence[str]) -> dict[str, int]:
    """Each file system's target to a handle on it; nothing where we may not look into the container."""
    handles = {}
    for target in targets:
        with suppress(OSError):
            handles[target] = os.open(f"/proc/{pid}/root{target}", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    return handles


def _is_full(fd: int) -> bool:
    system = os.fstatvfs(fd)
    return system.f_bavail == 0 or system.f_favail == 0


def _number(fd: int, key: bytes) -> int:
    """The lone number in a file, or the one after key in a file of ``key number`` lines."""
    text = os.pread(fd, 4096, 0)
    if not key:
        return int(text)
    return next((int(line[len(key) :]) for line in text.split(b"\n") if line.startswith(key + b" ")), 0)


def _from_stats(stats: Mapping[str, Any]) -> Usage:
    """From the daemon's answer, which knows neither kills for memory nor refused forks."""
    cpu, memory = stats.get("cpu_stats") or {}, stats.get("memory_stats") or {}
    used = memory.get("usage", 0)
    return Usage(
        cpu_seconds=(cpu.get("cpu_usage") or {}).get("total_usage", 0) * 1e-9,
        throttled_seconds=(cpu.get("throttling_data") or {}).get("throttled_time", 0) * 1e-9,
        memory_bytes=used,
        memory_peak_bytes=memory.get("max_usage", used),
        pids=(stats.get("pids_stats") or {}).get("current", 0),
    )
