"""A WebSocket server that sends back what comes: plain on port 80, behind TLS on 443.

Not the package's threaded one, nor its threaded client: with TLS both read and write one connection in two threads, and
with Python 3.11 one handshake in a hundred is lost, gate or no gate.
"""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from websockets.asyncio.server import serve

from tests.clients.box import MEGABYTE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import trustme
    from websockets.asyncio.server import ServerConnection

    from tests.clients.box import Place


@dataclass(frozen=True)
class Sockets:
    """arrived: the lengths of the messages that came."""

    place: Place
    arrived: list[int] = field(default_factory=list)


@asynccontextmanager
async def serving(place: Place, authority: trustme.CA) -> AsyncIterator[Sockets]:
    """Until then."""
    sockets = Sockets(place)

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            sockets.arrived.append(len(message))
            await connection.send(message)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(place.name).configure_cert(context)
    async with AsyncExitStack() as closing:
        for port, tls in zip(place.ports, (None, context), strict=True):
            await closing.enter_async_context(serve(echo, place.address, port, ssl=tls, max_size=64 * MEGABYTE))
        yield sockets
