"""The sessions that a kill ends: their runners are told, what they do not end is ended, and the engine is asked last.

Nothing here waits longer than it says, whatever hangs.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from bulkhead import killed
from bulkhead.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bulkhead.errors import BulkheadError
    from bulkhead.sessions import SessionStatus

    T = TypeVar("T")

PATIENCE = 1.0  # seconds for the runners
KERNEL = 1.0  # seconds for the processes of one sandbox, after SIGKILL
OTHERS = 10.0  # seconds for the engine, and for the log
_TICK = 0.02


@dataclass(slots=True)
class Victim:
    """One runner's session. handle is its process, for whose number another's cannot be taken."""

    session: SessionStatus
    handle: int
    outcome: str = ""
    seconds: float = 0.0

    def end(self, outcome: str, begun: float) -> None:
        """What has become of it, and when."""
        self.outcome, self.seconds = outcome, time.monotonic() - begun


def told(state: Path, name: str) -> list[Victim]:
    """The sessions of a server that run; each one's runner takes the signal."""
    from bulkhead.sessions import read_sessions

    victims = []
    for session in read_sessions(state):
        if name in (killed.ALL, session.server):
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(session.pid)
                victims.append(Victim(session, handle))
                signal.pidfd_send_signal(handle, killed.SIGNAL)
    return victims


def wait(state: Path, victims: Sequence[Victim], begun: float) -> None:
    """Until each runner has ended its sandbox, and for no longer than PATIENCE."""
    from bulkhead.sessions import read_sessions

    while any(not victim.outcome for victim in victims) and time.monotonic() < begun + PATIENCE:
        now = {session.pid: session for session in read_sessions(state)}
        for victim in victims:
            victim.session = now.get(victim.session.pid, victim.session)
            if victim.session.pid not in now:
                victim.end("its runner is gone", begun)
            elif victim.session.killed and not victim.session.sandbox:
                victim.end("ended by its runner", begun)
        time.sleep(_TICK)


def finish(victim: Victim, begun: float) -> None:
    """What its runner has not ended, the runner and the engine unasked."""
    from bulkhead.engines.processes import end_processes, processes_of

    with suppress(ProcessLookupError):
        if not victim.session.killed and not victim.outcome:
            signal.pidfd_send_signal(victim.handle, signal.SIGKILL)
            victim.end("its runner did not hear, and was killed", begun)
    os.close(victim.handle)
    containers = victim.session.containers
    if processes_of(containers):
        end_processes(containers, KERNEL)
        victim.end(f"{victim.outcome or 'the engine did not end it'}; its processes were killed", begun)
    if not victim.outcome:
        victim.end("ended by its runner", begun)


def remove(state: Path, name: str) -> None:
    """What is left of containers, of this session or of one that a crash has ended. Raises BulkheadError."""
    import anyio

    what = "the containers were not removed"
    hint = "nothing runs in those that are listed as ended; see the engine, then `bulkhead gc`"
    late = EngineError(what, why=f"the engine did not answer within {OTHERS:.0f} s", hint=hint)
    within(OTHERS, lambda: anyio.run(_emptied, state, name), late)


async def _emptied(state: Path, name: str) -> None:
    import anyio

    from bulkhead.config import load_settings
    from bulkhead.engines.registry import open_engine

    engine = open_engine(load_settings().engine, state=state)
    try:
        while left := [info.id for info in await engine.list() if name in (killed.ALL, info.server)]:
            for sandbox in left:
                await engine.remove(sandbox)
            await anyio.sleep(_TICK)  # one that its runner removes at this moment is no error, and still there
    finally:
        await engine.close()


def none_left(victims: Sequence[Victim]) -> None:
    """Raises EngineError for processes that could not be ended, as those of others by who is not root."""
    from bulkhead.engines.processes import processes_of

    left = processes_of([container for victim in victims for container in victim.session.containers])
    if left:
        why = f"{len(left)} processes of its sandboxes still run: {', '.join(map(str, left[:8]))}"
        raise EngineError("it was not ended", why=why, hint="try again as root, or restart the engine")


def within(seconds: float, function: Callable[[], T], late: BulkheadError) -> T:
    """What function returns or raises; late is raised when it takes longer, and it is left behind in its thread."""
    found: list[T] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            found.append(function())
        except Exception as error:  # it is raised where it is waited for
            failed.append(error)

    thread = Thread(target=work, name="bulkhead-kill", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise late
    return found[0]
