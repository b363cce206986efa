"""Ships the log to a file or a collector: at least once, in order, and nothing is lost while the other side is down.

Rules: what was taken is noted in a cursor on the disk before more is sent; a sink that fails is tried again, with
pauses that grow to a minute, without an end. The writers of the log are never touched: this reads files, without their
lock. A collector takes a batch where it answers 2xx; it gets one line a record in a POST, as application/x-ndjson.
"""

from __future__ import annotations

import json
import os
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO, NoReturn, Protocol, TypeVar

from bulkhead.audit.files import log_files
from bulkhead.audit.record import START, Link, Sealed, split
from bulkhead.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

T = TypeVar("T")

_BATCH = 500
_LONGEST = 60.0  # seconds between two attempts
_TIMEOUT = 30.0
_LOOK = 0.5  # seconds between two looks at a log in which nothing was new


class Sink(Protocol):
    """Where lines go."""

    def send(self, lines: Sequence[str]) -> None:
        """Returns once they are taken. Raises OSError if it is not known that they are."""


class Reader:
    """The records behind one, in the log's order, as often as it is asked. What is no record is left out.

    To be closed.
    """

    def __init__(self, folder: Path, after: Link) -> None:
        """after.hash: "" where it is not known."""
        self._folder = folder
        self._after = after
        self._found = not after.hash or after == START
        self._file: BinaryIO | None = None
        self._inode = 0

    def read(self, most: int) -> list[Sealed]:
        """At most so many that are new. Raises OSError, and IntegrityError where the one before them is gone."""
        found: list[Sealed] = []
        while len(found) < most and (line := self._line()):
            sealed = split(line)
            if sealed is not None and self._is_new(sealed):
                found.append(sealed)
        if not found and not self._found:
            raise self._gone("it has no such record")
        return found

    def close(self) -> None:
        """Lets the file go."""
        if self._file is not None:
            self._file.close()
        self._file, self._inode = None, 0

    def _is_new(self, sealed: Sealed) -> bool:
        if sealed.seq == self._after.seq and self._after.hash not in ("", sealed.hash):
            raise self._gone("another record stands in its place")
        self._found = self._found or sealed.seq >= self._after.seq
        if sealed.seq <= self._after.seq:
            return False
        self._after = sealed.link
        return True

    def _gone(self, why: str) -> IntegrityError:
        what = f"the log does not go on behind record {self._after.seq}, which was sent"
        hint = "`bulkhead audit verify` says more; remove the cursor in audit/export to send everything again"
        return IntegrityError(what, why=why, hint=hint, reason="audit")

    def _line(self) -> bytes:
        """The next whole line; nothing where there is none yet."""
        while True:
            if line := self._next_in_file():
                return line
            path = self._file_behind()
            if path is None:
                return b""
            if line := self._next_in_file():  # written before the file was full, and after the first look
                return line
            self._open(path)

    def _next_in_file(self) -> bytes:
        if self._file is None:
            return b""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            raise self._gone("the file was cut")
        line = self._file.readline()
        if line.endswith(b"\n"):
            return line
        self._file.seek(-len(line), os.SEEK_CUR)
        return b""

    def _file_behind(self) -> Path | None:
        """Behind the one that was read to its end; the oldest at first, or where that one is gone."""
        paths = log_files(self._folder)
        inodes = [path.stat().st_ino for path in paths]
        place = inodes.index(self._inode) + 1 if self._inode in inodes else 0
        return paths[place] if place < len(paths) else None

    def _open(self, path: Path) -> None:
        file = path.open("rb")
        self.close()
        self._file, self._inode = file, os.fstat(file.fileno()).st_ino


class Cursor:
    """What one target has taken, in state/audit/export."""

    def __init__(self, folder: Path, target: str) -> None:
        self._path = folder / "export" / f"{sha256(target.encode()).hexdigest()[:16]}.json"
        self._target = target

    def read(self) -> Link:
        """The last record that was taken; START for none. Raises IntegrityError for a file that is no cursor."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            return Link(int(data["seq"]), str(data["hash"]))
        except FileNotFoundError:
            return START
        except (ValueError, TypeError, KeyError) as error:
            hint = "remove it to send everything again"
            raise IntegrityError(f"{self._path} cannot be read", why=str(error), hint=hint, reason="audit") from error

    def write(self, at: Link) -> None:
        """On the disk when it returns. Raises OSError."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        new = self._path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump({"target": self._target, "seq": at.seq, "hash": at.hash}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


class FileSink:
    """Appends to a file, which is synced."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, lines: Sequence[str]) -> None:
        """Sink. A line that was cut short before is ended: it comes again, whole."""
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "r+b", buffering=0) as file:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            data = b"\n" * torn + "".join(f"{line}\n" for line in lines).encode()
            if file.write(data) != len(data):
                raise OSError("the disk is full")
            os.fsync(fd)


class HttpSink:
    """POSTs to a collector. authorization: the header's value."""

    def __init__(self, url: str, authorization: str = "") -> None:
        """Raises UsageError for what is no URL, and for plain HTTP to another machine."""
        from urllib.parse import urlsplit  # noqa: PLC0415 - for this command alone

        self._url = urlsplit(url)
        host = self._url.hostname or ""
        if not host or self._url.scheme not in ("http", "https") or self._url.username is not None:
            raise UsageError(f"{url} is no address to export to", hint="give a file, or https://HOST/PATH")
        if self._url.scheme == "http" and host not in ("localhost", "127.0.0.1", "::1"):
            why = "records would go over the network in the clear"
            raise UsageError(f"{url} is not used", why=why, hint="give https://, or a collector on this machine")
        self._headers = {"Content-Type": "application/x-ndjson"}
        if authorization:
            self._headers["Authorization"] = authorization

    def send(self, lines: Sequence[str]) -> None:
        """Sink."""
        from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415 - as above

        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=_TIMEOUT)
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        try:
            connection.request("POST", path, "".join(f"{line}\n" for line in lines).encode(), self._headers)
            status = connection.getresponse().status
        except HTTPException as error:
            raise OSError(f"no answer that can be read: {type(error).__name__}") from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise OSError(f"it answered {status}")


def follow(
    reader: Reader,
    sink: Sink,
    cursor: Cursor,
    line_of: Callable[[Sealed], str],
    *,
    pause: Callable[[float], None],
    say: Callable[[str], None],
) -> NoReturn:
    """Ships what is there and what comes, until pause raises. say: told once of each outage, and of its end."""
    while True:
        batch = _patiently(lambda: reader.read(_BATCH), pause, say, "the log cannot be read")
        if not batch:
            pause(_LOOK)
            continue
        lines, last = [line_of(sealed) for sealed in batch], batch[-1].link
        _patiently(lambda: sink.send(lines), pause, say, "the records are not taken")  # noqa: B023 - called at once
        _patiently(lambda: cursor.write(last), pause, say, "the cursor cannot be written")  # noqa: B023


def sealed_since(folder: Path, seq: int) -> Iterator[Sealed]:
    """The records from this number on that are there now. Raises OSError."""
    with closing(Reader(folder, Link(seq - 1, ""))) as reader:
        while batch := reader.read(_BATCH):
            yield from batch


def _patiently(work: Callable[[], T], pause: Callable[[float], None], say: Callable[[str], None], what: str) -> T:
    seconds = 1.0
    while True:
        try:
            done = work()
        except OSError as error:
            if seconds == 1.0:
                say(f"{what}: {error.strerror or error}; trying again")
            pause(seconds)
            seconds = min(seconds * 2, _LONGEST)
        else:
            if seconds > 1.0:
                say("it works again")
            return done
