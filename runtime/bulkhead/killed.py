"""The kill switch: killed/NAME.json in the state folder stops one server, killed/ALL.json all, until it is released.

Rules: a mark is on the disk, and whole, before anybody is told of it. A runner asks for it before each start and at
each request, so it holds where nobody was told; SIGUSR2 tells the runners that have a sandbox. What is there and cannot
be read stops its server all the same.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bulkhead.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any

    from anyio import CancelScope
    from anyio.abc import TaskStatus

ALL = "ALL"  # no server's name: those are in small letters
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)
SIGNAL = signal.SIGUSR2
_SETTLED = 10**9  # nanoseconds


@dataclass(frozen=True, slots=True)
class Mark:
    """Who killed a server, or ALL, when (Unix seconds), and why."""

    server: str
    reason: str
    actor: str
    time: float


def mark(state: Path, name: str, reason: str, actor: str) -> None:
    """From now on name is killed. Raises OSError where it cannot be written."""
    folder = state / "killed"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / f"{name}.{os.getpid()}"
    try:
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(Mark(name, reason, actor, time.time())), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / f"{name}.json")
        _sync(folder)
    finally:
        new.unlink(missing_ok=True)


def released(state: Path, name: str) -> bool:
    """From now on name is not killed; whether it was."""
    try:
        (state / "killed" / f"{name}.json").unlink()
    except FileNotFoundError:
        return False
    _sync(state / "killed")
    return True


def marked(state: Path) -> list[str]:
    """What is killed: names, and ALL."""
    return sorted(path.stem for path in (state / "killed").glob("*.json"))


def refusal(state: Path, name: str) -> DeniedError | None:
    """Why nothing of the server name may run now, None where it may. Costs a few microseconds."""
    for server in (name, ALL):
        try:
            # Not Path.read_bytes(): this is asked at every request.
            file = os.open(f"{state}/killed/{server}.json", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            return _refused(server, f"its mark cannot be read: {error.strerror}")
        with open(file, "rb") as mark:  # noqa: PTH123 - a descriptor
            return _refused(server, _told(mark.read()))
    return None


class Watch:
    """Asks for one server as often as it is wanted: one stat() while nothing changed."""

    def __init__(self, state: Path, name: str) -> None:
        self._state, self._name = state, name
        self._folder = f"{state}/killed"
        self._changed = 0
        self._last: DeniedError | None = None

    def refusal(self) -> DeniedError | None:
        """As refusal()."""
        try:
            changed = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - see refusal()
        except FileNotFoundError:
            return None
        # The kernel's clock of files is coarse: what changed just now may change again at the same time.
        if changed != self._changed or time.time_ns() - changed < _SETTLED:
            self._last, self._changed = refusal(self._state, self._name), changed
        return self._last


def require_alive(state: Path, name: str) -> None:
    """Raises DeniedError with the reason "killed" for a server that is killed."""
    if (error := refusal(state, name)) is not None:
        raise error


async def listen(
    state: Path,
    name: str,
    kill: Callable[[DeniedError], Coroutine[Any, Any, None]],
    listening: CancelScope,
    *,
    task_status: TaskStatus[None],
) -> None:
    """Calls kill with the refusal, each time that a signal says that there is a new mark, until listening ends."""
    import anyio  # noqa: PLC0415 - the mark is asked for before there is an event loop

    try:
        with listening, anyio.open_signal_receiver(SIGNAL) as signals:
            async with anyio.create_task_group() as tasks:
                task_status.started()
                async for _ in signals:
                    if (error := refusal(state, name)) is not None:
                        tasks.start_soon(kill, error)  # not awaited: an engine that hangs must not make it deaf
    finally:
        # One that comes late must not end the runner, which has a sandbox to remove.
        signal.signal(SIGNAL, signal.SIG_IGN)


def _told(text: bytes) -> str:
    try:
        found = Mark(**json.loads(text))
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.time))
    except (ValueError, TypeError, OverflowError):
        return "its mark cannot be read"
    return f"{found.actor}, {when}: {found.reason}"


def _refused(server: str, why: str) -> DeniedError:
    what, which = ("every server is killed", "--all") if server == ALL else (f"{server} is killed", server)
    return DeniedError(what, why=why, hint=f"it stays stopped until `bulkhead release {which}`", reason="killed")


def _sync(folder: Path) -> None:
    """A name in a folder is on the disk once the folder is."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
