"""A network's connections end with it, however it ends."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import pytest

from bulkhead.egress.caught import Caught
from bulkhead.egress.network import Network
from bulkhead.egress.proxy import EgressProxy
from bulkhead.spec import EgressRule

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkhead.egress.connection import Connection
    from bulkhead.egress.opening import Gate

RULES = (EgressRule("example.com", (443,)),)
QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000") + b"\x07example\x03com\0\0\1\0\1"


@pytest.fixture
def anyio_backend() -> str:
    """The egress proxy is asyncio's."""
    return "asyncio"


class _Journal:
    def __init__(self) -> None:
        self.told: list[Connection] = []

    def begun(self) -> Callable[[Connection], None]:
        return self.told.append

    def report(self, connection: Connection) -> None:
        self.told.append(connection)


class _Gate:
    """Catches one connection, which says nothing, and then ends or goes on."""

    id = "gate-test"

    def __init__(self, caught: Caught, *, turns: int, ends: bool) -> None:
        self._caught, self._turns, self._ends = caught, turns, ends
        self.caught = anyio.Event()

    async def serve(self, on_connection: Callable[[Caught], None], _answer: Any) -> str:
        on_connection(self._caught)
        for _ in range(self._turns):
            await anyio.lowlevel.checkpoint()
        self.caught.set()
        if not self._ends:
            await anyio.sleep_forever()
        return ""


@pytest.mark.anyio
@pytest.mark.parametrize("turns", [0, 3])
@pytest.mark.parametrize("ends", [True, False])
async def test_a_connection_ends_with_its_network(turns: int, ends: bool) -> None:
    """Even one whose judging had not begun: it is told once, and ended once."""
    outer, inner = socket.socketpair()
    inner.setblocking(False)
    ended: list[bool] = []
    journal = _Journal()
    proxy = EgressProxy(RULES, report=journal.report)
    address = socket.inet_ntoa((proxy.answer(QUERY) or b"")[-4:])
    caught = Caught(inner, address, 443, "198.18.0.9", lambda _, aborted: ended.append(aborted))
    gate = _Gate(caught, turns=turns, ends=ends)
    network = Network(cast("Gate", gate), proxy, journal)
    with outer, inner, anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(network.serve)
            await gate.caught.wait()
            if not ends:
                tasks.cancel_scope.cancel()
    assert ended == [True]
    assert [connection.reason for connection in journal.told] == ["closed"]
