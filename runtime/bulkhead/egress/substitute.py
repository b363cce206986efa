"""Puts secrets into a request's head where their placeholders stand, if their bindings allow it. PURE.

Rules: the host, the place, the method and the path are asked first, and the value last, so that none is fetched where
it may not go. One placeholder that may not be replaced refuses the whole request. What was put in is not looked
through again. A value that is no text of a header's is put in nowhere.

What was put in may come back, so the answer has to be one that can be read: not compressed, and not in parts.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from bulkhead.egress.heads import Head
from bulkhead.egress.watch import covers, misplaced
from bulkhead.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.egress.injectable import Injectable

_TARGET = re.compile(rb"(https://[^/?]*)?([^?]*)(.*)", re.IGNORECASE | re.DOTALL)
_BASIC = re.compile(rb"(basic +)([A-Za-z0-9+/]+)=*", re.IGNORECASE)
_TEXT = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
# What two servers could take for two paths, so that no pattern says which of them is asked for.
_TWO_PATHS = re.compile(rb"\.\.|//|[\\;#]|%(?:25)*(?:2e|2f|5c|00)", re.IGNORECASE)
# With these a request says that it means another method, or another path, than it has.
_OTHER_METHOD = frozenset((b"x-http-method-override", b"x-http-method", b"x-method-override"))
_OTHER_PATH = frozenset((b"x-original-url", b"x-original-uri", b"x-rewrite-url"))
# What lets an answer come compressed, or in parts.
_UNREADABLE = frozenset((b"accept-encoding", b"range", b"if-range", b"sec-websocket-extensions"))
# What may stand in a path or a query as it is, beside letters, digits and "-._~".
SAFE = {"path": "!$&'()*+,=:@", "query": "!$'()*,:@/?"}


class Placeholders:
    """What stands for the secrets of a sandbox: injectables by it, and patterns that find it as it is, and quoted."""

    def __init__(self, injectables: Sequence[Injectable]) -> None:
        self.injectables = {injectable.placeholder: injectable for injectable in injectables}
        self.plain = re.compile(b"|".join(map(re.escape, self.injectables)))
        self.quoted = re.compile(b"|".join(map(_maybe_quoted, self.injectables)))


class Substitution:
    """What becomes of one head: head is what is to be sent.

    values: each secret that was put in, by its placeholder; empty if none was. encoded: whole credentials that were put
    together anew, and what the program had sent in their place.
    """

    def __init__(self, asked: Head, placeholders: Placeholders, name: str) -> None:
        """Raises DeniedError with reason "exfiltration", "binding", "lease" or "secret"."""
        self.values: dict[bytes, bytes] = {}
        self.encoded: list[tuple[bytes, bytes]] = []
        self._asked, self._name = asked, name
        self._injectables, self._plain = placeholders.injectables, placeholders.plain
        target = self._target(placeholders.quoted)
        fields = tuple((written, self._field(written, value)) for written, value in asked.fields)
        if self.values:
            fields = tuple(field for field in fields if field[0].lower() not in _UNREADABLE)
            fields += ((b"Accept-Encoding", b"identity"),)
        self.head = Head(asked.method, target, fields)

    def _target(self, quoted: re.Pattern[bytes]) -> bytes:
        origin, path, query = _parts(self._asked.target)
        path = quoted.sub(lambda match: self._quoted(match[0], "path"), path)
        return origin + path + quoted.sub(lambda match: self._quoted(match[0], "query"), query)

    def _quoted(self, found: bytes, place: str) -> bytes:
        placeholder = found if found in self._injectables else unquote_to_bytes(found)
        return quote(self._value(placeholder, place), safe=SAFE[place]).encode()

    def _field(self, written: bytes, value: bytes) -> bytes:
        if found := self._plain.search(written):
            raise misplaced(self._injectables[found[0]], self._name, "was the name of a request's field")
        basic = _BASIC.fullmatch(value) if written.lower() == b"authorization" else None
        if basic is not None and (found := self._plain.search(credentials := _decoded(basic[2]))):
            sent = b64encode(self._replaced(credentials))
            self.encoded.append((sent, value[len(basic[1]) :]))
            return basic[1] + sent
        return self._replaced(value)

    def _replaced(self, text: bytes) -> bytes:
        return self._plain.sub(lambda match: self._value(match[0], "header"), text)

    def _value(self, placeholder: bytes, place: str) -> bytes:
        injectable = self._injectables[placeholder]
        self._require_bound(injectable, place)
        if placeholder not in self.values:
            value = injectable.value()
            if value is None:
                raise DeniedError(f"no call that may use {injectable.name} is in flight", reason="lease")
            if not _TEXT.fullmatch(value):
                raise DeniedError(f"the value of {injectable.name} cannot stand in a request", reason="secret")
            self.values[placeholder] = value
        return self.values[placeholder]

    def _require_bound(self, injectable: Injectable, place: str) -> None:
        asked, against = self._asked, ""
        if not covers(injectable.hosts, self._name) or place not in injectable.places:
            against = f"stood in the {place} of a request"
        elif not _fits(asked, asked.method, injectable.methods, _OTHER_METHOD):
            against = "was in a request with another method"
        elif not _fits(asked, _parts(asked.target)[1], injectable.paths, _OTHER_PATH):
            against = "was in a request for another path"
        if against:
            raise misplaced(injectable, self._name, against)


def _parts(target: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands before the path, the path, and the query with its "?"."""
    match = _TARGET.fullmatch(target)
    return match.groups(b"") if match is not None else (b"", target, b"")  # type: ignore[return-value]  # three groups


def _fits(asked: Head, text: bytes, patterns: Sequence[str], overriding: frozenset[bytes]) -> bool:
    """Whether the method, or the path, fits one of the patterns, and is what the server will go by."""
    if "*" in patterns:
        return True
    if _TWO_PATHS.search(text) or any(written.lower() in overriding for written, _ in asked.fields):
        return False
    return any(fnmatchcase(text.decode("latin-1"), pattern) for pattern in patterns)


def _maybe_quoted(text: bytes) -> bytes:
    """A pattern for text of which each byte may be percent-encoded."""
    return b"".join(b"(?:%s|(?i:%%%02x))" % (re.escape(bytes([byte])), byte) for byte in text)


def _decoded(text: bytes) -> bytes:
    """b"" for what is no base64. What is left out at its end is as servers have it: few insist on "="."""
    return b64decode(text + b"=" * (-len(text) % 4)) if len(text) % 4 != 1 else b""
