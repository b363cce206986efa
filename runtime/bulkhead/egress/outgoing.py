"""What a host is sent: the program's requests, with secrets where their placeholders stood. PURE.

Rules: a request that could be for another host, or be read in two ways, is refused; so is one with a placeholder that
may not be replaced, wherever it stands. What was put in is known until the answer's end, so that it can be taken out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11

from bulkhead.egress.heads import Head, require_plain, require_plain_trailers
from bulkhead.egress.redact import Redactor
from bulkhead.egress.substitute import Placeholders, Substitution
from bulkhead.egress.watch import Watch
from bulkhead.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.egress.injectable import Injectable


class Outgoing:
    """The requests of one connection. method: the last one's; redactor: for its answer, None if nothing was put in."""

    def __init__(self, name: str, port: int, injectables: Sequence[Injectable]) -> None:
        self.method = b""
        self.redactor: Redactor | None = None
        self._name, self._port = name, port
        self._placeholders = Placeholders(injectables)
        self._watch = Watch(injectables, name, "was in the body of a request")

    def for_host(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> h11.Event:
        """What becomes of a part of a request. Raises DeniedError, as Substitution and Watch do, or for "host"."""
        match event:
            case h11.Request():
                return self._request(event)
            case h11.Data():
                self.look(bytes(event.data))
            case h11.EndOfMessage():
                trailers = event.headers.raw_items()
                require_plain_trailers(trailers)
                self.look(b"\n".join(text for field in trailers for text in field))
        return event

    def look(self, data: bytes) -> None:
        """Raises DeniedError for a placeholder in a body, or in what follows an Upgrade."""
        self._watch.look(data)

    def _request(self, asked: h11.Request) -> h11.Request:
        self.method = asked.method
        head = Head(asked.method, asked.target, tuple(asked.headers.raw_items()))
        require_plain(head, self._name, self._port)
        put = Substitution(head, self._placeholders, self._name)
        self.redactor = Redactor(put.values, put.encoded) if put.values else None
        fields = list(put.head.fields)
        if asked.http_version < b"1.1":  # it is written as 1.1, which would keep the connection
            fields.append((b"Connection", b"close"))
        try:
            return h11.Request(method=asked.method, target=put.head.target, headers=fields)
        except h11.LocalProtocolError:  # its text has the field's value
            raise DeniedError("a secret's value cannot stand in a request", reason="secret") from None
