"""What a guard sees and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkhead.errors import BulkheadError
    from bulkhead.spec import ServerSpec
    from bulkhead.wire.messages import Message


class Context(NamedTuple):
    """What a guard may know besides the message. method and tool are the request's, for its answer too.

    recent: tool calls of the last 60 s. in_flight: tool calls without an answer; both without this one. refused: what
    the server wanted to reach during the call, and might not: "HOST:PORT", or "HOST".
    """

    spec: ServerSpec
    method: str
    tool: str = ""
    recent: int = 0
    in_flight: int = 0
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing against it."""


@dataclass(frozen=True, slots=True)
class Deny:
    """It goes no further; error is what the asker gets."""

    error: BulkheadError


Verdict: TypeAlias = Allow | Deny
Guard: TypeAlias = "Callable[[Message, Context], Verdict]"
ALLOW = Allow()
