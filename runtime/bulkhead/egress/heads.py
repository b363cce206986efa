"""An HTTP/1 request's head as h11 has read it: it is for the host that was asked for, and means but one thing. PURE.

h11 refuses what is malformed, and writes anew what it has read: lines, lengths and chunks that two servers could read
in two ways do not get this far. The rest is refused here, after http1.py's rules: a request has exactly one Host, and
it is the name; an absolute target names the same; no tunnel, no protocol but WebSocket, one kind of length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ABSOLUTE = re.compile(rb"https://([^/?]*)(?:[/?].*)?", re.IGNORECASE)
_FRAMING = frozenset((b"host", b"content-length", b"transfer-encoding"))
_WATCHED = _FRAMING | {b"connection", b"upgrade", b"http2-settings"}


@dataclass(frozen=True, slots=True)
class Head:
    """fields: names as they were written, and values, in their order."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]

    def values(self, name: bytes) -> list[bytes]:
        """Those of the fields that are called so; name in lower case."""
        return [value for written, value in self.fields if written.lower() == name]

    def tokens(self, name: bytes) -> set[bytes]:
        """What the fields that are called so list, in lower case."""
        return {token.strip().lower() for value in self.values(name) for token in value.split(b",")} - {b""}


def require_plain(head: Head, name: str, port: int) -> None:
    """Raises DeniedError with reason "host"."""
    hosts = (name.encode(), f"{name}:{port}".encode())
    _require_host(head, hosts)
    _require_target(head, hosts)
    if head.values(b"content-length") and head.values(b"transfer-encoding"):
        raise refused("its body can be framed in two ways")
    if head.tokens(b"connection") & _FRAMING:
        raise refused("its Connection lists what every server must see")
    for written, _ in head.fields:
        # Content_Length is Content-Length to a server that makes variables of both.
        if b"_" in written and written.lower().replace(b"_", b"-") in _WATCHED:
            raise refused("one of its fields can be taken for another")
    _require_upgrade(head)


def require_plain_trailers(fields: Sequence[tuple[bytes, bytes]]) -> None:
    """Raises DeniedError with reason "host"."""
    if any(written.lower().replace(b"_", b"-") in _WATCHED for written, _ in fields):
        raise refused("a trailer says what only a head may say")


def refused(why: str) -> DeniedError:
    return DeniedError("an HTTP request was refused", why=why, reason="host")


def _require_host(head: Head, hosts: tuple[bytes, bytes]) -> None:
    found = head.values(b"host")
    if len(found) != 1:
        raise refused("it has no Host, or more than one")
    if found[0].lower() not in hosts:
        raise refused(f"it is for {found[0][:253].decode('latin-1')!a}")


def _require_target(head: Head, hosts: tuple[bytes, bytes]) -> None:
    if head.method.upper() == b"CONNECT":
        raise refused("it asks for a tunnel")
    if absolute := _ABSOLUTE.fullmatch(head.target):
        if absolute[1].lower() not in hosts:
            raise refused("its target is on another host")
    elif not head.target.startswith(b"/") and (head.method, head.target) != (b"OPTIONS", b"*"):
        raise refused("its target is neither a path nor a URL of https")


def _require_upgrade(head: Head) -> None:
    asked = head.tokens(b"upgrade")
    if head.values(b"http2-settings") or (asked and (asked != {b"websocket"} or head.method != b"GET")):
        raise refused("it asks for another protocol than WebSocket")
