"""A sandbox's way out for as long as it lives: the gate that catches, and the proxy that judges, joined to one."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Protocol

import anyio
import anyio.to_thread

from bulkhead.egress.beginning import begin_for
from bulkhead.egress.opening import finish_gate
from bulkhead.egress.proxy import EgressProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from anyio.abc import ByteReceiveStream, ByteSendStream

    from bulkhead.egress.authority import Authority
    from bulkhead.egress.beginning import BegunGate
    from bulkhead.egress.caught import Caught
    from bulkhead.egress.connection import Connection
    from bulkhead.egress.injectable import Injectable
    from bulkhead.egress.opening import Gate
    from bulkhead.engines.base import Engine, Exit, Sandbox, Usage
    from bulkhead.spec import EgressRule


class Journal(Protocol):
    """Who is told of connections. Neither waits nor raises."""

    def begun(self) -> Callable[[Connection], None]:
        """A connection was caught; what is returned takes it at its end."""

    def report(self, connection: Connection) -> None:
        """A refused name."""


class Network:
    """An open gate with its proxy. id is the gate's, which a Plan joins."""

    def __init__(self, gate: Gate, proxy: EgressProxy, journal: Journal) -> None:
        self.id = gate.id
        self._gate = gate
        self._proxy = proxy
        self._journal = journal
        self._visits: set[asyncio.Task[None]] = set()

    @property
    def containers(self) -> tuple[str, ...]:
        """The gate's, see engines.base.Sandbox."""
        return self._gate.containers

    async def serve(self) -> None:
        """Until the gate has ended."""
        try:
            await self._gate.serve(self._judge, self._proxy.answer)
        finally:
            self._proxy.close()
            with anyio.CancelScope(shield=True):
                await asyncio.gather(*self._visits)  # they end soon, and each ends its connection

    async def close(self) -> None:
        """Ends the gate, and so serve()."""
        self._proxy.close()
        await self._gate.close()

    def _judge(self, caught: Caught) -> None:
        # In no task group: anyio's takes 0.1 ms longer to start a task, and cancels where the proxy ends what it has.
        visit = asyncio.create_task(self._proxy.handle(caught, self._journal.begun()))
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)


async def open_network(
    rules: tuple[EgressRule, ...],
    engine: Engine,
    *,
    sandbox_id: str,
    server: str,
    image: str,
    seccomp: str,
    state: Path,
    journal: Journal,
) -> Network:
    """A network for the sandbox that will be sandbox_id; image is the gate's digest.

    Raises UnenforceableError where a rule could not be kept, StartError and EngineError, with nothing left.
    """
    begin = partial(begin_for, rules, engine, sandbox_id=sandbox_id, server=server, image=image)
    begun = await anyio.to_thread.run_sync(partial(begin, seccomp=seccomp, state=state))
    return await finish_network(rules, engine, begun, journal)


async def finish_network(
    rules: tuple[EgressRule, ...],
    engine: Engine,
    begun: BegunGate,
    journal: Journal,
    *,
    injectables: Sequence[Injectable] = (),
    authority: Authority | None = None,
) -> Network:
    """open_network(), for a gate that has begun; injectables and authority are EgressProxy's."""
    try:
        proxy = EgressProxy(rules, report=journal.report, injectables=injectables, authority=authority)
    except BaseException:
        begun.discard(engine)
        raise
    return Network(await finish_gate(engine, begun), proxy, journal)


class Gated:
    """A sandbox and its network: they end together. See engines.base.Sandbox."""

    def __init__(self, sandbox: Sandbox, network: Network) -> None:
        self.id = sandbox.id
        self.containers = (*sandbox.containers, *network.containers)
        self.stdin: ByteSendStream = sandbox.stdin
        self.stdout: ByteReceiveStream = sandbox.stdout
        self.stderr: ByteReceiveStream = sandbox.stderr
        self._sandbox = sandbox
        self._network = network

    async def carry(self) -> None:
        """Serves the network; a sandbox whose gate is gone is stopped, for it would wait for ever."""
        await self._network.serve()
        await self._sandbox.stop(0, limit="gate")

    async def wait(self) -> Exit:
        end = await self._sandbox.wait()
        await self._network.close()
        return end

    async def stop(self, grace: float, *, limit: str = "") -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:  # a host gives the runner 2 s, and each takes 0.3 of them
                tasks.start_soon(self._network.close)
                await self._sandbox.stop(grace, limit=limit)

    async def freeze(self) -> None:
        await self._sandbox.freeze()

    async def thaw(self) -> None:
        await self._sandbox.thaw()

    async def usage(self, *, whole: bool = True) -> Usage:
        return await self._sandbox.usage(whole=whole)

    async def write_secret(self, name: str, value: bytes | None) -> None:
        await self._sandbox.write_secret(name, value)

    async def new_peak(self) -> None:
        await self._sandbox.new_peak()
