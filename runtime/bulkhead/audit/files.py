"""The files of an audit folder, and how they are read: the log, those that were rotated, and the head.

`log.jsonl` is written, `log-000001.jsonl` and so on are full. `head` has one line of a fixed length that names the last
record, so that a log which was cut is seen; `lock` is held for each append.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from bulkhead.audit.record import Link, Sealed, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bulkhead.audit.signing import Keys

LOG, HEAD, LOCK, NEW = "log.jsonl", "head", "lock", "log.new"
HEAD_LENGTH = 140
_HEAD = re.compile(rb"(([0-9]{20}) ([0-9a-f]{64}) ([0-9]{20})) ([0-9a-f]{32})\n")
_ROTATED = re.compile(r"log-([0-9]{6})\.jsonl")
_CHUNK = 16 * 2**10


class Head(NamedTuple):
    """The last record, and the number of the last checkpoint; 0 for none."""

    last: Link
    checkpoint: int

    def line(self, mac: Callable[[str], str]) -> bytes:
        """As it stands in the file."""
        text = f"{self.last.seq:020} {self.last.hash} {self.checkpoint:020}"
        return f"{text} {mac(text)}\n".encode("ascii")


def read_head(data: bytes, keys: Keys | None) -> Head | None:
    """None for what is no head, or not sealed with these keys; None for keys: whatever its seal is."""
    match = _HEAD.fullmatch(data)
    if match is None or (keys and keys.head_mac(match[1].decode("ascii")) != match[5].decode("ascii")):
        return None
    return Head(Link(int(match[2]), match[3].decode("ascii")), int(match[4]))


class Tail(NamedTuple):
    """The end of a file: its last whole record, None where there is none, and what stands behind that."""

    last: Sealed | None
    junk: bytes


def read_tail(fd: int, size: int) -> Tail:
    """The tail of the first size bytes. Raises OSError."""
    length = _CHUNK
    while True:
        start = max(0, size - length)
        data = os.pread(fd, size - start, start)
        end = data.rfind(b"\n") + 1
        while end:
            begin = data.rfind(b"\n", 0, end - 1) + 1
            if begin == 0 and start:
                break  # it may begin before what was read
            sealed = split(data[begin:end])
            if sealed is not None and sealed.is_whole:
                return Tail(sealed, data[end:])
            end = begin
        if not start:
            return Tail(None, data)
        length *= 4


def rotated_files(folder: Path) -> list[Path]:
    """Those that are full, oldest first."""
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _ROTATED.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def rotated_name(number: int) -> str:
    """The name of the file that was full as the number-th."""
    return f"log-{number:06}.jsonl"


def log_files(folder: Path) -> list[Path]:
    """All that are there, oldest first. A file that is about to be rotated has two names, and is given once."""
    paths: dict[int, Path] = {}
    for path in (*rotated_files(folder), folder / LOG):
        with suppress(FileNotFoundError):
            paths[path.stat().st_ino] = path
    return list(paths.values())


def lines_of(folder: Path) -> Iterator[bytes]:
    """All whole lines of all files, oldest first, with their newlines. Raises OSError."""
    with ExitStack() as opened:
        for file in [opened.enter_context(path.open("rb")) for path in log_files(folder)]:
            yield from (line for line in file if line.endswith(b"\n"))


def sync_folder(folder: Path) -> None:
    """Names of files last, too. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
