"""What the calls of one sandbox use, from its cgroup onto their spans, and the limit that it has reached.

Reading takes 40 us, half of a relayed call. So one reading serves the end of a call and the beginning of the next, it
is taken while the server works or after the host has its answer, and the look at every file system, which a full /tmp
needs, is left to the relay's tick and to calls that failed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bulkhead import telemetry
from bulkhead.engines.base import Usage

if TYPE_CHECKING:
    from bulkhead.engines.base import Sandbox
    from bulkhead.telemetry import Call

_FRESH = 0.02  # seconds for which a reading serves the next call too


class Costs:
    """The readings of one sandbox; last is the newest. Without a sandbox, nothing is used."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self.last = Usage()
        self._sandbox = sandbox
        self._read_at = 0.0

    async def begin(self, *, alone: bool) -> Usage:
        """What was used before a call that was just sent. alone: no other is in flight, so the peak is its own."""
        if alone and self._sandbox is not None:
            await self._sandbox.new_peak()
        if time.monotonic() - self._read_at > _FRESH:
            await self._read(whole=False)
        return self.last

    async def end(self, trace: Call, before: Usage | None, *, failed: bool) -> None:
        """Onto the span of a call that the server answered."""
        await self._read(whole=failed)
        self.note(trace, before)
        if limit := _limit(self.last):
            trace.set(telemetry.LIMIT, limit)

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

    async def _read(self, *, whole: bool) -> None:
        if self._sandbox is not None:
            self.last, self._read_at = await self._sandbox.usage(whole=whole), time.monotonic()


def _limit(usage: Usage) -> str:
    if usage.oom_kills:
        return "oom"
    if usage.pids_refused:
        return "pids"
    return "tmp" if usage.full else ""
