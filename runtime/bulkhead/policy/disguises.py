"""The forms in which a secret is written elsewhere: base64, hexadecimal, percent-encoded, in JSON and HTML, reversed.

For a value that is known, forms() gives all of them. Of a credential that is not known only the beginning is:
beginnings() gives its forms, and decoded() what stands behind one of them. PURE.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from binascii import a2b_base64
from html import escape
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, quote_plus, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

# Shorter beginnings stand in texts by chance; more of one is not looked for.
_FEWEST, _ENOUGH = 4, 6
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_RUNS = {
    "base64": re.compile(rb"[A-Za-z0-9+/_-]*+"),
    "hex": re.compile(rb"(?:[0-9a-fA-F]{2})*+"),
    "percent": re.compile(rb"(?:%[0-9a-fA-F]{2}|[A-Za-z0-9._~!*()/:@+=-])*+"),
}
_ONE = re.compile(rb"%[0-9a-fA-F]{2}|.", re.DOTALL)


class Beginning(NamedTuple):
    """How a credential begins in another encoding. before: bytes that stand before it in the same run of base64."""

    written: bytes
    encoding: str
    before: int = 0


def forms(value: bytes) -> set[bytes]:
    """All forms of a value, itself left out."""
    plain = value.decode("utf-8", "surrogateescape")
    as_json = json.dumps(plain)[1:-1]
    in_utf8 = json.dumps(plain, ensure_ascii=False)[1:-1]
    texts = [as_json, as_json.replace("/", "\\/"), in_utf8, escape(plain), plain[::-1]]
    quoted = [quote(value, safe=safe) for safe in ("", "/", "/:@")] + [quote_plus(value), _percent(value)]
    written = [each.encode("utf-8", "surrogateescape") for each in texts + quoted + [_lower(each) for each in quoted]]
    hexadecimal = [value.hex().encode(), value.hex().upper().encode()]
    found = {*written, *hexadecimal, value[::-1], *(form for _, form in _in_base64(value))}
    return found - {value}


def beginnings(start: bytes) -> Iterator[Beginning]:
    """The forms of a credential's first bytes, if there are enough of them to be told from chance."""
    if len(start) < _FEWEST:
        return
    short = start[:_ENOUGH]
    yield from (Beginning(written, "base64", before) for before, written in _in_base64(short))
    yield from (Beginning(written.encode(), "hex") for written in {short.hex(), short.hex().upper()})
    quoted = {_percent(short), quote(start, safe="")}
    written = {*quoted, *map(_lower, quoted)} - {start.decode()}
    yield from (Beginning(each.encode(), "percent") for each in written)


def decoded(text: bytes, at: int, found: Beginning, size: int) -> bytes:
    """At most so many bytes of what is written from a beginning on, which was found at a place of a text."""
    lead = _lead(found)
    run = _RUNS[found.encoding].match(text, at - lead, at + 3 * size) if at >= lead else None
    if run is None:
        return b""
    if found.encoding == "hex":
        return bytes.fromhex(run[0].decode())
    if found.encoding == "percent":
        return unquote_to_bytes(run[0])
    return a2b_base64(_padded(run[0].translate(_STANDARD)))[found.before :]


def extent(text: bytes, at: int, found: Beginning, start: int, end: int) -> tuple[int, int]:
    """Which piece of the text stands for the bytes from start to end of what was decoded."""
    if found.encoding == "hex":
        return at + 2 * start, at + 2 * end
    if found.encoding == "percent":
        sizes = [len(one[0]) for one in _ONE.finditer(text, at, at + 3 * end)][:end]
        return at + sum(sizes[:start]), at + sum(sizes)
    begin = at - _lead(found)
    return begin + (found.before + start) * 8 // 6, begin - (found.before + end) * 8 // -6


def _lead(found: Beginning) -> int:
    """How many characters of base64 stand before those that were found, in their group."""
    return -(-found.before * 8 // 6) if found.encoding == "base64" else 0


def _padded(run: bytes) -> bytes:
    """As base64 should end: one character alone says nothing."""
    run = run[:-1] if len(run) % 4 == 1 else run
    return run + b"=" * (-len(run) % 4)


def _in_base64(text: bytes) -> Iterator[tuple[int, bytes]]:
    """(bytes before it, the characters that only the text decides) in both alphabets, behind any other text."""
    for before in range(3):
        encoded = b64encode(bytes(before) + text)[-(-before * 8 // 6) : (before + len(text)) * 8 // 6]
        for written in {encoded, encoded.translate(_URL_SAFE)}:
            yield before, written


def _percent(text: bytes) -> str:
    return "".join(f"%{byte:02X}" for byte in text)


def _lower(quoted: str) -> str:
    first, *rest = quoted.split("%")
    return "%".join([first, *(each[:2].lower() + each[2:] for each in rest)])
