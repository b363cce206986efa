"""Finds secrets in a text: values that are known in all their forms, and credentials by their shape.

Rules: one automaton looks for all hints at once in the squeezed text, and only where it finds one a check looks closer.
What a check costs is bounded, and so is the sum of it: a text in which the checks would cost more than MOST is not
searched to its end, nor one with more than MOST_FOUND secrets: it raises TooMuch. A credential in pieces counts only if
it is mixed as keys are: "ghp_ and 36 more letters" is prose. PURE.
"""

from __future__ import annotations

import re
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from bulkhead.policy import disguises, shapes
from bulkhead.policy.squeezed import Squeezed, squeeze

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ahocorasick_rs import BytesAhoCorasick

    from bulkhead.policy.disguises import Beginning
    from bulkhead.policy.shapes import Phrase, Token

# A cheap check takes half a microsecond.
MOST = 100_000
MOST_FOUND = 5_000
_CHEAP, _COSTLY = 1, 10
# Shorter values are not looked for, those below WHOLE not in pieces and in no other form: they are found by chance.
SHORTEST, WHOLE = 4, 8
_HINT = 12
# How much is decoded of what may be a token, and of what may be a longer one.
_TOKEN, _LONG = 160, 8192
_PIECE = 2**18
_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")


class Finding(NamedTuple):
    """Bytes start to end of the text are a secret. what: its kind, or the name of one that is known."""

    start: int
    end: int
    what: str


class TooMuch(Exception):
    """There are more hints of secrets in a text than can be looked at."""


Check: TypeAlias = "Callable[[Squeezed, int], Finding | None]"
Hints: TypeAlias = "list[tuple[bytes, Check, int]]"


class Search:
    """For the secrets of one session. values: by name. Nothing of it shows them."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._known = _built([hint for name, value in values.items() for hint in _forms(name, value)])

    def find(self, text: bytes, *, unknown: bool) -> list[Finding]:
        """Where secrets stand in a text in UTF-8, in its order. unknown: also what has a credential's shape."""
        automata = [automaton for automaton in (self._known, _for_shapes() if unknown else None) if automaton]
        if not automata:
            return []
        squeezed = Squeezed(text)
        seen: set[Finding] = set()
        for automaton in automata:
            for at, check in _hits(squeezed.text, *automaton):
                if found := check(squeezed, at):
                    seen.add(found)
                if len(seen) > MOST_FOUND:
                    raise TooMuch
        return _merged(sorted(seen))


def _built(hints: Hints) -> tuple[BytesAhoCorasick, Hints] | None:
    if not hints:
        return None
    from ahocorasick_rs import BytesAhoCorasick, Implementation  # noqa: PLC0415 - for sessions with results only

    return BytesAhoCorasick([hint for hint, _, _ in hints], implementation=Implementation.DFA), hints


@cache
def _for_shapes() -> tuple[BytesAhoCorasick, Hints] | None:
    """Built once: it takes as long as a hundred calls. That of the known values is small, and anew for each lease."""
    return _built(_shapes())


def _hits(text: bytes, automaton: BytesAhoCorasick, hints: Hints) -> Iterator[tuple[int, Check]]:
    """(place, check) of each hint. A piece at a time: a text that is made of hints has millions."""
    cost, view = 0, memoryview(text)
    for begin in range(0, len(text), _PIECE):
        hits = automaton.find_matches_as_indexes(view[begin : begin + _PIECE + _HINT - 1], overlapping=True)
        cost += sum(hints[index][2] for index, _, _ in hits)
        if cost > MOST:
            raise TooMuch
        yield from ((begin + at, hints[index][1]) for index, at, _ in hits if at < _PIECE)


def _merged(found: list[Finding]) -> list[Finding]:
    """Without those that lie in another; those that overlap become one. A known secret gives its name."""
    merged: list[Finding] = []
    for each in found:
        if merged and each.start < merged[-1].end:
            last = merged[-1]
            what = min(last.what, each.what, key=lambda what: not what.startswith(_KNOWN))
            merged[-1] = Finding(last.start, max(last.end, each.end), what)
        else:
            merged.append(each)
    return merged


# Known values

_KNOWN = "secret "


