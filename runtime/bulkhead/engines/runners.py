"""Who is alive: each runner holds a lock in the state folder for its life. A lock that can be taken is a dead one's.

The kernel lets a lock go with its process, however that ended, and over a restart of the machine. The state folder has
an id of its own, so that two users of one daemon, or two machines, do not take each other's sandboxes for theirs. Both
ids are labels of every container.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STATE, RUNNER, SERVER, SANDBOX = "bulkhead.state", "bulkhead.runner", "bulkhead.server", "bulkhead.sandbox"
GATE = "bulkhead.gate"


@dataclass(frozen=True, slots=True)
class Runner:
    """A held lock. It is let go with the process, or by release()."""

    id: str
    path: Path
    fd: int

    def release(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.fd)


def state_id(state: Path) -> str:
    """The state folder's own id, made at the first use: 16 hexadecimal digits."""
    path = state / "id"
    while True:
        with suppress(FileNotFoundError):
            return path.read_text().strip()
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = state / f"id.{os.urandom(8).hex()}"
        new.write_text(os.urandom(8).hex())
        with suppress(FileExistsError):  # another runner's is as good
            path.hardlink_to(new)
        new.unlink()


def hold(state: Path) -> Runner:
    """A new runner, alive until the process ends."""
    folder = _folder(state)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        runner = os.urandom(6).hex()
        fd = os.open(folder / runner, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Between the two lines another runner may take the new file for a dead one's: then it is locked, or gone.
        if _locked(fd) and (folder / runner).exists():
            return Runner(runner, folder / runner, fd)
        os.close(fd)


def note(state: Path, runner: str, endpoint: str) -> None:
    """Writes into runner's lock where its containers are, for the one who has to remove them."""
    (_folder(state) / runner).write_text(endpoint)


def endpoint_of(lock: bytes) -> str:
    """What note() wrote; "" before that."""
    return lock.decode()


def known(state: Path) -> set[str]:
    """The runners that have a lock, alive or dead."""
    return {path.name for path in _folder(state).glob("*")}


def is_dead(state: Path, runner: str) -> bool:
    """Whether nobody holds runner's lock."""
    try:
        fd = os.open(_folder(state) / runner, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, IsADirectoryError):
        return True
    try:
        return _locked(fd)
    finally:
        os.close(fd)


def forget(state: Path, runner: str) -> None:
    """Removes a dead runner's lock."""
    (_folder(state) / runner).unlink(missing_ok=True)


def _folder(state: Path) -> Path:
    return state / "runners"


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
