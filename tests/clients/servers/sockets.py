"""A WebSocket server that sends back what comes: plain on port 80, behind TLS on 443."""

from __future__ import annotations

import ssl
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from websockets.sync.server import serve

from tests.clients.box import MEGABYTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme
    from websockets.sync.server import ServerConnection

    from tests.clients.box import Place


@dataclass(frozen=True)
class Sockets:
    """arrived: the lengths of the messages that came."""

    place: Place
    arrived: list[int] = field(default_factory=list)


@contextmanager
def serving(place: Place, authority: trustme.CA) -> Iterator[Sockets]:
    """Until then."""
    sockets = Sockets(place)

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            sockets.arrived.append(len(message))
            connection.send(message)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(place.name).configure_cert(context)
    with ExitStack() as closing:
        for port, tls in zip(place.ports, (None, context), strict=True):
            server = closing.enter_context(serve(echo, place.address, port, ssl=tls, max_size=64 * MEGABYTE))
            closing.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        yield sockets
