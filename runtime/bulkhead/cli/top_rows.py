"""What `bulkhead top` shows: the sandboxes of this user with what they use, and all that waits for a person.

Rules: it only looks. What cannot be read is told and left empty, and the rest is shown. The traces are read again only
when they changed, and never for more than a tenth of the time: counts may be a little older than the rest.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bulkhead.errors import BulkheadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bulkhead.engines.base import Engine, SandboxInfo, Usage
    from bulkhead.engines.docker_client import Client
    from bulkhead.engines.docker_usage import Meter
    from bulkhead.sessions import SessionStatus
    from bulkhead.trace_file import SpanLine


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one sandbox: calls of tools, connections that were made, and such as were refused."""

    calls: int = 0
    connections: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One session, or a sandbox without one. started: Unix seconds, 0 where it does not run. cpu: processors in use.

    cpus, memory_limit and pids_limit are what the engine holds it to; None where that, or the use, is not known.
    """

    id: str
    server: str
    state: str
    started: float = 0.0
    cpu: float | None = None
    cpu_seconds: float | None = None
    cpus: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    pids: int | None = None
    pids_limit: int | None = None
    counts: Counts = Counts()
    last_end: str = ""
    refused: tuple[str, ...] = ()
    runner: int | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What waits for a person. kind: "call" or "items"; until: Unix seconds, 0 for ever."""

    kind: str
    server: str
    what: str
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment. at: Unix seconds. problems: what could not be read, a line each."""

    at: float
    rows: tuple[Row, ...] = ()
    held: tuple[Held, ...] = ()
    killed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Watched:
    """One running sandbox. limits: as HostConfig of Docker's API has them."""

    meter: Meter
    limits: dict[str, Any]
    seen: Usage | None = None
    seen_at: float = 0.0


@dataclass(slots=True)
class Looker:
    """Looks again and again. engine and its client: None where none answers, and problem says why."""

    state: Path
    engine: Engine | None
    client: Client | None
    problem: str = ""
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _counts: dict[str, Counts] = field(default_factory=dict)
    _traces: tuple[Any, ...] = ()
    _not_before: float = 0.0

    async def look(self) -> Snapshot:
        """All of it, now."""
        from anyio import to_thread

        problems = [self.problem] if self.problem else []
        running: dict[str, SandboxInfo] = {}
        try:
            running = {info.id: info for info in await self.engine.list() if not info.gate} if self.engine else {}
        except BulkheadError as error:
            problems.append(f"{error.what}: {error.why}")
        await to_thread.run_sync(self._count)
        rows = [await self._row(row, containers) for row, containers in self._rows(running)]
        self._forget({row.id for row in rows})
        held, more = await to_thread.run_sync(held_here, self.state)
        from bulkhead.killed import marked

        return Snapshot(time.time(), tuple(rows), tuple(held), tuple(marked(self.state)), (*problems, *more))

    def close(self) -> None:
        """Lets go of what it holds open, but for the engine."""
        self._forget(set())

    def _rows(self, running: dict[str, SandboxInfo]) -> Iterator[tuple[Row, tuple[str, ...]]]:
        """Sessions with their containers, then what has no session."""
        from bulkhead.sessions import read_sessions

        known = set()
        for session in read_sessions(self.state):
            known.add(session.sandbox)
            info = running.get(session.sandbox)
            yield _of_session(session, info), session.containers if info else ()
        for info in running.values():
            if info.id not in known:
                yield Row(info.id, info.server, "running" if info.running else "left", info.started), ()

    async def _row(self, row: Row, containers: tuple[str, ...]) -> Row:
        row = replace(row, counts=self._counts.get(row.id, Counts()))
        if not containers or self.client is None:
            return row
        with suppress(BulkheadError):  # it has ended meanwhile
            watched = self._watched.get(row.id) or await self._watch(self.client, row.id, containers[0])
            return await _used(row, watched)
        return row

    async def _watch(self, client: Client, sandbox: str, container: str) -> _Watched:
        from bulkhead.engines.docker_usage import Meter

        told = await client.call("GET", f"/containers/{container}/json")
        meter = Meter(client, container, told["State"]["Pid"], ())
        self._watched[sandbox] = _Watched(meter, told["HostConfig"])
        return self._watched[sandbox]

    def _forget(self, kept: set[str]) -> None:
        for sandbox in set(self._watched) - kept:
            self._watched.pop(sandbox).meter.close()

    def _count(self) -> None:
        from bulkhead.trace_file import read_spans

        traces = tuple(
            sorted((path.name, path.stat().st_size) for path in (self.state / "traces").glob("spans*.jsonl"))
        )
        begun = time.monotonic()
        if traces != self._traces and begun >= self._not_before:
            with suppress(OSError):
                self._counts = counted(read_spans(self.state))
            self._traces, now = traces, time.monotonic()
            self._not_before = now + 9 * (now - begun)


def counted(spans: Iterable[SpanLine]) -> dict[str, Counts]:
    """Sandbox -> its counts."""
    from bulkhead import telemetry as names

    found: dict[str, list[int]] = {}
    for span in spans:
        row = found.setdefault(str(span.attributes.get(names.SANDBOX_ID, "")), [0, 0, 0])
        if names.SERVER_ADDRESS in span.attributes:
            row[2 if span.attributes.get(names.DECISION) == "deny" else 1] += 1
        elif span.kind == "SERVER" and span.attributes.get(names.METHOD) == "tools/call":
            row[0] += 1
    return {sandbox: Counts(*row) for sandbox, row in found.items()}


def held_here(state: Path) -> tuple[list[Held], list[str]]:
    """Calls first, the oldest first; then the servers with items that wait. And what could not be read."""
    from bulkhead.approvals import all_waiting
    from bulkhead.pins import Store, keys

    found = [Held("call", call.server, f"{call.id} {call.tool}", call.until) for call in all_waiting(state)]
    problems = []
    for key in keys(state):
        try:
            waiting = [entry for entry in Store(state, key).waiting().values() if not entry.rejected]
        except BulkheadError as error:
            problems.append(error.what)
            continue
        if waiting:
            found.append(Held("items", key, f"{len(waiting)} changed or new"))
    return found, problems


def _of_session(session: SessionStatus, info: SandboxInfo | None) -> Row:
    state = "running" if info is not None and info.running else "killed" if session.killed else "idle"
    started = info.started if info is not None else 0.0
    return Row(
        session.sandbox, session.server, state, started,
        last_end=session.last_end, refused=session.refused, runner=session.pid,
    )  # fmt: skip


async def _used(row: Row, watched: _Watched) -> Row:
    """cpu is the mean since the look before; since the start, at the first."""
    usage, now = await watched.meter.read(whole=False), time.time()
    before, since = (watched.seen.cpu_seconds, watched.seen_at) if watched.seen else (0.0, row.started)
    watched.seen, watched.seen_at = usage, now
    return replace(
        row,
        cpu=max(0.0, usage.cpu_seconds - before) / max(now - since, 0.001),
        cpu_seconds=usage.cpu_seconds,
        cpus=(watched.limits.get("CpuQuota") or 0) / (watched.limits.get("CpuPeriod") or 100_000) or None,
        memory=usage.memory_bytes,
        memory_limit=watched.limits.get("Memory") or None,
        pids=usage.pids,
        pids_limit=watched.limits.get("PidsLimit") or None,
    )
