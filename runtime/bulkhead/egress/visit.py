"""One caught connection from its first moment to its end: what is known of it, what is open for it, how both end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import TYPE_CHECKING, Literal, Protocol

from bulkhead.egress import addresses
from bulkhead.egress.connection import Connection
from bulkhead.errors import DeniedError

if TYPE_CHECKING:
    import asyncio
    from socket import socket

    from bulkhead.egress.caught import Caught
    from bulkhead.egress.pump import Pump
    from bulkhead.errors import BulkheadError
    from bulkhead.spec import EgressRule

_RESET = pack("ii", 1, 0)  # lingering for no time: close() sends a reset


class Way(Protocol):
    """One direction. count: bytes passed on."""

    count: int


@dataclass(slots=True, eq=False)
class Visit:
    """address: where the program went. scope: its expiry ends the visit. clean: neither side sees a reset.

    ways: to the other side, and to the program.
    """

    caught: Caught
    scope: asyncio.Timeout
    address: str = field(init=False)
    begun_ns: int = field(default_factory=time.time_ns)
    opened_ns: int = 0
    name: str = ""
    rule: EgressRule | None = None
    decision: Literal["allow", "deny"] = "deny"
    reason: str = ""
    detail: str = ""
    dialled: str = ""
    outside: socket | None = None
    pump: Pump | None = None
    ways: tuple[Way, Way] | None = None
    clean: bool = False

    def __post_init__(self) -> None:
        self.address = self.caught.address
        if ":" in self.address:  # a listener of both families shows IPv4 as ::ffff:198.18.0.1
            self.address = str(addresses.parse(self.address) or self.address)

    def note(self, error: BulkheadError) -> None:
        """Takes over why it ends."""
        self.reason, self.detail = error.reason, error.what
        if isinstance(error, DeniedError):
            self.decision = "deny"

    def end(self) -> None:
        """Closes both sides."""
        if self.pump is not None:
            self.pump.stop()
        if self.clean:
            self.caught.close()
        else:
            self.caught.abort()
        if self.outside is not None:
            if not self.clean:
                self.outside.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
            self.outside.close()

    def told(self, ended_ns: int, untold: int = 0) -> Connection:
        """ended_ns: 0 while it goes on."""
        rule = self.rule
        return Connection(
            name=self.name,
            address=self.address,
            port=self.caught.port,
            begun_ns=self.begun_ns,
            decision=self.decision,
            rule="" if rule is None else f"{rule.host}:{','.join(map(str, rule.ports))}",
            reason=self.reason,
            detail=self.detail,
            dialled=self.dialled,
            sent=self.ways[0].count if self.ways is not None else 0,
            received=self.ways[1].count if self.ways is not None else 0,
            opened_ns=self.opened_ns,
            ended_ns=ended_ns,
            untold=untold,
        )
