"""A request without an answer: who waits for it, until when, and what it has cost so far."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkhead.credentials.leases import Lease
    from bulkhead.engines.base import Usage
    from bulkhead.policy.verdict import Context
    from bulkhead.telemetry import Call
    from bulkhead.wire.messages import Request
    from bulkhead.wire.session import Session

# Seconds that a call may wait for a person's answer beyond its own deadline.
PATIENCE = 600.0
_PERSON = frozenset({"elicitation/create", "sampling/createMessage"})


@dataclass(slots=True)
class Pending:
    """deadline is in time.monotonic() seconds. refused: what its server wanted to reach meanwhile, and might not.

    reached: the hosts that it did reach. leases: the secrets that it may use. notes: what guards found and no record
    says yet. allowed: the digest of the call that a person allowed. judged: it was compared with the calls before it.
    """

    request: Request
    trace: Call
    context: Context
    deadline: float = math.inf
    before: Usage | None = None
    waited: float = 0.0
    refused: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    leases: tuple[Lease, ...] = ()
    notes: list[str] = field(default_factory=list)
    allowed: str = ""
    judged: bool = False

    def left(self) -> None:
        """It is not in flight any more."""
        for lease in self.leases:
            lease.close(self.trace)


def overdue(session: Session[Pending], tick: float) -> bool:
    """Whether a deadline has passed; asked every tick seconds.

    Deadlines stand still while the server waits for the person, but not for ever: it could ask to gain time.
    """
    asks = any(entry.request.method in _PERSON for entry in session.server.pending.values())
    for entry in session.host.pending.values():
        if asks and entry.waited < PATIENCE:
            entry.deadline += tick
            entry.waited += tick
        elif entry.deadline < time.monotonic():
            return True
    return False


def postpone(session: Session[Pending], seconds: float) -> None:
    """The first answer has come: from now on the deadline of a call holds, for what was asked before it too."""
    for entry in session.host.pending.values():
        if entry.deadline < math.inf:
            entry.deadline = time.monotonic() + seconds
