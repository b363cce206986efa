"""Spans as lines of JSON in the state folder: written by every runner of the user at once, read by `bulkhead trace`.

Rules: a line is one span, in the shape of SpanLine; keys are added and never change. A batch of lines is one write to a
file opened with O_APPEND, so that runners do not mix their lines. A file that is full is renamed under a lock, and the
oldest is removed. Readers skip what is no line: a full disk can tear one.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_NAME = "spans.jsonl"
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class SpanLine:
    """One span. Times are Unix nanoseconds, ids lower-case hexadecimal; parent_id is "" where there is none.

    kind: SERVER or CLIENT. status: UNSET, OK or ERROR. events: objects with name, time and attributes. links: other
    spans, as "TRACE_ID-SPAN_ID".
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start: int
    end: int
    status: str
    attributes: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    resource: Mapping[str, Any]
    links: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Raises TypeError for a line that another program wrote, or that was torn and still is JSON."""
        texts = (self.trace_id, self.span_id, self.parent_id, self.name, self.kind, self.status, *self.links)
        objects = (self.attributes, self.resource, *self.events)
        if not (
            all(type(text) is str for text in texts)
            and type(self.start) is type(self.end) is int
            and all(type(value) is dict for value in objects)
        ):
            raise TypeError("not a span")


class TraceFile:
    """The files of one folder. At most keep + 1 of about max_bytes each."""

    def __init__(self, folder: Path, *, max_bytes: int, keep: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._keep = keep
        self._torn = False

    def append(self, lines: Sequence[bytes]) -> None:
        """Each line ends with a newline. Raises OSError where they are not all on the disk, or it cannot rotate."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = b"\n" * self._torn + b"".join(lines)
        file = os.open(self._folder / _NAME, _FLAGS, 0o600)
        try:
            self._torn = True
            if os.write(file, data) < len(data):
                raise OSError("the disk is full")
            self._torn = False
            full = os.fstat(file).st_size >= self._max_bytes
        finally:
            os.close(file)
        if full:
            self._rotate()

    def _rotate(self) -> None:
        """Nothing where another runner is at it, or was: it does the same."""
        lock = os.open(self._folder / "lock", _FLAGS, 0o600)
        try:
            with suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (self._folder / _NAME).stat().st_size >= self._max_bytes:
                    self._shift()
        finally:
            os.close(lock)

    def _shift(self) -> None:
        names = [_NAME, *(f"spans.{number}.jsonl" for number in range(1, self._keep + 1))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            with suppress(FileNotFoundError):
                (self._folder / newer).replace(self._folder / older)
        if not self._keep:
            (self._folder / _NAME).unlink()


def trace_file(state: Path, *, max_bytes: int, keep: int) -> TraceFile:
    """The files where read_spans looks."""
    return TraceFile(state / "traces", max_bytes=max_bytes, keep=keep)


def read_spans(state: Path) -> Iterator[SpanLine]:
    """All spans that are kept, newest last; what is no span is skipped. Raises OSError for a file it may not read."""
    with ExitStack() as opened:
        for file in _open_all(state / "traces", opened):
            for line in file:
                if (span := _span(line)) is not None:
                    yield span


def _span(line: bytes) -> SpanLine | None:
    """None for what is no span. Keys of a later version are left out."""
    with suppress(ValueError, TypeError, LookupError, RecursionError):
        data = json.loads(line)
        return SpanLine(**{field.name: data[field.name] for field in fields(SpanLine) if field.name in data})
    return None


def _open_all(folder: Path, opened: ExitStack) -> list[BinaryIO]:
    """Oldest first. All are open before one is read: a rename meanwhile neither hides nor doubles one."""
    names = sorted(folder.glob("spans.*.jsonl"), key=lambda path: int(path.name.split(".")[1]), reverse=True)
    files: dict[int, BinaryIO] = {}
    for path in (*names, folder / _NAME):
        with suppress(FileNotFoundError):
            file = opened.enter_context(path.open("rb"))
            files[os.fstat(file.fileno()).st_ino] = file
    return list(files.values())
