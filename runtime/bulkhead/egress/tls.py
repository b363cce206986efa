"""TLS over a socket that does not block and belongs to somebody else, who closes it: asyncio's streams close theirs.

Rules: bytes are counted and metered as they go over the wire; no more is read than was asked for, and what is written
has left before more is taken, so a connection holds a piece of each way. Reading and writing may go on at once.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from socket import SHUT_WR
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

    from bulkhead.egress.bounds import Meter
    from bulkhead.egress.caught import Caught
    from bulkhead.egress.clienthello import Hellos

PIECE = 2**16
_RECORD = 2**14


class Tls:
    """One side of a connection.

    count: bytes sent on it. moved: when some went either way last, in the loop's seconds. ragged: its end came without
    TLS's own, as if it had been cut off. whole: nothing is half sent.
    """

    def __init__(self, sock: socket, context: ssl.SSLContext, meter: Meter, name: str | None = None) -> None:
        """name: of the server that is spoken to; None: the other side is the client."""
        self._loop = asyncio.get_running_loop()
        self._sock, self._meter = sock, meter
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=name is None, server_hostname=name)
        self._sending = asyncio.Lock()
        self._caught: Caught | None = None
        self._hellos: Hellos | None = None
        self._ended = False
        self.count = 0
        self.moved = self._loop.time()
        self.ragged = False
        self.whole = True

    def take(self, caught: Caught, hellos: Hellos, first: bytes) -> None:
        """The other side is the program: first was read already; what follows goes through hellos, as it did."""
        self._caught, self._hellos = caught, hellos
        self._incoming.write(first)

    async def handshake(self) -> None:
        """Raises ssl.SSLError (ssl.SSLCertVerificationError for a certificate) or another OSError."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError:
                with suppress(OSError):
                    await self._flush()  # says what is wrong
                raise
            await self._fill()
            if self._ended:
                raise ConnectionResetError("it ended in its handshake")
        await self._flush()

    async def read(self) -> bytes:
        """What has come, at most PIECE; b"" at the end. Raises OSError, or DeniedError for what hellos refuses."""
        while not (data := self._decrypted()) and not self._ended:
            await self._fill()
        return data

    async def write(self, data: bytes | bytearray) -> None:
        """Returns when all is sent. Raises OSError or LimitError."""
        rest = memoryview(data)
        while rest:
            sent = self._tls.write(rest[:PIECE])
            rest = rest[sent:]
            await self._flush()

    async def end(self) -> None:
        """Says that nothing more is written. Reading goes on."""
        with suppress(OSError):  # the other side may be gone
            with suppress(ssl.SSLError):  # it does not wait for the other side to say so too
                self._tls.unwrap()
            await self._flush()
            self._sock.shutdown(SHUT_WR)

    async def drain(self) -> None:
        """Reads all that still comes, and keeps none of it: what is not read makes a reset of the end."""
        while await self._loop.sock_recv(self._sock, PIECE):
            pass

    def _decrypted(self) -> bytes:
        """Up to PIECE of what has come."""
        pieces, size = [], 0
        with suppress(ssl.SSLWantReadError):
            while size < PIECE:
                piece = self._tls.read(_RECORD)
                if not piece:
                    self._ended = True
                    break
                pieces.append(piece)
                size += len(piece)
        return b"".join(pieces)

    async def _fill(self) -> None:
        if self._outgoing.pending:  # an answer of TLS's own to what was read
            await self._flush()
        data = await self._loop.sock_recv(self._sock, PIECE)
        self.moved = self._loop.time()
        if not data:
            if self._caught is not None and self._caught.was_reset:
                raise ConnectionResetError
            # ssl is not told: it would let nothing more be written.
            self._ended = self.ragged = True
        self._incoming.write(data if self._hellos is None else self._hellos.feed(data))

    async def _flush(self) -> None:
        async with self._sending:
            data = self._outgoing.read()
            if not data:
                return
            self._meter.take(len(data))
            self.count += len(data)
            self.whole = False
            await self._loop.sock_sendall(self._sock, data)
            self.whole = True
            self.moved = self._loop.time()
