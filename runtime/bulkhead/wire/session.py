"""The ids of one session, both ways, and the era that the host speaks.

Rules: an id that is in flight cannot be asked again, nor one that was cancelled and may still be answered; an answer
goes to the one request that asked for it, once; the answer to a cancelled request is dropped without a word (MCP: none
should follow). The legacy handshake is kept, so that
a server which died can be given it again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from bulkhead.wire.messages import Answer, Id, Malformed, Notification, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

# Ids of our own requests to a server; a host that uses this prefix is refused.
OWN_PREFIX = "bulkhead/"
# Where a modern request says its version, in params._meta.
PROTOCOL_KEY = "io.modelcontextprotocol/protocolVersion"
# And what it can do.
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
_REMEMBERED = 1024
_MAX_ASKED = 64

# Requests that are answered when the listener leaves, or when a task ends: no deadline holds for them.
LASTING = frozenset({"subscriptions/listen", "tasks/result"})


class Ids(Generic[T]):
    """The requests of one direction that wait for their answer, each with what belongs to it."""

    def __init__(self, most: int | None = None, left: Callable[[T], None] = lambda _: None) -> None:
        """left is called with what belongs to a request that is not in flight any more, whyever."""
        self.pending: dict[Id, T] = {}
        self._left = left
        self._cancelled: OrderedDict[Id, None] = OrderedDict()
        self._most = most

    def ask(self, request: Request, entry: T) -> None:
        """Raises Malformed if the id is in flight or cancelled already, or if too many are in flight."""
        if request.id in self.pending:
            raise Malformed(f"id {_shown(request.id)} is in flight already")
        if request.id in self._cancelled:
            raise Malformed(f"id {_shown(request.id)} was cancelled and may still be answered")
        if self._most is not None and len(self.pending) >= self._most:
            raise Malformed(f"more than {self._most} requests without an answer")
        self.pending[request.id] = entry

    def answer(self, answer: Answer) -> T | None:
        """What belongs to the request; None where it was cancelled. Raises Malformed if nobody asked."""
        if answer.id in self.pending:
            return self.drop(answer.id)
        if answer.id in self._cancelled:
            del self._cancelled[answer.id]
            return None
        raise Malformed(f"an answer to id {_shown(answer.id)}, which was not asked or is answered already")

    def cancel(self, note: Notification) -> T | None:
        """What belongs to the request that a notifications/cancelled names, if it is still in flight."""
        request_id = note.params.get("requestId")
        if type(request_id) not in (str, int) or request_id not in self.pending:
            return None
        self._cancelled[request_id] = None
        while len(self._cancelled) > _REMEMBERED:
            self._cancelled.popitem(last=False)
        return self.drop(request_id)

    def drop(self, request_id: Id) -> T | None:
        """What belonged to a request that nobody waits for any more."""
        entry = self.pending.pop(request_id, None)
        if entry is not None:
            self._left(entry)
        return entry

    def end(self, reached: Callable[[T], bool] = lambda _: True) -> list[T]:
        """What belongs to all that reached the server: it has ended, and answers nothing of before any more."""
        ended = [request_id for request_id, entry in self.pending.items() if reached(entry)]
        entries = [entry for request_id in ended if (entry := self.drop(request_id)) is not None]
        self._cancelled.clear()
        return entries

    def matching(self, texts: Iterable[str]) -> Id | None:
        """The one id in flight that a malformed answer's candidates name; None if none or several do."""
        wanted = set(texts)
        found = [request_id for request_id in self.pending if str(request_id) in wanted]
        return found[0] if len(found) == 1 else None


class Session(Generic[T]):
    """One host's session: what the host asked, what the server asked, and the handshake."""

    def __init__(self, left: Callable[[T], None] = lambda _: None) -> None:
        self.host: Ids[T] = Ids(left=left)
        self.server: Ids[T] = Ids(_MAX_ASKED)
        self.era: Literal["", "legacy", "modern"] = ""
        self.initialize: Request | None = None
        self.initialized: Notification | None = None

    def note(self, message: Request | Notification) -> None:
        """Learns the era, and the handshake of a legacy host."""
        if type(message) is Request and message.method == "initialize":
            self.era, self.initialize = "legacy", message
        elif message.method == "notifications/initialized" and type(message) is Notification:
            self.initialized = message
        elif not self.era and message.method != "server/discover":
            self.era = "modern"


def _shown(request_id: Id) -> str:
    return f"{request_id!r:.80}"
