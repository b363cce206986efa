"""What a program is told: a host's answers without the secrets that were sent to it, and refusals. PURE.

Rules: an answer that cannot be read is refused, since it may hold a secret; one whose end only the connection's end
tells says that the connection ends; a program of HTTP/1.0 gets nothing that it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11

from bulkhead.egress.connection import REASONS
from bulkhead.errors import DeniedError

if TYPE_CHECKING:
    from typing import TypeAlias

    from bulkhead.egress.redact import Redactor
    from bulkhead.errors import BulkheadError

    Answer: TypeAlias = "h11.Response | h11.InformationalResponse"
    Fields: TypeAlias = "list[tuple[bytes, bytes]]"

_STATUS = {"certificate": 502, "encoded": 502, "unreachable": 502, "connect": 504}
_PHRASES = {403: b"Forbidden", 502: b"Bad Gateway", 504: b"Gateway Timeout"}


def for_program(event: h11.Event, redactor: Redactor | None, method: bytes, *, old: bool) -> list[h11.Event]:
    """What becomes of a part of an answer to a request with this method; old: the program speaks HTTP/1.0.

    redactor: None if nothing was put into the request. Raises DeniedError with reason "encoded".
    """
    match event:
        case h11.InformationalResponse() if old:
            return []
        case h11.InformationalResponse() | h11.Response():
            return [_begun(event, redactor, method)]
        case h11.Data() if redactor is not None:
            return _data(redactor.feed(bytes(event.data)))
        case h11.EndOfMessage():
            rest = b"" if redactor is None else redactor.rest()
            trailers = [] if old else _clean(event.headers.raw_items(), redactor)
            return [*_data(rest), h11.EndOfMessage(headers=trailers)]
        case _:
            return [event]


def refusal(error: BulkheadError, method: bytes) -> list[h11.Event]:
    """The answer that says what went wrong."""
    status = _STATUS.get(error.reason, 403)
    body = f"Bulkhead: {error.what}\n{error.reason}: {REASONS.get(error.reason, '')}\n".encode()
    fields = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    begun = h11.Response(status_code=status, headers=fields, reason=_PHRASES[status])
    return [begun, *_data(b"" if method == b"HEAD" else body), h11.EndOfMessage()]


def _begun(answer: Answer, redactor: Redactor | None, method: bytes) -> Answer:
    fields, reason = _clean(answer.headers.raw_items(), redactor), answer.reason
    bodiless = method == b"HEAD" or answer.status_code < 200 or answer.status_code in (204, 304)
    if redactor is not None:
        reason = redactor.text(reason)
        if _tokens(answer, b"sec-websocket-extensions") or (
            not bodiless and _tokens(answer, b"content-encoding") - {b"identity"}
        ):
            raise DeniedError("the answer came compressed, so a secret in it would not be seen", reason="encoded")
    if not (bodiless or _framed(answer)):
        fields.append((b"Connection", b"close"))
    return type(answer)(status_code=answer.status_code, headers=fields, reason=reason)


def _framed(answer: Answer) -> bool:
    names = {name for name, _ in answer.headers}
    return answer.http_version >= b"1.1" and bool(names & {b"content-length", b"transfer-encoding"})


def _tokens(answer: Answer, name: bytes) -> set[bytes]:
    listed = (value for found, value in answer.headers if found == name)
    return {token.strip().lower() for value in listed for token in value.split(b",")} - {b""}


def _clean(fields: Fields, redactor: Redactor | None) -> Fields:
    if redactor is None:
        return fields
    return [(written, redactor.text(value)) for written, value in fields]


def _data(data: bytes) -> list[h11.Event]:
    return [h11.Data(data=data)] if data else []
