"""What a server writes to stderr: kept in a bounded log file and, its last lines, for error messages.

It is untrusted text, so control characters are shown and not sent to a terminal, and a flood of it costs nothing but
its own oldest lines. It never reaches the host.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Control characters but tab and newline; zero width, direction and line separators; Unicode's tags.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
_MAX_FILE = 2**20
_MAX_LINE = 2000
_LAST = 20


def printable(text: str) -> str:
    """Text with its control and direction characters made visible as escapes."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class ServerLog:
    """The stderr of one server, at most 1 MiB and one older file of the same size on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: deque[str] = deque(maxlen=_LAST)
        self._partial = b""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, data: bytes) -> None:
        """Adds what was read; a disk that is full loses the log and nothing else."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._partial = self._partial[-_MAX_LINE:]
        texts = [printable(line[:_MAX_LINE].decode("utf-8", "replace")) for line in lines]
        self._lines.extend(text for text in texts if text.strip())
        try:
            self._append("".join(f"{text}\n" for text in texts).encode("utf-8")[-_MAX_FILE:])
        except OSError:
            return

    def _append(self, data: bytes) -> None:
        if self._path.exists() and self._path.stat().st_size + len(data) > _MAX_FILE:
            self._path.replace(self._path.with_suffix(".log.1"))
        self._path.touch(mode=0o600)
        with self._path.open("ab") as file:
            file.write(data)

    def last(self, count: int) -> list[str]:
        """The last lines that are not empty, oldest first."""
        rest = printable(self._partial.decode("utf-8", "replace"))
        return [*self._lines, *([rest] if rest.strip() else [])][-count:]
