"""A guest behind a gate. All of it is the real thing but the machine's resolver, whose answers a test gives."""

from __future__ import annotations

import inspect
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkhead.egress.beginning import MOST
from bulkhead.egress.network import Gated, Network
from bulkhead.egress.opening import open_gate
from bulkhead.egress.proxy import EgressProxy
from bulkhead.launch import prepare
from bulkhead.resources import seccomp_profile
from bulkhead.spec import EgressRule, Server, ServerSpec
from tests.conftest import until
from tests.security import inside, outward
from tests.security.guest import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bulkhead.egress.connection import Connection
    from tests.security.guest import Guest, Inn

PATIENCE = 20.0


@dataclass
class Resolver:
    """The machine's: the addresses of names, and whom it was asked for. It is the only one that asks outside."""

    addresses: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        return self.addresses.get(name, [])


@dataclass
class Room:
    """A guest and what was told of its connections, in the order of their ends."""

    guest: Guest
    told: list[Connection]
    resolver: Resolver
    mode: str

    def address_of(self, name: str) -> str:
        """What the sandbox's DNS has for it."""
        return self.guest.ask(inside.resolved, name)

    def reported(self, count: int) -> list[Connection]:
        """The count that were told last, when so many were; they are taken away."""
        until(lambda: len(self.told) >= count, PATIENCE)
        found, self.told[:] = list(self.told), []
        assert len(found) == count, found
        return found


@contextmanager
def room(inn: Inn, rules: Sequence[EgressRule], *, mode: str = "fds", name: str = "egress") -> Iterator[Room]:
    """A guest whose profile has these rules."""
    program = inspect.getsource(outward) + "\n" + inspect.getsource(inside)
    server = Server(image=PYTHON, command=("python3", "-I", "-c", program))
    spec = ServerSpec(name=name, server=server, egress=tuple(rules))
    told: list[Connection] = []
    resolver = Resolver()
    gated, mode_had = inn.portal.call(_opened, inn, spec, mode, resolver, told)
    assert mode_had == mode
    carrying = inn.portal.start_task_soon(gated.carry)
    try:
        yield Room(inn.known(gated), told, resolver, mode)
    finally:
        inn.portal.call(gated.stop, 0)
        carrying.result(PATIENCE)


async def _opened(
    inn: Inn, spec: ServerSpec, mode: str, resolver: Resolver, told: list[Connection]
) -> tuple[Gated, str]:
    launch = await prepare(spec, inn.engine, seccomp_profile=seccomp_profile("default"), state=inn.state, say=print)
    assert launch.gate is not None
    sandbox_id = f"{spec.name}-{secrets.token_hex(4)}"
    journal = _Told(told)
    proxy = EgressProxy(spec.egress, report=journal.report, lookup=resolver)
    gate = await open_gate(
        inn.engine,
        gate_id=f"gate-{sandbox_id}",
        server=spec.name,
        image_digest=launch.gate.digest,
        seccomp=launch.seccomp,
        ports=proxy.ports,
        connections=MOST,
        state=inn.state,
        share=mode == "fds",
    )
    network = Network(gate, proxy, journal)
    return Gated(await inn.engine.start(launch.plan(sandbox_id, gate.id)), network), gate.mode


class _Told:
    """A Journal of each connection, and of each refused name once."""

    def __init__(self, told: list[Connection]) -> None:
        self._told = told

    def begun(self) -> Callable[[Connection], None]:
        return self._told.append

    def report(self, connection: Connection) -> None:
        if not connection.again:
            self._told.append(connection)
