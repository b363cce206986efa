"""Takes secrets out of what a host answers, in the forms in which hosts repeat what they were sent. PURE.

Rules: what is put in a secret's place is as long as what stood there, so that lengths stay right; bytes are held back
only while they may be the beginning of a secret, so that nothing else of a stream waits. If they are let go of before
that is known, what follows is still taken out. The forms: as it is,
percent-encoded, as JSON and HTML write it, and within base64 at any place. A host that encodes it otherwise, or that
hands it out in pieces, is not found out: it is the one host that has the secret anyway.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from bulkhead.egress.substitute import SAFE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Shorter pieces of base64 are found where no secret is.
_SHORTEST = 8
_SAME_EVERYWHERE = re.compile(rb"[A-Za-z0-9._~-]*")


class Redactor:
    """For one answer. values: secrets by their placeholders. whole: other texts, each with what is put in its place."""

    def __init__(self, values: Mapping[bytes, bytes], whole: Sequence[tuple[bytes, bytes]] = ()) -> None:
        pairs = list(whole)
        for placeholder, value in values.items():
            pairs += [(value, placeholder), *zip(_in_base64(value), _in_base64(placeholder), strict=True)]
            if not _SAME_EVERYWHERE.fullmatch(value):
                pairs += zip(_written(value), _written(placeholder), strict=True)
        fillers = {text: filler[: len(text)].ljust(len(text), b"*") for text, filler in reversed(pairs)}
        # A longer one may have a shorter one inside.
        self._pairs = sorted(fillers.items(), key=lambda pair: -len(pair[0]))
        self._held = b""
        # The beginning of what may be a secret that was let go of already: the rest of it is still found.
        self._gone = b""

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def text(self, text: bytes) -> bytes:
        """For what is there as a whole."""
        for secret, filler in self._pairs:
            if secret in text:
                text = text.replace(secret, filler)
        return text

    def feed(self, data: bytes) -> bytes:
        """For a stream: what of it can go on now, what was held back before included."""
        gone = len(self._gone)
        data = self.text(self._gone + self._held + data)
        kept = len(data) - self._beginning(data)
        self._gone, self._held = data[kept : max(kept, gone)], data[max(kept, gone) :]
        return data[gone:kept]

    def rest(self) -> bytes:
        """What was held back: at the stream's end, or when somebody may wait for it."""
        rest, self._held = self._held, b""
        self._gone += rest
        return rest

    def _beginning(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret."""
        kept = 0
        for secret, _ in self._pairs:
            at = max(0, len(data) - len(secret) + 1)
            while (at := data.find(secret[:1], at)) >= 0 and len(data) - at > kept:
                if secret.startswith(data[at:]):
                    kept = len(data) - at
                at += 1
        return kept


def _written(text: bytes) -> list[bytes]:
    """Its forms in URLs, JSON and HTML: as many for any text, and in the same order."""
    plain = text.decode("utf-8", "surrogateescape")
    as_json, in_utf8 = json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1]
    quoted = [quote(text, safe=safe) for safe in ("", "/", *SAFE.values())] + [quote_plus(text)]
    lower = [_lower_hex(each) for each in quoted]
    in_php = as_json.replace("/", "\\/")
    written = [*quoted, *lower, as_json, in_utf8, in_php, escape(plain), escape(plain, quote=False)]
    return [each.encode("utf-8", "surrogateescape") for each in written]


def _lower_hex(quoted: str) -> str:
    first, *rest = quoted.split("%")
    return "%".join([first, *(each[:2].lower() + each[2:] for each in rest)])


def _in_base64(text: bytes) -> Iterator[bytes]:
    """The characters that only text decides where it stands in something that is encoded, behind any other text."""
    for before in range(3):
        encoded = b64encode(bytes(before) + text)[-(-before * 8 // 6) : (before + len(text)) * 8 // 6]
        standard = encoded if len(encoded) >= _SHORTEST else text
        yield standard
        yield standard.translate(bytes.maketrans(b"+/", b"-_")) if standard is encoded else text