def _forms(name: str, value: bytes) -> Iterator[tuple[bytes, Check, int]]:
    plain = squeeze(value)
    others = {squeeze(form) for form in disguises.forms(value)} if len(plain) >= WHOLE else set()
    for form in {plain, *(other for other in others if len(other) >= WHOLE)}:
        if len(form) >= SHORTEST:
            yield form[:_HINT], partial(_known, _KNOWN + name, form, value if len(form) < WHOLE else b""), _CHEAP


def _known(what: str, form: bytes, value: bytes, text: Squeezed, at: int) -> Finding | None:
    """value: as it has to stand there, where it is too short to be looked for in pieces."""
    if not text.text.startswith(form, at):
        return None
    start, end = text.span(at, at + len(form))
    if value and text.whole[start:end] != value.strip():
        return None
    return Finding(start, end, what)


# Shapes


class _Sought(NamedTuple):
    """A shape, its expression, and how many bytes are decoded of what may be one in another encoding."""

    shape: Token | Phrase
    whole: re.Pattern[bytes]
    size: int


@cache
def _shapes() -> Hints:
    hints: Hints = []
    for token in shapes.TOKENS:
        sought = _Sought(token, re.compile(shapes.expression(token).encode()), _LONG if token.first else _TOKEN)
        letter = re.compile(token.letters.encode() + b"{0,4096}+")
        hints += _hints(token.starts, partial(_token, token, sought.whole, letter), _CHEAP, partial(_disguised, sought))
    for phrase in shapes.PHRASES:
        sought = _Sought(phrase, re.compile(phrase.whole.encode()), _LONG)
        check = partial(_phrase, phrase, sought.whole)
        hints += _hints(phrase.starts, check, _COSTLY if phrase.spaced else _CHEAP, partial(_disguised, sought))
    return hints


def _hints(starts: tuple[str, ...], check: Check, cost: int, disguised: Callable[..., Finding | None]) -> Hints:
    """disguised: as check, with the form in which it begins before."""
    hints: Hints = []
    for start in map(str.encode, starts):
        hints.append((squeeze(start)[:_HINT], check, cost))
        hints += [(found.written[:_HINT], partial(disguised, found), _COSTLY) for found in disguises.beginnings(start)]
    return hints


def _token(
    token: Token, whole: re.Pattern[bytes], letter: re.Pattern[bytes], text: Squeezed, at: int
) -> Finding | None:
    found = whole.match(text.text, at)
    if found is None or shapes.example(found[0]):
        return None
    start, end = text.span(at, found.end())
    if token.word and _in_word(text.whole, start):
        return None
    if end - start != len(found[0]) and not shapes.mixed(found[0]):
        return None
    # Of one in pieces the last ones may stay, as prose may follow; they are no use without the rest.
    more = letter.match(text.whole, end)
    return Finding(start, more.end() if more else end, token.kind)


def _phrase(phrase: Phrase, whole: re.Pattern[bytes], text: Squeezed, at: int) -> Finding | None:
    if not phrase.spaced and whole.match(text.text, at) is None:
        return None
    start = text.at(at)
    if phrase.word and _in_word(text.whole, start):
        return None
    found = whole.match(text.whole, start)
    return Finding(*_secret(found), phrase.kind) if found and _is_one(phrase, found) else None


def _disguised(sought: _Sought, beginning: Beginning, text: Squeezed, at: int) -> Finding | None:
    found = sought.whole.match(disguises.decoded(text.text, at, beginning, sought.size))
    if found is None or not _is_one(sought.shape, found):
        return None
    start, end = disguises.extent(text.text, at, beginning, *found.span())
    return Finding(*text.span(start, min(end, len(text.text))), sought.shape.kind)


def _is_one(shape: Token | Phrase, found: re.Match[bytes]) -> bool:
    groups = found.groupdict()
    secret = groups.get("secret") or found[0]
    if shapes.example(secret, groups.get("user", b"")):
        return False
    return not getattr(shape, "mixed", False) or shapes.mixed(secret)


def _secret(found: re.Match[bytes]) -> tuple[int, int]:
    return found.span("secret") if "secret" in found.re.groupindex else found.span()


def _in_word(text: bytes, at: int) -> bool:
    return at > 0 and text[at - 1] in _WORD
