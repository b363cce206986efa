"""Starts a gate, and takes what it offers: its sockets where it could hand them over, else its stdio."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from bulkhead.egress import beginning
from bulkhead.egress.caught import Catch
from bulkhead.engines.hardening import own_user
from bulkhead.errors import StartError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from anyio.abc import ByteReceiveStream

    from bulkhead.egress.beginning import BegunGate
    from bulkhead.egress.caught import Answer, Caught
    from bulkhead.engines.base import Engine, Sandbox

READY = 10.0  # seconds; it takes 40 ms
_LINE = 4096


class Gate:
    """A gate that is READY. mode is ``fds`` or ``mux``."""

    def __init__(self, sandbox: Sandbox, mode: str, sockets: Sequence[socket.socket], first: bytes, most: int) -> None:
        self.id = sandbox.id
        self.containers = sandbox.containers
        self.mode = mode
        self._sandbox = sandbox
        self._sockets = sockets
        self._first = first
        self._most = most

    async def serve(self, on_connection: Callable[[Caught], None], answer: Answer) -> str:
        """Passes on what is caught until the gate has ended; its last words.

        on_connection takes a connection over, its end too, and returns at once; it may be called as long as this runs.
        """
        async with anyio.create_task_group() as tasks:
            catch = Catch(tasks, on_connection, answer, self._most)
            try:
                await self._carry(catch)
            finally:
                tasks.cancel_scope.cancel()
        await self.close()
        return await _last_words(self._sandbox.stderr)

    async def close(self) -> None:
        """Ends it, and so serve()."""
        for sock in self._sockets:
            sock.close()
        await self._sandbox.stop(0)

    async def _carry(self, catch: Catch) -> None:
        if self.mode == "mux":
            from bulkhead.egress.mux import carry  # noqa: PLC0415 - one of both is needed, and start-up time counts

            await carry(self._sandbox.stdin, self._sandbox.stdout, self._first, catch)
            return
        from bulkhead.egress.fds import accepting  # noqa: PLC0415

        sockets, self._sockets = self._sockets, ()
        with accepting(sockets, catch), suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                await self._sandbox.stdout.receive()


async def open_gate(engine: Engine, **of: Any) -> Gate:
    """begin_gate(), with what it takes, in a thread; and finish_gate()."""
    begun = await anyio.to_thread.run_sync(partial(beginning.begin_gate, engine, **of))
    return await finish_gate(engine, begun)


async def finish_gate(engine: Engine, begun: BegunGate) -> Gate:
    """The gate, once it is READY. Raises StartError and EngineError, with nothing left."""
    sandbox = engine.adopt(begun.plan, begun.started)
    with begun.closing:
        try:
            mode, first = await _ready(sandbox)
            sockets: Sequence[socket.socket] = ()
            if mode == "fds" and begun.listener is not None:
                from bulkhead.egress.fds import take  # noqa: PLC0415 - one of both is needed, and start-up time counts

                sockets = take(begun.listener, own_user(begun.plan.id)[0], begun.ports)
        except BaseException:
            await sandbox.stop(0)
            raise
        return Gate(sandbox, mode, sockets, first, begun.connections)


async def _ready(sandbox: Sandbox) -> tuple[str, bytes]:
    """The mode, and the bytes behind the line that names it."""
    said = b""
    with anyio.move_on_after(READY):
        with suppress(anyio.EndOfStream):
            while b"\n" not in said and len(said) < _LINE:
                said += await sandbox.stdout.receive()
        line, _, rest = said.partition(b"\n")
        if line in (b"READY fds", b"READY mux"):
            return line[6:].decode(), rest
        raise StartError("the gate did not start", why=await _last_words(sandbox.stderr))
    raise StartError("the gate did not start", why=f"it was not ready within {READY:.0f} s")


async def _last_words(stderr: ByteReceiveStream) -> str:
    """The last line that the gate said, once it has ended."""
    said = b""
    with suppress(anyio.EndOfStream, anyio.ClosedResourceError):
        while True:
            said = (said + await stderr.receive())[-_LINE:]
    return (said.decode(errors="replace").strip().splitlines() or ["it ended without a word"])[-1]
