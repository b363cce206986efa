"""What of a text a person does not see though a model reads it, and how it is shown.

Invisible are control characters (ANSI escapes start with one), zero-width characters, bidi controls, Unicode tags,
variation selectors, fillers and soft hyphens. Many of them have honest work in scripts and emoji: what stands where
such work is done is in an ordinary position, and is left alone. What is shown reads as \\u{200B}, its number in hex.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTROLS = "".join(chr(code) for code in (*range(9), 0x0B, *range(0x0E, 0x20), 0x7F))
_TAGS = "\U000e0000-\U000e007f"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
# What each is for, as a finding says it. No two overlap; \U000e0000 and on are all unassigned or ignored.
KINDS = {
    "a control character": _CONTROLS + "\x80-\x9f",
    "a bidi control": "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069",
    "a zero-width character": "\u034f\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb",
    "a filler": "\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a",
    "a soft hyphen": "\xad",
    "a Unicode tag": _TAGS,
    "a variation selector": _SELECTORS + "\U000e0080-\U000e00ff\U000e01f0-\U000e0fff",
}
_RUN = re.compile("[" + "".join(KINDS.values()) + "]+")
_KIND = {name: re.compile(f"[{characters}]") for name, characters in KINDS.items()}

_PICTURE = (
    "\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_IDEOGRAPH = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_JOINING = "\u0620-\u065f\u066e-\u06ff\u0700-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u17b3\u17b6-\u17df\u1800-\u18af"
_RIGHT_TO_LEFT = re.compile("[\u0590-\u060b\u060d-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_NEAR = 64
_FLAGS = "|".join("".join(chr(0xE0000 + ord(letter)) for letter in name) for name in ("gbeng", "gbsct", "gbwls"))

# Ordinary positions. Each alternative is a whole run, with what stands before and after it; the longer one first.
_ORDINARY = re.compile(
    "|".join(
        (
            f"(?<=[{_PICTURE}])\ufe0f?\u200d(?=[{_PICTURE}])",
            f"(?<=[{_PICTURE}])[\ufe0e\ufe0f]",
            "(?<=[0-9#*])\ufe0f(?=\u20e3)",
            f"(?<=\U0001f3f4)(?:{_FLAGS})\U000e007f",
            f"(?<=[{_JOINING}])[\u200c\u200d]",
            f"(?<=[{_IDEOGRAPH}])[\ufe00-\ufe02\U000e0100-\U000e01ef]",
            "(?<=[\u2200-\u22ff\u1000-\u109f\ua840-\ua877])\ufe00",
            "(?<=[\u1820-\u18aa])[\u180b-\u180f]",
            "\u115f(?=[\u1161-\u11ff])|(?<=[\u1100-\u115e])\u1160",
            "(?<=[\u2801-\u28ff])\u2800++|\u2800++(?=[\u2801-\u28ff])",
            "\\A\ufeff",
            "(?<=[^\\W\\d_])\xad(?=[^\\W\\d_]|\\s)",
        )
    )
)
_DIRECTION = re.compile("[\u061c\u200e\u200f]")
_MOST = 64


def has_invisible(text: str) -> bool:
    """Whether anything invisible stands in the text, out of an ordinary position."""
    return any(True for _ in hidden(text))


def plain(text: str) -> bool:
    """Whether it is ASCII without control characters; told in a tenth of the time that the pattern takes."""
    if not text.isascii():
        return False
    return text.isprintable() or not any(control in text for control in _CONTROLS)


def hidden(text: str) -> Iterator[re.Match[str]]:
    """Each run of invisible characters that is not in an ordinary position."""
    return iter(()) if plain(text) else (run for run in _RUN.finditer(text) if not _ordinary(run))


def _ordinary(run: re.Match[str]) -> bool:
    text, start, end = run.string, run.start(), run.end()
    if end == start + 1 and _DIRECTION.match(text, start):
        return _RIGHT_TO_LEFT.search(text, max(0, start - _NEAR), end + _NEAR) is not None
    match = _ORDINARY.match(text, start)
    return match is not None and match.end() == end


def kinds(run: str) -> list[str]:
    """What is in a run of invisible characters, in words."""
    return [name for name, pattern in _KIND.items() if pattern.search(run)]


def shown(text: str) -> str:
    """The text with what is invisible made visible; ordinary positions stay as they are."""
    return text if plain(text) else _RUN.sub(lambda run: run[0] if _ordinary(run) else _spelt(run[0]), text)


def exact(text: str) -> str:
    """The text with all that is invisible made visible, in ordinary positions too: two that differ look different."""
    return _RUN.sub(lambda run: _spelt(run[0]), text)


def bare(text: str) -> str:
    """The text without anything invisible, as words are looked for in it."""
    return text if plain(text) else _RUN.sub("", text)


def spelled(run: str) -> str:
    """What Unicode tags, or variation selectors read as bytes, spell; "" if nothing that is text."""
    codes = [ord(character) for character in run]
    tags = "".join(chr(code - 0xE0000) for code in codes if 0xE0020 <= code <= 0xE007E)
    return tags or _selected(codes)


def _selected(codes: list[int]) -> str:
    values = [code - 0xFE00 if code < 0xFE10 else code - 0xE0100 + 16 for code in codes if _selects(code)]
    text = bytes(values).decode("utf-8", "replace")
    return text if len(text) > 1 and text.isprintable() and "\ufffd" not in text else ""


def _selects(code: int) -> bool:
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


def _spelt(run: str) -> str:
    if len(run) == 1:
        return f"\\u{{{ord(run):X}}}"
    numbers = "".join(f"\\u{{{ord(character):X}}}" for character in run[:_MOST])
    more = f"[and {len(run) - _MOST} more]" if len(run) > _MOST else ""
    words = spelled(run)[: 4 * _MOST]
    return numbers + more + (f"[spells {words!r}]" if words else "")
