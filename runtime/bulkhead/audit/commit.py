"""Group commit: those who wrote at about the same time share one sync.

Rules: a lone writer syncs at once, without a turn of the event loop, while the disk is fast. Who comes just after a
sync waits one turn for others; on a slow disk the sync is a thread's, and who comes meanwhile waits for the next one.
All go on in the order in which they came. Who is cancelled leaves the queue, and the next one syncs in its place. After
a sync that failed nothing is synced any more: what the kernel could not write, it has forgotten.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

_SLOW = 1e-3  # seconds; a sync that takes longer would hold up the event loop
_CROWD = 50e-6  # seconds between two writers who are not alone


class _Ticket:
    """One writer that waits. turn: it is done, or it is to sync for those behind it."""

    __slots__ = ("done", "turn")

    def __init__(self) -> None:
        self.turn = anyio.Event()
        self.done = False


class Group:
    """The writers of one log in one event loop. sync blocks, and raises OSError."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._queue: deque[_Ticket] = deque()
        self._took = self._ended = 0.0
        self._leaving = 0
        self.error: OSError | None = None

    async def commit(self) -> None:
        """Returns once all that was written before is synced. Raises OSError."""
        if self._queue or self._leaving or self._took > _SLOW or time.perf_counter() - self._ended < _CROWD:
            await self._join()
        else:
            self.sync()

    def sync(self) -> None:
        """Now, in this thread. Raises OSError."""
        if self.error is not None:
            raise self.error
        begun = time.perf_counter()
        try:
            self._sync()
        except OSError as error:
            self.error = error
            raise
        finally:
            self._ended = time.perf_counter()
            self._took = self._ended - begun

    async def _join(self) -> None:
        ticket = _Ticket()
        self._queue.append(ticket)
        try:
            if self._queue[0] is not ticket:
                await ticket.turn.wait()
            if not ticket.done and self.error is None:
                await self._lead()
        finally:
            self._leave(ticket)
        if not ticket.done and self.error is not None:
            raise self.error

    async def _lead(self) -> None:
        if self._took > _SLOW:
            group = tuple(self._queue)
            await anyio.to_thread.run_sync(self.sync, abandon_on_cancel=True)
        else:
            await anyio.lowlevel.checkpoint()
            group = tuple(self._queue)
            self.sync()
        self._release(group)

    def _release(self, group: tuple[_Ticket, ...]) -> None:
        """In the order in which they came; the first of them is who synced."""
        for ticket in group:
            if ticket in self._queue:
                self._queue.remove(ticket)
                ticket.done = True
                self._leaving += 1
                ticket.turn.set()

    def _leave(self, ticket: _Ticket) -> None:
        """Whoever is first now syncs, unless somebody does."""
        if ticket.done:
            self._leaving -= 1
        else:
            self._queue.remove(ticket)
        if self._queue:
            self._queue[0].turn.set()
