"""A text without what may be put between the characters of a secret to hide it, and the way back to the text. PURE.

Taken out are blanks and line ends, NUL, quotes, and what has no width: a secret that was cut by them, or over several
texts that are joined by them, is whole again.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from itertools import accumulate, groupby

_OUT = b" \t\n\r\x0b\x0c\0'\"`"
_PIECE = 2**9
# Spaces of all widths and none, direction marks, joiners, the soft hyphen, variation selectors.
_WIDER = "\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u202f\u205f\u3000\u3164\ufeff\uffa0" + "".join(
    chr(code)
    for start, end in ((0x2000, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0xFE00, 0xFE0F))
    for code in range(start, end + 1)
)


# By their first byte, which is fast to look for, and by all but their last: the last bytes.
_BYTES = sorted(char.encode() for char in _WIDER)
_LEADS = {
    first: {lead: bytes(char[-1] for char in chars) for lead, chars in groupby(same, key=lambda char: char[:-1])}
    for first, same in groupby(_BYTES, key=lambda char: char[:1])
}
# U+E0000 to U+E0FFF: tags and more variation selectors.
_TAG_LEAD = b"\xf3"
_TAG = re.compile(rb"\xf3\xa0[\x80-\xbf][\x80-\xbf]")


def squeeze(text: bytes) -> bytes:
    """The text without them."""
    return _blanked(text).translate(None, _OUT)


class Squeezed:
    """A text in UTF-8, whole and squeezed."""

    def __init__(self, text: bytes) -> None:
        self.whole = text
        self._blanked = _blanked(text)
        self.text = self._blanked.translate(None, _OUT)
        self._places: dict[int, list[int]] = {}  # of the bytes that are left, in the pieces that were asked for

    def at(self, place: int) -> int:
        """Where a byte of the squeezed text stands in the whole one."""
        if len(self.text) == len(self.whole):
            return place
        piece = bisect_right(self._before, place) - 1
        if piece not in self._places:
            data = self._blanked[piece * _PIECE : (piece + 1) * _PIECE]
            self._places[piece] = [at for at, byte in enumerate(data) if byte not in _OUT]
        return piece * _PIECE + self._places[piece][place - self._before[piece]]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The same for a piece of it."""
        return self.at(start), self.at(end - 1) + 1

    @cached_property
    def _before(self) -> list[int]:
        """How many bytes are left of all before each piece."""
        pieces = (self._blanked[at : at + _PIECE] for at in range(0, len(self.whole), _PIECE))
        return [0, *accumulate(len(piece.translate(None, _OUT)) for piece in pieces)][:-1]


def _blanked(text: bytes) -> bytes:
    """The text with NULs for what is wider than a byte and is to be taken out: nothing moves. Binary data stays."""
    if text.isascii() or not _is_text(text):
        return text
    for first, leads in _LEADS.items():
        if first in text:
            for lead, tails in leads.items():
                text = _without(text, lead, tails)
    return _TAG.sub(bytes(4), text) if _TAG_LEAD in text else text


def _without(text: bytes, lead: bytes, tails: bytes) -> bytes:
    before, *pieces = text.split(lead)
    if not pieces:
        return text
    blank = bytes(len(lead) + 1)
    return b"".join([before, *(blank + piece[1:] if piece[:1] in tails else lead + piece for piece in pieces)])


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
