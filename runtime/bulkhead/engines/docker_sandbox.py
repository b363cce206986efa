"""One container's life from its start (docker_start.py) to its end, whose cause is read before it is removed."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from bulkhead.engines.base import Exit
from bulkhead.engines.docker_exec import write_secret
from bulkhead.engines.docker_start import REMOVED
from bulkhead.engines.docker_stream import Attachment, Piped
from bulkhead.engines.docker_usage import Meter
from bulkhead.errors import EngineError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from anyio.abc import ByteReceiveStream, ByteSendStream

    from bulkhead.engines.base import Usage
    from bulkhead.engines.docker_client import Client
    from bulkhead.engines.docker_start import Started
    from bulkhead.engines.hardening import Plan

LAST_WORDS = 0.5  # seconds that stderr may take to arrive after the end
KILLED = 5.0  # seconds that a container may take to end after SIGKILL
_SIGNALS = {128 + number for number in signal.Signals}


class DockerSandbox:
    """Removed once it has ended and wait() or stop() was awaited; a build by stop() alone: its files are the result.

    removed is called then.
    """

    def __init__(self, client: Client, plan: Plan, started: Started, *, removed: Callable[[], None]) -> None:
        self.id = plan.id
        self.containers: tuple[str, ...] = (started.id,)
        self.gone = False
        self._client = client
        self._removed = removed
        self._container = started.id
        self._path = f"/containers/{started.id}"
        self._attachment = Attachment(started.stdio)
        self._pipes = Piped(started.pipes) if started.pipes is not None else None
        self.stdin: ByteSendStream = (self._pipes or self._attachment).stdin
        self.stdout: ByteReceiveStream = (self._pipes or self._attachment).stdout
        self.stderr: ByteReceiveStream = self._attachment.stderr
        self._meter = Meter(client, started.id, started.pid, [tmpfs.target for tmpfs in plan.tmpfs])
        self._exit: Exit | None = None
        self._asked: str | None = None  # None: nobody stopped it. Otherwise the limit for which we did, or "".
        self._frozen = False
        self._kept = not plan.read_only  # a build: its file system is the result, see images.commit()
        self._concluding = anyio.Lock()
        self._ended = anyio.Event()
        _once_readable(started.ended, self._on_end)

    async def wait(self) -> Exit:
        await self._ended.wait()
        return await self._conclude(remove=not self._kept)

    async def stop(self, grace: float, *, limit: str = "") -> None:
        with anyio.CancelScope(shield=True):
            if not self._ended.is_set():
                self._asked = limit if self._asked is None else self._asked
                await self._end(grace)
            await self._conclude(remove=True)

    async def freeze(self) -> None:
        await self._client.call("POST", f"{self._path}/pause")
        self._frozen = True

    async def thaw(self) -> None:
        await self._client.call("POST", f"{self._path}/unpause")
        self._frozen = False

    async def write_secret(self, name: str, value: bytes | None) -> None:
        await anyio.to_thread.run_sync(write_secret, self._client, self._container, name, value)

    async def usage(self, *, whole: bool = True) -> Usage:
        return await self._meter.read(whole=whole)

    async def new_peak(self) -> None:
        self._meter.new_peak()

    async def _end(self, grace: float) -> None:
        with suppress(EngineError):  # it may end by itself, or the daemon may, at any moment of this
            if self._frozen:
                await self.thaw()
            if grace > 0:
                await self._signal("SIGTERM", grace)
            if not self._ended.is_set():
                await self._signal("SIGKILL", KILLED)

    async def _signal(self, name: str, seconds: float) -> None:
        await self._client.call("POST", f"{self._path}/kill", signal=name)
        with anyio.move_on_after(seconds):
            await self._ended.wait()

    async def _conclude(self, *, remove: bool) -> Exit:
        """The cause of the end is read, and the container removed, once, however many ask."""
        with anyio.CancelScope(shield=True):
            async with self._concluding:
                ended = self._exit or await self._read_exit()
                self._exit = ended
                if self._pipes is not None:  # what it said last on stderr comes by another way than its stdout's end
                    with anyio.move_on_after(LAST_WORDS):
                        await self._attachment.over.wait()
                if remove and not self.gone:
                    self.gone = True
                    self._let_go()
                    await self._remove()
        return ended

    async def _read_exit(self) -> Exit:
        try:
            return self._cause((await self._client.call("GET", f"{self._path}/json"))["State"])
        except EngineError:
            return Exit("lost")

    async def _remove(self) -> None:
        with suppress(EngineError):  # the daemon is gone, or somebody was faster; what is left is for reap()
            await self._client.call("DELETE", self._path, **REMOVED)
        self._removed()

    def _cause(self, state: Mapping[str, Any]) -> Exit:
        code = state["ExitCode"]
        if self._asked is not None:
            return Exit("limit", code, self._asked) if self._asked else Exit("killed", code)
        if state.get("OOMKilled") and code:
            return Exit("oom", code)
        return Exit("killed" if code in _SIGNALS else "exited", code)

    def _on_end(self) -> None:
        self._ended.set()
        if self._pipes is not None:
            self._pipes.release()

    def _let_go(self) -> None:
        self._on_end()
        if self._pipes is not None:
            self._pipes.close()
        self._meter.close()
        self._attachment.close()


def _once_readable(sock: socket.socket, call: Callable[[], None]) -> None:
    """Calls when sock becomes readable, and closes it."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        loop.remove_reader(sock)
        sock.close()
        call()

    sock.setblocking(False)
    loop.add_reader(sock, readable)
