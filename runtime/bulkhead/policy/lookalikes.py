# ruff: noqa: RUF001 - texts of other scripts are what it is about
"""Names and words that look like others: letters of other scripts, case, separators, digits in the place of letters.

Two names look alike if their skeletons are one. A skeleton is not for showing: it merges what a person confuses, and
so also a few honest pairs, as "tail" and "tall".
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING

from bulkhead.policy.visible import bare

if TYPE_CHECKING:
    from collections.abc import Iterable

# What looks like each Latin letter, of Cyrillic, Greek, Armenian, Cherokee and the phonetic letters of Latin itself.
# Only what is hard to tell apart in print: a letter that is merely alike would make honest words suspect.
_LOOKS = {
    "a": "аαɑ\u0410\u0391Ꭺ",
    "b": "ЬВΒᏼᏏ",
    "c": "сϲСϹⅽᏟ",
    "d": "ԁⅾᏧᎠ",
    "e": "еЕΕҽℯ℮Ꭼ",
    "f": "ϝғ",
    "g": "ɡցԌᏀ",
    "h": "һհНΗᎻ",
    "i": "іιІΙɩıӀᎥ",
    "j": "јϳЈᎫ",
    "k": "кКκΚᏦ",
    "l": "ⅼӏןᏞ",
    "m": "МΜⅿᎷ",
    "n": "ոΝпη",
    "o": "оοОΟօՕσᴏ",
    "p": "рρРΡᏢ",
    "q": "ԛգ",
    "r": "гᴦᏒ",
    "s": "ѕЅՏꜱᏚ",
    "t": "тТτΤᎢ",
    "u": "υսʋᴜ",
    "v": "νѵⅴᴠᏙ",
    "w": "ԝѡᴡᎳ",
    "x": "хХχΧⅹ",
    "y": "уУγΥүҮᎩ",
    "z": "ΖᴢᏃ",
}
_LATIN = str.maketrans({look: letter for letter, looks in _LOOKS.items() for look in looks})
_SWAPPED = str.maketrans("01358|!$@", "olesblisa")
_SEPARATORS = re.compile(r"[\W_]+")
_WORD = re.compile(r"[^\W\d_]+")
_OF_LATIN = re.compile(r"[A-Za-z\xc0-\u024f]")
_OF_OTHERS = re.compile("[\u0370-\u052f\u0531-\u0587\u13a0-\u13ff]")
_STYLED = re.compile("[\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff\u24b6-\u24e9]{3,}")


def latin(text: str) -> str:
    """The text with letters that look Latin as the Latin ones, and styled ones (bold, full width) as plain ones."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_LATIN)


def whole(text: str) -> str:
    """The text with each word that has a Latin letter in Latin letters throughout; other words as they are."""
    plain = unicodedata.normalize("NFKC", text)
    return _WORD.sub(lambda word: latin(word[0]) if _OF_LATIN.search(word[0]) else word[0], plain)


def skeleton(name: str) -> str:
    """What is the same for names that look alike."""
    plain = latin(bare(name)).casefold().translate(_SWAPPED)
    return _SEPARATORS.sub("", plain).replace("rn", "m").replace("vv", "w").replace("i", "l")


def lookalike(name: str, others: Iterable[str]) -> str:
    """The one of others that the name looks like without being it; "" if none."""
    own = skeleton(name)
    return next((other for other in others if other != name and own and skeleton(other) == own), "")


def disguised(text: str) -> str:
    """The first word whose letters are of several scripts and all look Latin, or are styled; "" if none."""
    if text.isascii():
        return ""
    if styled := _STYLED.search(text):
        return styled[0]
    return next((word[0] for word in _WORD.finditer(text) if _mixed(word[0])), "")


def _mixed(word: str) -> bool:
    """Letters of two scripts of which none is needed; a name in capitals with another script's ending is none."""
    if (
        len(word) < 4
        or word.isascii()
        or not _OF_LATIN.search(word)
        or not _OF_OTHERS.search(word)
        or not latin(word).isascii()
    ):
        return False
    kinds = [bool(_OF_LATIN.match(letter)) for letter in word]
    changes = sum(one != other for one, other in pairwise(kinds))
    return changes > 1 or not kinds[0] or word[0].islower()


def foreign(name: str) -> bool:
    """Whether a name has letters of another script and reads as a Latin one all the same."""
    return not name.isascii() and bool(_OF_OTHERS.search(name) or _STYLED.search(name)) and latin(name).isascii()
