"""What hides in a text by its form: invisible characters, comments, padding, encoded words, letters of other scripts,
tags that a chat template would read, and addresses that run or carry something. PURE.
"""

from __future__ import annotations

import base64
import re
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple

from bulkhead.policy.lookalikes import disguised
from bulkhead.policy.visible import hidden, kinds, plain, spelled

if TYPE_CHECKING:
    from collections.abc import Iterator


class Trace(NamedTuple):
    """What was found in one text, from start to end."""

    rule: str
    level: Literal["hold", "tell"]
    why: str
    start: int
    end: int


# rule, level, what of must stand in the text in small letters, pattern, why. All repeats are bounded or possessive.
_FORMS = tuple(
    (rule, level, sign, re.compile(pattern, re.I | re.M), why)
    for rule, level, sign, pattern, why in (
        (
            "template",
            "hold",
            "<",
            r"</?\s{0,3}(?:important|system|secret|hidden|admin|sys|override|assistant|private|urgent|"
            r"(?:hidden|secret|system|model|ai|llm|assistant|user|agent|critical)[-_ ]?(?:prompt|message|reminder|note"
            r"|instructions?|override|update|directive|task))\s{0,3}>|<\|[a-z_]{2,20}\|>|<</?sys>>",
            "it has a tag that a model may take for its own instructions",
        ),
        (
            "template",
            "hold",
            "[",
            r"\[/?inst\]|\[\s{0,3}(?:system|admin|hidden|secret|developer|assistant)\b[^\]\n]{0,30}\]"
            r"|\[\[\s{0,3}(?:system|instructions?|override)",
            "it has a mark that a model may take for its own instructions",
        ),
        (
            "template",
            "hold",
            "#",
            r"^\s{0,8}#{1,6}\s{0,3}(?:system|hidden|secret|new|ai|assistant|model|llm)\s"
            r"(?:prompt|instructions?|message|override|note|directive)s?\b",
            "it has a heading that a model may take for its own instructions",
        ),
        (
            "template",
            "hold",
            ": ",
            r"^\s{0,8}(?:system|assistant|human|developer)\s?(?:prompt|message|note|override|instruction)?"
            r"\s{0,2}:\s{1,3}\S",
            "it has a line that a model may take for somebody else's turn",
        ),
        ("comment", "hold", "<!--", r"<!--(?:(?!-->)[\s\S]){12,4000}", "it has a comment that a page does not show"),
        ("comment", "tell", "[//]", r"^\[//\]:\s?#\s?\S", "it has a comment that a page does not show"),
        (
            "comment",
            "hold",
            "style",
            r"\bstyle\s?=\s?[\"'][^\"'\n]{0,80}(?:display\s?:\s?none|font-size\s?:\s?0|opacity\s?:\s?0"
            r"|color\s?:\s?(?:white|transparent))",
            "it has a part that a page does not show",
        ),
        (
            "url",
            "hold",
            "script",
            r"\b(?:javascript|vbscript)\s{0,2}:\s{0,2}(?:[a-z_$][\w$.]{0,40}\s?[(=]|void\b|//)",
            "it has an address that runs as a program",
        ),
        (
            "url",
            "hold",
            "data:",
            r"\bdata:(?:text/(?:html|javascript)|application/(?:x-)?(?:javascript|xhtml\+xml|octet-stream))[;,]",
            "it has an address that carries a page or a program",
        ),
        ("url", "tell", "data:", r"\bdata:text/plain[;,]\S{8}", "it has an address that carries a text"),
        (
            "url",
            "hold",
            "](http",
            r"!\[[^\]\n]{0,80}\]\(https?://[^)\s]{3,200}?[?&/=][^)\s]{0,80}?[{<$\[][^)\n]{1,80}[}>\]]",
            "it has a picture whose address would carry what it is filled with",
        ),
    )
)
_GAP = re.compile(r"\s(?<!\s\s)\s{15,}+(?=\S)")
_WIDE, _TALL = 120, 16
_BLOB = re.compile(r"[A-Za-z0-9+/_-]{24,8192}+={0,2}")
_HEX = re.compile(r"\b(?:[0-9a-fA-F]{2}){16,4096}+\b")
_ESCAPES = re.compile(r"(?:\\u00[0-9a-fA-F]{2}|\\x[0-9a-fA-F]{2}|&#x?[0-9a-fA-F]{2,3};|%[2-7][0-9a-fA-F]){8,2048}+")
_ESCAPE = re.compile(r"\\u00(..)|\\x(..)|&#x([0-9a-fA-F]{2,3});|&#(\d{2,3});|%(..)")
_MOST = 8
_WORDY = re.compile(r"(?:[\w'.,:;!?/~<>@-]{1,40}[\s_]{1,3}){2}")


def traces(text: str) -> Iterator[Trace]:
    """What hides in a text, the first of each kind."""
    if not plain(text):
        yield from _invisible(text)
    if word := disguised(text):
        start = text.find(word)
        why = "it has a word with letters of another script in the place of Latin ones"
        yield Trace("homoglyph", "hold", why, start, start + len(word))
    yield from _padding(text)
    lower = text.lower()
    for rule, level, sign, pattern, why in _FORMS:
        if sign in lower and (match := pattern.search(text)):
            yield Trace(rule, "hold" if level == "hold" else "tell", why, match.start(), match.end())


def _padding(text: str) -> Iterator[Trace]:
    for gap in _GAP.finditer(text):
        lines = gap[0].split("\n")
        if len(lines) > _TALL or max(map(len, lines)) >= _WIDE:
            yield Trace("padding", "hold", "it has a text far out of sight", gap.start(), gap.end())
            return


def _invisible(text: str) -> Iterator[Trace]:
    seen = set[str]()
    for run in hidden(text):
        for kind in kinds(run[0]):
            if kind not in seen:
                seen.add(kind)
                words = spelled(run[0])
                why = f"it has {kind}" + (f" that spells {words[:80]!r}" if words else "")
                yield Trace("invisible", "hold", why, run.start(), run.end())
        if len(seen) == 7:
            return
    for match in re.finditer("(?<=[^\\W\\d_])\xad(?=[^\\W\\d_])", text):
        yield Trace("invisible", "tell", "it has a soft hyphen", match.start(), match.end())
        return


def decoded(text: str) -> Iterator[tuple[str, int, int]]:
    """What base64, hexadecimal and escapes in a text say, where it is words; with the place of each."""
    ways = [(_ESCAPES, _escaped)] if any(sign in text for sign in ("\\", "&#", "%")) else []
    if max(map(len, text.split()), default=0) >= 24:
        ways += [(_BLOB, _base64), (_HEX, _hexadecimal)]
    for pattern, decode in ways:
        for match in islice(pattern.finditer(text), _MOST):
            words = decode(match[0])
            if words.isascii() and words.isprintable() and _WORDY.search(words):
                yield words, match.start(), match.end()


def _base64(blob: str) -> str:
    whole = blob.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("ascii").replace("\n", " ")
    except ValueError:
        return ""


def _hexadecimal(blob: str) -> str:
    return bytes.fromhex(blob).decode("ascii", "replace").replace("\n", " ")


def _escaped(blob: str) -> str:
    codes = []
    for four, two, hexadecimal, decimal, quoted in _ESCAPE.findall(blob):
        codes.append(int(decimal) if decimal else int(four or two or hexadecimal or quoted, 16))
    return "".join(map(chr, codes)).replace("\n", " ")
