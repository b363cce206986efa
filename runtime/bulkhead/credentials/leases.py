"""The secrets of one session: fetched when a call begins that may use them, gone when the last such call has ended.

Rules: with ``use = "inject"`` the sandbox has a placeholder, and the value is here only, for the egress proxy. A value
lives as long as calls that its binding's tools name are in flight, and never longer than its ttl. With ``use = "file"``
or ``"env"`` the sandbox has the value itself: a file until its ttl is over, and anew at the next call; a variable until
the sandbox ends. A provider that fails, fails the start or the call: nothing goes on without a secret. No value is in a
name, an error or an event.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from bulkhead.credentials.placeholder import placeholder_for
from bulkhead.credentials.sources import provider_for
from bulkhead.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio import CancelScope, Lock
    from anyio.abc import TaskGroup

    from bulkhead.credentials.base import Fetched, Provider
    from bulkhead.spec import SecretBinding

    Write = Callable[[str, bytes | None], Awaitable[None]]
    Note = Callable[[str, str], None]

# The attribute of an event that names the secret.
_NAME = "bulkhead.secret"
# Of a provider's lease, when it is renewed.
_RENEWED = 2 / 3
_LEAVE = 1.0  # seconds: a host gives the runner two


class Trace(Protocol):
    """The call that a lease is for: telemetry.Call."""

    def event(self, name: str, /, **attributes: str) -> None:
        """Something that happened to it."""


@dataclass(frozen=True, slots=True)
class Handed:
    """What a sandbox starts with. placeholders are variables; files are placeholders or values."""

    placeholders: dict[str, str]
    variables: dict[str, bytes] = field(repr=False)
    files: dict[str, bytes] = field(repr=False)


class Lease:
    """One [[secrets]] table in one session; an egress.injectable.Injectable where it is injected."""

    def __init__(self, binding: SecretBinding, provider: Provider) -> None:
        self.binding = binding
        self.name = binding.name
        self.hosts, self.methods = binding.hosts, binding.methods
        self.paths, self.places = binding.paths, binding.places
        self.placeholder = b""
        self._provider = provider
        self._fetched: Fetched | None = None
        self._until = 0.0  # time.monotonic() seconds
        self._holders: list[Trace] = []
        self._revoked = False
        self._suspended = 0  # times
        self._keeping: CancelScope | None = None
        self._tasks: TaskGroup
        self._write: Write
        self._note: Note
        self._lock: Lock

    def begin(self, tasks: TaskGroup, write: Write, note: Note) -> None:
        """Within the event loop: tasks carry renewals and ends; write puts a file into the sandbox, or takes it out.

        note is told of each event, with the secret's name.
        """
        from anyio import Lock  # noqa: PLC0415 - a sandbox is started before there is an event loop

        self._tasks, self._write, self._note, self._lock = tasks, write, note, Lock()

    def hand(self) -> bytes:
        """What the sandbox is given at its start: the placeholder, or the value. Blocks. Raises SecretError."""
        self._require()
        fetched = self._provider.fetch()
        if self.binding.use != "inject":
            self._take(fetched)
            return fetched.value
        self.placeholder = self.placeholder or placeholder_for(self.name, fetched.value)
        if fetched.revoke is not None:
            fetched.revoke()
        return self.placeholder

    def started(self) -> None:
        """The sandbox runs that has what hand() gave."""
        if self._fetched is not None and self.binding.use == "file":
            self._tasks.start_soon(self._keep, self._fetched)

    def value(self) -> bytes | None:
        """See egress.injectable."""
        if self._fetched is None or time.monotonic() >= self._until:  # the loop may be late to end it
            return None
        return self._fetched.value

    async def open(self, trace: Trace) -> None:
        """A call begins that may use it. Raises SecretError. To be closed with the same trace."""
        async with self._lock:
            self._require()
            if self._fetched is None or time.monotonic() >= self._until:
                await self._fetch()
            self._holders.append(trace)
        trace.event("bulkhead.secret.granted", **{_NAME: self.name})
        self._note("granted", self.name)

    def close(self, trace: Trace) -> None:
        """The call has ended, whether or not open() came to its end."""
        if trace in self._holders:
            self._holders.remove(trace)
        if not self._holders and self.binding.use == "inject":
            self._drop("")

    def revoke(self) -> None:
        """For good, in this session: calls that need it fail from now on."""
        self._revoked = True
        self._drop("revoked")

    def suspend(self) -> None:
        """For the calls that are in flight, or that wait for it; one that begins later gets it anew."""
        self._suspended += 1
        self._drop("suspended")

    def end(self) -> Fetched | None:
        """The session is over: what is to be revoked."""
        fetched, self._fetched = self._fetched, None
        return fetched

    def _require(self) -> None:
        if self._revoked:
            why, hint = "somebody revoked it", "start a new session"
            raise SecretError(f"the secret {self.name} is not available", why=why, hint=hint)

    async def _fetch(self) -> None:
        from anyio import to_thread  # noqa: PLC0415 - see begin()

        suspended = self._suspended
        fetched = await to_thread.run_sync(self._provider.fetch)
        self._require()
        if suspended != self._suspended:
            await _revoked(fetched)
            why, hint = "its server was killed meanwhile", "`bulkhead release` lets it go on"
            raise SecretError(f"the secret {self.name} is not available", why=why, hint=hint)
        if self.binding.use == "file":
            await self._write(self.name, fetched.value)
        self._take(fetched)
        self._tasks.start_soon(self._keep, fetched)

    def _take(self, fetched: Fetched) -> None:
        self._fetched = fetched
        self._until = time.monotonic() + min(self.binding.ttl, fetched.seconds or self.binding.ttl)

    async def _keep(self, fetched: Fetched) -> None:
        """Renews what its provider would end before its ttl, and ends it then."""
        from anyio import CancelScope, sleep  # noqa: PLC0415 - see begin()

        with CancelScope() as self._keeping:
            if self._fetched is not fetched:
                return
            await self._renew(fetched)
            await sleep(max(0.0, self._until - time.monotonic()))
            self._drop("expired")

    async def _renew(self, fetched: Fetched) -> None:
        from anyio import sleep, to_thread  # noqa: PLC0415 - see begin()

        last, seconds = time.monotonic() + self.binding.ttl, fetched.seconds
        while fetched.renew is not None and seconds is not None and time.monotonic() + seconds < last:
            await sleep(seconds * _RENEWED)
            try:
                seconds = await to_thread.run_sync(fetched.renew)
            except SecretError:  # it is good until the time that was told before
                return
            self._until = min(last, time.monotonic() + seconds)
            self._tell("renewed")

    def _drop(self, event: str) -> None:
        fetched, self._fetched = self._fetched, None
        if fetched is None:
            return
        if event:
            self._tell(event)
        self._tasks.start_soon(self._dropped, fetched)
        if self._keeping is not None:
            self._keeping.cancel()

    async def _dropped(self, fetched: Fetched) -> None:
        if self.binding.use == "file" and self._fetched is None:
            await self._write(self.name, None)
        await _revoked(fetched)

    def _tell(self, event: str) -> None:
        self._note(event, self.name)
        for trace in self._holders:
            trace.event(f"bulkhead.secret.{event}", **{_NAME: self.name})


async def _revoked(fetched: Fetched) -> None:
    """A provider that cannot revoke ends it by itself, at the time that it said."""
    from anyio import to_thread  # noqa: PLC0415 - see Lease.begin()

    if fetched.revoke is not None:
        with suppress(SecretError):
            await to_thread.run_sync(fetched.revoke, abandon_on_cancel=True)


class Leases:
    """All of one session's."""

    def __init__(self, bindings: Sequence[SecretBinding]) -> None:
        self._all = tuple(Lease(binding, provider_for(binding.source)) for binding in bindings)
        self.injectables = tuple(lease for lease in self._all if lease.binding.use == "inject")

    def hand(self) -> Handed:
        """For a sandbox that is about to start. Blocks. Raises SecretError."""
        given = [(lease.binding, lease.hand()) for lease in self._all]
        return Handed(
            {it.name: value.decode() for it, value in given if it.use == "inject" and not it.is_file},
            {it.name: value for it, value in given if it.use == "env"},
            {it.name: value for it, value in given if it.is_file},
        )

    def begin(self, tasks: TaskGroup, write: Write, note: Note) -> None:
        """See Lease.begin()."""
        for lease in self._all:
            lease.begin(tasks, write, note)

    def values(self) -> dict[str, bytes]:
        """What is known now, by name: the values of those that are open, or that the sandbox has."""
        return {lease.name: value for lease in self._all if (value := lease.value()) is not None}

    def started(self) -> None:
        """A sandbox runs that has what hand() gave."""
        for lease in self._all:
            lease.started()

    async def end(self) -> None:
        """The session is over: what a provider can revoke is revoked, within a second."""
        from anyio import create_task_group, move_on_after  # noqa: PLC0415 - see Lease.begin()

        left = [fetched for lease in self._all if (fetched := lease.end()) is not None]
        with move_on_after(_LEAVE, shield=True):
            async with create_task_group() as tasks:
                for fetched in left:
                    tasks.start_soon(_revoked, fetched)

    def for_tool(self, tool: str) -> tuple[Lease, ...]:
        """Those that a call of the tool may use."""
        return tuple(lease for lease in self._all if any(fnmatchcase(tool, it) for it in lease.binding.tools))

    def revoke(self, name: str = "") -> None:
        """One, or all."""
        for lease in self._all:
            if name in ("", lease.name):
                lease.revoke()

    def suspend(self) -> None:
        """All of them, see Lease.suspend(): while a server is killed no call begins."""
        for lease in self._all:
            lease.suspend()
