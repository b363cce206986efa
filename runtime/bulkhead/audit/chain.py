"""The log as one process appends to it, among others: the lock, the last record, checkpoints and rotation. It blocks.

Rules: a record is written whole or not at all; where the disk is full, what was written of it is taken back. What
stands at the end and is no record, because a machine stopped, stays there, and a record "torn" behind it names it. An
end that lies before what the head names is told by a record "truncated". What another key sealed is not continued.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING

from bulkhead.audit import files
from bulkhead.audit.record import START, Link, Record, checkpoint_text, line_of
from bulkhead.audit.signing import KEY, key_id, open_keys, publish
from bulkhead.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulkhead.audit.files import Head, Tail
    from bulkhead.audit.record import Value

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Chain:
    """The files of one folder. Every method may be called from any thread, and raises OSError and IntegrityError."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._path = folder, str(folder / files.LOG)
        self._max_bytes = max_bytes
        self._keys = open_keys(folder)
        self._mutex = Lock()  # a flock is the process's, not the thread's
        self._lock = os.open(folder / files.LOCK, _FLAGS, 0o600)
        self._head = os.open(folder / files.HEAD, _FLAGS, 0o600)
        self._fd = self._old_fd = -1
        self._inode, self._size = -1, -1
        self._last, self._checkpoint = START, 0
        self._second, self._second_text = 0, ""
        try:
            with self._held():
                self._catch_up()
        except (OSError, IntegrityError):
            self.close()
            raise

    @property
    def unsigned(self) -> int:
        """Records since the last checkpoint, as of this process' last append."""
        return self._last.seq - self._checkpoint

    @property
    def is_full(self) -> bool:
        """Whether the file is to be rotated."""
        return self._size >= self._max_bytes

    def append(self, record: Record) -> None:
        """Writes; sync() makes it last."""
        with self._mutex:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                if not self._is_current():
                    self._catch_up()
                self._put(record, self._now())
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def sync(self) -> None:
        """All that was appended is on the disk."""
        os.fdatasync(self._fd)

    def checkpoint(self) -> None:
        """Signs what is not signed yet, and syncs."""
        publish(self._folder, self._keys)  # the library is imported before the lock is taken
        with self._held():
            if not self._is_current():
                self._catch_up()
            if self.unsigned:
                self._put_checkpoint()
        self.sync()

    def rotate(self) -> None:
        """Begins a new file, if the one that is written is full: another process may have been faster."""
        publish(self._folder, self._keys)
        with self._held():
            if not self._is_current():
                self._catch_up()
            if self.is_full:
                self._put_checkpoint()
                self.sync()
                self._begin_file()

    def close(self) -> None:
        """Nothing can be appended after it."""
        for fd in (self._fd, self._old_fd, self._head, self._lock):
            if fd >= 0:
                os.close(fd)

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self._mutex:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _is_current(self) -> bool:
        """Whether nothing was appended, rotated, moved or cut since this process' last append."""
        try:
            info = os.stat(self._path)  # noqa: PTH116 - a Path costs as much again, at each record
        except FileNotFoundError:
            return False
        return info.st_size == self._size and info.st_ino == self._inode

    def _catch_up(self) -> None:
        """What others did since: the file may be another one, and its end is read."""
        self._open_file()
        tail, head = files.read_tail(self._fd, self._size), self._read_head()
        self._last = self._end_of(tail) if tail.last else self._end_before()
        self._checkpoint = min(head.checkpoint, self._last.seq) if head else 0
        if tail.junk:
            self._put_torn(tail.junk)
        if self._is_cut(head):
            self._put_truncated(head)

    def _open_file(self) -> None:
        fd = os.open(self._path, _FLAGS | os.O_APPEND, 0o600)
        info = os.fstat(fd)
        self._size = info.st_size
        if info.st_ino == self._inode:
            os.close(fd)
        else:
            self._use(fd)
        if not self._size:
            files.sync_folder(self._folder)

    def _use(self, fd: int) -> None:
        """The file before stays open until the next one: a thread may be about to sync it."""
        if self._old_fd >= 0:
            os.close(self._old_fd)
        self._old_fd, self._fd, self._inode = self._fd, fd, os.fstat(fd).st_ino

    def _end_of(self, tail: Tail) -> Link:
        if tail.last is None:
            return START
        if self._keys.mac(tail.last.hash) != tail.last.mac:
            raise IntegrityError(
                f"the audit log {self._path} is not continued",
                why=f"its last record was not sealed with the key in {self._folder / KEY}",
                hint="`bulkhead audit verify` says more; move the audit folder away to begin a new log",
                reason="audit",
            )
        return tail.last.link

    def _end_before(self) -> Link:
        """The end of the newest file that is full: the log itself is new, or was removed."""
        rotated = files.rotated_files(self._folder)
        if not rotated:
            return START
        fd = os.open(rotated[-1], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return self._end_of(files.read_tail(fd, os.fstat(fd).st_size))
        finally:
            os.close(fd)

    def _read_head(self) -> Head | None:
        return files.read_head(os.pread(self._head, files.HEAD_LENGTH, 0), self._keys)

    def _is_cut(self, head: Head | None) -> bool:
        if head is None:
            return self._last.seq > 0
        return head.last.seq > self._last.seq or (head.last.seq == self._last.seq and head.last != self._last)

    def _put(self, record: Record, now: str) -> None:
        self._put_line(record, now)
        self._write_head()

    def _put_line(self, record: Record, now: str) -> None:
        line, link = line_of(record, self._last, now, self._keys.mac)
        self._write(line)
        self._last, self._size = link, self._size + len(line)

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._fd, data)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        if written < len(data):
            os.ftruncate(self._fd, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _write_head(self) -> None:
        os.pwrite(self._head, files.Head(self._last, self._checkpoint).line(self._keys.head_mac), 0)

    def _put_torn(self, junk: bytes) -> None:
        whole = junk if junk.endswith(b"\n") else junk + b"\n"
        self._write(whole[len(junk) :])
        self._size += len(whole) - len(junk)
        details: dict[str, Value] = {"bytes": len(whole), "sha256": sha256(whole).hexdigest()}
        self._put(Record("torn", "", "", "", details=details), self._now())

    def _put_truncated(self, head: Head | None) -> None:
        named = head.last if head else START
        details: dict[str, Value] = {"seq": named.seq, "hash": named.hash}
        self._put(Record("truncated", "", "", "", reason="head", details=details), self._now())

    def _put_checkpoint(self) -> None:
        now, key = self._now(), key_id(self._keys.public())
        signature = self._keys.sign(checkpoint_text(self._last, self.unsigned, now, key))
        details: dict[str, Value] = {"count": self.unsigned, "key": key, "signature": signature}
        self._checkpoint = self._last.seq + 1
        self._put(Record("checkpoint", "", "", "", details=details), now)

    def _begin_file(self) -> None:
        """At every moment there is a log.jsonl, and its end is not before what the head names."""
        name = self._name_full_file()
        details: dict[str, Value] = {"file": name, "seq": self._last.seq, "hash": self._last.hash}
        record = Record("rotated", "", "", "", details=details)
        new = self._folder / files.NEW
        new.unlink(missing_ok=True)
        self._use(os.open(new, _FLAGS | os.O_APPEND, 0o600))
        self._size = 0
        self._put_line(record, self._now())
        self.sync()
        new.replace(self._path)
        files.sync_folder(self._folder)
        self._write_head()

    def _name_full_file(self) -> str:
        rotated = files.rotated_files(self._folder)
        if rotated and rotated[-1].stat().st_ino == self._inode:
            return rotated[-1].name  # a process that died here gave it its name
        name = files.rotated_name(int(rotated[-1].stem[4:]) + 1 if rotated else 1)
        (self._folder / name).hardlink_to(self._path)
        return name

    def _now(self) -> str:
        """RFC 3339 in UTC; the second is formatted once."""
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        if seconds != self._second:
            self._second, self._second_text = seconds, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return f"{self._second_text}.{nanoseconds // 1000:06}Z"
