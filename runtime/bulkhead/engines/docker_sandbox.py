"""One container's life: created, attached, waited for, started, ended, and removed. Rules:

- attached, and waited for, before it is started: no byte and no exit can be missed.
- removed by us, not by AutoRemove: the cause of the end is read from the ended container.
- on any failure of start_container() nothing is left behind.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from bulkhead.engines.base import Exit
from bulkhead.engines.docker_api import remove_container
from bulkhead.engines.docker_plan import container_config, refuse_image
from bulkhead.engines.docker_stream import Attachment
from bulkhead.engines.docker_usage import Meter
from bulkhead.errors import EngineError, UnenforceableError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from anyio.abc import ByteReceiveStream, ByteSendStream

    from bulkhead.engines.base import Usage
    from bulkhead.engines.docker_api import Api
    from bulkhead.engines.hardening import Plan

KILLED = 5.0  # seconds that a container may take to end after SIGKILL
_STDIO = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
_SIGNALS = {128 + number for number in signal.Signals}


class Started(NamedTuple):
    """A running container: its id, its init's pid as the daemon sees it, and two sockets that are ours to close."""

    id: str
    pid: int
    stdio: socket.socket
    ended: socket.socket


class DockerSandbox:
    """Removed once it has ended and wait() or stop() was awaited; a build by stop() alone: its files are the result."""

    def __init__(self, api: Api, plan: Plan, started: Started) -> None:
        self.id = plan.id
        self.gone = False
        self._api = api
        self._container = started.id
        self._attachment = Attachment(started.stdio)
        self.stdin: ByteSendStream = self._attachment.stdin
        self.stdout: ByteReceiveStream = self._attachment.stdout
        self.stderr: ByteReceiveStream = self._attachment.stderr
        self._meter = Meter(api, started.id, started.pid, [tmpfs.target for tmpfs in plan.tmpfs])
        self._exit: Exit | None = None
        self._asked: str | None = None  # None: nobody stopped it. Otherwise the limit for which we did, or "".
        self._frozen = False
        self._kept = plan.network == "build"  # its file system is the result: see images.commit()
        self._concluding = anyio.Lock()
        self._ended = anyio.Event()
        _once_readable(started.ended, self._ended)

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
        await self._api.call(lambda client: client.pause(self._container))
        self._frozen = True

    async def thaw(self) -> None:
        await self._api.call(lambda client: client.unpause(self._container))
        self._frozen = False

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
        await self._api.call(lambda client: client.kill(self._container, name))
        with anyio.move_on_after(seconds):
            await self._ended.wait()

    async def _conclude(self, *, remove: bool) -> Exit:
        """The cause of the end is read, and the container removed, once, however many ask."""
        with anyio.CancelScope(shield=True):
            async with self._concluding:
                ended = self._exit or await self._read_exit()
                self._exit = ended
                if remove and not self.gone:
                    self.gone = True
                    self._let_go()
                    await self._remove()
        return ended

    async def _read_exit(self) -> Exit:
        try:
            return self._cause(await self._api.call(lambda client: client.inspect_container(self._container)["State"]))
        except EngineError:
            return Exit("lost")

    async def _remove(self) -> None:
        with suppress(EngineError):  # the daemon is gone, or somebody was faster; what is left is for reap()
            await self._api.call(partial(remove_container, container=self._container))

    def _cause(self, state: Mapping[str, Any]) -> Exit:
        code = state["ExitCode"]
        if self._asked is not None:
            return Exit("limit", code, self._asked) if self._asked else Exit("killed", code)
        if state.get("OOMKilled") and code:
            return Exit("oom", code)
        return Exit("killed" if code in _SIGNALS else "exited", code)

    def _let_go(self) -> None:
        self._ended.set()
        self._meter.close()
        self._attachment.close()


def start_container(client: Any, plan: Plan, labels: Mapping[str, str]) -> Started:
    """Blocks until plan's container runs. Raises UnenforceableError, or what the SDK raises, with nothing left."""
    refuse_image(plan, client.inspect_image(plan.image).get("Config"))
    created = client.create_container_from_config(container_config(plan, labels), f"bulkhead-{plan.id}")
    container = str(created["Id"])
    sockets: list[socket.socket] = []
    try:
        _refuse_warnings(created.get("Warnings") or ())
        sockets.append(_own(client.attach_socket(container, params=dict(_STDIO))))
        sockets.append(_exit_socket(client, container))
        client.start(container)
        pid = client.inspect_container(container)["State"]["Pid"]
    except BaseException:
        for sock in sockets:
            sock.close()
        remove_container(client, container)
        raise
    return Started(container, pid, *sockets)


def _refuse_warnings(warnings: Mapping[str, Any] | list[str] | tuple[()]) -> None:
    """Docker warns where it leaves out a limit that the kernel does not have, and goes on."""
    if warnings:
        raise UnenforceableError("the engine cannot enforce all of the sandbox", why="; ".join(warnings))


def _exit_socket(client: Any, container: str) -> socket.socket:
    """Becomes readable when the container ends: the answer to a wait whose head the daemon sends at once."""
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/wait"
    answer = client.post(url, params={"condition": "next-exit"}, stream=True, timeout=client.timeout)
    return _own(client._get_raw_response_socket(answer))


def _own(raw: Any) -> socket.socket:
    """A socket of our own in place of the one inside an answer of the SDK, which is closed with its connection."""
    sock: socket.socket = raw._sock.dup()
    raw._response.close()
    return sock


def _once_readable(sock: socket.socket, event: anyio.Event) -> None:
    """Sets event when sock becomes readable, and closes it."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        loop.remove_reader(sock)
        sock.close()
        event.set()

    sock.setblocking(False)
    loop.add_reader(sock, readable)
