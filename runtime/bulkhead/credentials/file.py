"""file:PATH - a file that only its owner can read; one newline at its end is no part of the value.

Rules: what is read is what was judged, the open file and not its name. It must be a regular file of the user who runs
bulkhead, or of root, and closed to everybody else. In a folder where others may write they could put another file in
its place, so there is none between, sticky ones like /tmp excepted.
"""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

from bulkhead.credentials.base import MOST, TIMEOUT, Fetched, checked, place, unavailable, within, without_newline

# A FIFO or a terminal neither makes it wait nor becomes its own.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class FileProvider:
    """See base.Provider. timeout: seconds; a file on a network may hang."""

    source: str
    timeout: float = TIMEOUT

    def fetch(self) -> Fetched:
        data = within(self.timeout, self._read, self.source)
        return Fetched(checked(without_newline(data), self.source))

    def _read(self) -> bytes:
        try:
            path = Path(place(self.source)).expanduser()
            descriptor = os.open(path, _FLAGS)
        except (OSError, RuntimeError) as error:
            raise self._unreadable(error) from None
        try:
            self._judge(path, descriptor)
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(MOST + 3)  # of the longest value and its newline, and one more
        except OSError as error:
            raise self._unreadable(error) from None
        finally:
            os.close(descriptor)

    def _judge(self, path: Path, descriptor: int) -> None:
        status, written = os.fstat(descriptor), shlex.quote(str(path))
        if not stat.S_ISREG(status.st_mode):
            raise unavailable(self.source, "it is no regular file", "name the file that has the value")
        if status.st_uid not in (0, os.geteuid()):
            raise unavailable(self.source, "the file belongs to another user", f"chown $USER {written}")
        if status.st_mode & 0o077:
            raise unavailable(self.source, "the file is open to other users", f"chmod 600 {written}")
        # The folder of the name, and that of the file to which a link leads.
        for folder in {path.parent, Path(f"/proc/self/fd/{descriptor}").readlink().parent}:
            mode = folder.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                why = f"other users may write in its folder {folder}, and so replace it"
                raise unavailable(self.source, why, f"chmod o-w {shlex.quote(str(folder))}")

    def _unreadable(self, error: OSError | RuntimeError) -> Exception:
        """RuntimeError: there is no home for ~."""
        why = error.strerror if isinstance(error, OSError) else "there is no home folder"
        return unavailable(self.source, f"it cannot be read: {why}", "create it, readable for its owner alone")
