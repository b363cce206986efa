"""Which of a name's addresses may be dialled, and dialling exactly one of those.

Rules: an address is vetted, and then dialled as the number that it is: no name is resolved twice, so one that answers
differently the second time (DNS rebinding) gains nothing. This machine's own addresses are refused like private ones,
public or not: what listens there believes that it is asked by a neighbour.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

from bulkhead.egress.addresses import vet
from bulkhead.errors import DeniedError, UnenforceableError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Nobody's: reserved, and the discard prefix. Where they can be bound, the kernel was told to let anything be bound.
_NOBODYS = ("240.0.0.1", "100::1")
_NOT_OWN = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def require_own_known() -> None:
    """Raises UnenforceableError where the machine cannot tell its own addresses from others'."""
    if any(is_own(address) for address in _NOBODYS):
        raise UnenforceableError(
            "this machine's own addresses cannot be told from others",
            why="net.ipv4.ip_nonlocal_bind or net.ipv6.ip_nonlocal_bind is on",
            hint="turn it off, or run where it is off: each network namespace has its own",
        )


def is_own(address: str) -> bool:
    """Whether packets to the address stay on this machine: only such an address can be bound.

    All of 127/8, every interface's addresses, bridges' included, broadcasts, and local routes.
    """
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        if error.errno in _NOT_OWN:
            return False
        raise
    return True


def vetted(addresses: Sequence[str], *, private: bool) -> list[str]:
    """Those that may be dialled. Raises DeniedError if none may: "forbidden" "own" or "private", as for the first."""
    refusals = [(address, _refusal(address, private=private)) for address in addresses]
    allowed = [address for address, (reason, _) in refusals if not reason]
    if not allowed:
        address, (reason, kind) = refusals[0]
        raise DeniedError(f"{address} is {kind}", reason=reason)
    return allowed


def _refusal(address: str, *, private: bool) -> tuple[str, str]:
    """Reason and kind of address; two empty texts if it may be dialled."""
    kind = vet(address, private=False)
    if kind and vet(address, private=True):
        return "forbidden", kind
    if private:
        return "", ""
    if is_own(address):
        return "own", "this machine's own"
    return ("private", kind) if kind else ("", "")


async def dial(addresses: Sequence[str], port: int, seconds: float) -> tuple[socket.socket, str]:
    """A connection that does not block, and its address: the first one that takes it within its share of the time.

    Raises the last one's OSError, which is TimeoutError if it did not answer.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    failure = OSError("there is no address")
    for index, address in enumerate(addresses):
        try:
            async with asyncio.timeout((end - loop.time()) / (len(addresses) - index)):
                return await _connected(loop, address, port), address
        except OSError as error:
            failure = error
    raise failure


async def _connected(loop: asyncio.AbstractEventLoop, address: str, port: int) -> socket.socket:
    outside = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        outside.setblocking(False)
        outside.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # For a server on this machine Linux has the answer at once, and a second connect() tells it: that saves a turn
        # of the loop, which is 0.2 ms.
        code = outside.connect_ex((address, port)) and outside.connect_ex((address, port))
        if code == errno.EALREADY:
            await loop.sock_connect(outside, (address, port))
        elif code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        outside.close()
        raise
    return outside


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
