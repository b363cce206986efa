"""What a guard sees and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from bulkhead.errors import BulkheadError
    from bulkhead.policy.leaks import Needles
    from bulkhead.spec import ServerSpec
    from bulkhead.wire.messages import Message


class Context(NamedTuple):
    """What a guard may know besides the message. method and tool are the request's, for its answer too.

    recent: tool calls of the last 60 s. in_flight: tool calls without an answer; both without this one. refused: what
    the server wanted to reach during the call, and might not: "HOST:PORT", or "HOST". schema: the JSON Schema of the
    pinned tool's arguments, None where none is pinned. user: whose session it is. nonce: unlike that of any other call.
    needles: the values of this session's secrets. done: what became of the effects that a guard asked for.
    """

    spec: ServerSpec
    method: str
    tool: str = ""
    recent: int = 0
    in_flight: int = 0
    refused: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    user: str = ""
    nonce: str = ""
    needles: Needles | None = None
    done: frozenset[Effect] = frozenset()


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing against it. notes: what the record and the span say of it."""

    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Another message goes on in its place. notes: one a change."""

    message: Message
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """It goes no further; error is what the asker gets."""

    error: BulkheadError


@dataclass(frozen=True, slots=True)
class Ask:
    """The person decides. why: what made it a question, as "tools.approve of the profile names it"."""

    why: str


@dataclass(frozen=True, slots=True)
class Show:
    """A screen reads what goes to the model. documents are texts of a result; of a request its arguments."""

    documents: tuple[str, ...] = field(repr=False)


Effect: TypeAlias = Ask | Show


@dataclass(frozen=True, slots=True)
class Hold:
    """It waits until effect was performed; then the guards are asked again, with the effect in Context.done."""

    effect: Effect
    notes: tuple[str, ...] = ()


Verdict: TypeAlias = Allow | Rewrite | Deny | Hold
Guard: TypeAlias = "Callable[[Message, Context], Verdict]"
ALLOW = Allow()
