"""What the calls of one sandbox use, from its cgroup onto their spans, and the limit that it has reached.

Reading takes 60 us, half of a relayed call. So nobody waits for it: one reading serves the end of a call and the
beginning of the next, and is taken while the server works on that one, or a moment after the last. The look at every
file system, which a full /tmp needs, is left to the relay's tick and to calls that failed.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bulkhead import telemetry
from bulkhead.engines.base import Usage

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from bulkhead.engines.base import Sandbox
    from bulkhead.telemetry import Call

_FRESH = 0.02  # seconds for which a reading serves the next call too
_SOON = 0.002  # seconds after which a call's end is read, if no other call begins


class Costs:
    """The readings of one sandbox; last is the newest. Without a sandbox, nothing is used."""

    def __init__(self, sandbox: Sandbox | None = None, tasks: TaskGroup | None = None) -> None:
        self.last = Usage()
        self._sandbox = sandbox
        self._tasks = tasks
        self._read_at = 0.0
        self._ending: list[tuple[Call, Usage | None]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self, *, alone: bool) -> Usage:
        """What was used before a call that was just sent. alone: no other is in flight, so the peak is its own."""
        if self._ending or time.monotonic() - self._read_at > _FRESH:
            await self._read(whole=False)
        if alone and self._sandbox is not None:
            await self._sandbox.new_peak()
        return self.last

    def end(self, trace: Call, before: Usage | None) -> None:
        """A call that the server answered; its span is ended once there is a reading for it."""
        self._ending.append((trace, before))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._due)

    async def end_now(self, trace: Call, before: Usage | None) -> None:
        """As end(), for a call that failed: a limit may be why."""
        self._ending.append((trace, before))
        await self._read(whole=True)

    def settle(self) -> None:
        """Ends what has no reading of its own yet, with the last one."""
        ending, self._ending = self._ending, []
        for trace, before in ending:
            self.note(trace, before)
            if limit := _limit(self.last):
                trace.set(telemetry.LIMIT, limit)
            trace.end()

    def note(self, trace: Call, before: Usage | None) -> None:
        """Onto a span, from the last reading: all there is of a sandbox that has ended."""
        if before is None:
            return
        trace.set(telemetry.CPU_SECONDS, round(self.last.cpu_seconds - before.cpu_seconds, 6))
        trace.set(telemetry.MEMORY_PEAK, self.last.memory_peak_bytes)
        if throttled := self.last.throttled_seconds - before.throttled_seconds:
            trace.set(telemetry.THROTTLED_SECONDS, round(throttled, 6))

    async def limit(self) -> str:
        """The limit that was reached: ``oom``, ``pids`` or ``tmp``; "" if none was."""
        await self._read(whole=True)
        return _limit(self.last)

    def _due(self) -> None:
        self._timer = None
        if self._ending and self._tasks is not None:
            self._tasks.start_soon(self._read_for_the_last)

    async def _read_for_the_last(self) -> None:
        if self._ending:
            await self._read(whole=False)

    async def _read(self, *, whole: bool) -> None:
        if self._sandbox is not None:
            self.last, self._read_at = await self._sandbox.usage(whole=whole), time.monotonic()
        self.settle()


def _limit(usage: Usage) -> str:
    if usage.oom_kills:
        return "oom"
    if usage.pids_refused:
        return "pids"
    return "tmp" if usage.full else ""
