"""What the relay and the commands write to: returns once a record is on the disk, or raises.

Checkpoints and rotation are made by a thread of their own, because the library for signatures takes its time to import
and nobody should wait for it; of a command by the command. What fails there costs a signature, and is tried again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, ClassVar

from bulkhead.audit.chain import Chain
from bulkhead.audit.commit import Group
from bulkhead.errors import IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.audit.record import Record

_AGAIN = 30.0  # seconds until what failed in the background is tried again


class AuditLog:
    """The log of one state folder, which other processes write too.

    max_bytes: of one file. most_unsigned, longest_unsigned (seconds): then a checkpoint follows.
    """

    max_bytes: ClassVar[int] = 64 * 2**20
    most_unsigned: ClassVar[int] = 1000
    longest_unsigned: ClassVar[float] = 600.0

    def __init__(self, folder: Path, *, sync: bool = True) -> None:
        """folder: state / "audit". Raises IntegrityError if it cannot be opened, or another key sealed its end."""
        self._folder = folder
        try:
            self._chain = Chain(folder, max_bytes=self.max_bytes)
        except OSError as error:
            raise self._unwritable(error) from error
        self._group = Group(self._chain.sync) if sync else None
        self._thread: Thread | None = None
        self._signed_at = time.monotonic()
        self._not_before = 0.0
        self._closed = False

    async def write(self, record: Record) -> None:
        """Returns once it is written and synced. Raises IntegrityError if it is not, and then nobody may rely on it.

        Cancelled, the record is written, and may not be synced.
        """
        try:
            self._append(record)
            if self._group is not None:
                await self._group.commit()
        except OSError as error:
            raise self._unwritable(error) from error
        if self._is_due() and not (self._thread and self._thread.is_alive()):
            self._not_before = time.monotonic() + _AGAIN
            self._thread = Thread(target=self._maintain, name="bulkhead-audit", daemon=True)
            self._thread.start()

    def add(self, record: Record) -> None:
        """As write(), and blocks: for commands."""
        try:
            self._append(record)
            if self._group is not None:
                self._group.sync()
        except OSError as error:
            raise self._unwritable(error) from error
        if self._is_due():
            self._maintain()

    def close(self) -> None:
        """Signs what is not signed yet, where it can, and closes."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._thread.join()
        with suppress(OSError, IntegrityError):
            if self._chain.unsigned:
                self._chain.checkpoint()
        self._chain.close()

    def _append(self, record: Record) -> None:
        if self._closed:
            raise OSError("it is closed")
        if self._group is not None and self._group.error is not None:
            raise self._group.error
        self._chain.append(record)

    def _is_due(self) -> bool:
        now = time.monotonic()
        old = now - self._signed_at > self.longest_unsigned
        return now >= self._not_before and (self._chain.is_full or old or self._chain.unsigned >= self.most_unsigned)

    def _maintain(self) -> None:
        with suppress(OSError, IntegrityError):
            if self._chain.is_full:
                self._chain.rotate()
            else:
                self._chain.checkpoint()
            self._signed_at, self._not_before = time.monotonic(), 0.0

    def _unwritable(self, error: OSError) -> IntegrityError:
        return IntegrityError(
            f"the audit log in {self._folder} cannot be written",
            why=error.strerror or str(error),
            hint="free space on its disk, or make the folder writable: nothing goes on without its record",
            reason="audit",
        )
