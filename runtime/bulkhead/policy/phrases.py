"""What no honest definition tells a model: the table of phrases, and how they are looked for. PURE.

Each phrase begins with one of its heads; only where a head stands its pattern is tried, so a text costs one pass over
its words. The text is folded: small letters, "-" for "_". In a pattern a space is what stands between two words of a
sentence, and "%3 " up to three words. A phrase at level "hold" never stood in what real servers publish.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from bulkhead.policy import phrases_asks, phrases_languages, phrases_orders, phrases_secrecy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Phrase(NamedTuple):
    """One row. follows: the pattern of what stands after a head; unless: what stands before one that means no harm.

    needs: one of these words stands in any text that it matches; none for no such word.
    """

    rule: str
    level: Literal["hold", "tell"]
    why: str
    follows: str
    unless: re.Pattern[str] | None = None
    needs: frozenset[str] = frozenset()


# Possessive and disjoint, so that a match takes a bounded number of steps whatever the text is.
_BETWEEN = r"(?:[^\w.!?]{1,16}+)"
_WORD = r"(?:[^\W_]{1,30}+" + _BETWEEN + r"){0,%s}"
_SPECIAL = re.compile(r"%(?P<count>\d) |%(?P<part>[a-z]+)| ")
_PARTS = phrases_secrecy.PARTS | phrases_asks.PARTS

# Their opposite is good advice: "never include API keys". What is read by others is no order: "they are read from".
_ADVICE = re.compile(r"\b(?:not|never|without) \Z")
_UNLESS = dict.fromkeys(("override", "conversation", "exfiltration", "redirect", "command"), _ADVICE)
_UNLESS["secrets"] = re.compile(r"\b(?:(?:not|never|without) (?:[a-z]{1,12} )?|(?:are|is|was) )\Z")
_ROWS = (*phrases_orders.ROWS, *phrases_secrecy.ROWS, *phrases_asks.ROWS, *phrases_languages.ROWS)
# One of these has to stand in the text, or the rule is not tried at all.
_NEEDS = {
    "steering": "tool|tools|function|functions|server|servers|action|actions|first|other|others|competing|alternative",
    "conversation": "conversation|chat|dialog|dialogue|context|history|turns|message|messages|prompt|prompts|"
    "instructions|thought|trace|said|typed|wrote|written|told|know|seen|been|asked|tool|tools",
    "secrets": "ssh|rsa|dsa|ecdsa|ed|aws|etc|git|netrc|gnupg|wallet|history|mcp|claude|npmrc|pypirc|docker|kube|"
    "cookies|keychain|pgpass|credential|credentials|secret|secrets|private|gcloud|service|env|dotenv|environment|environ|"
    "printenv|key|keys|token|tokens|password|passwords|passwd|shadow|cookie|card|cards|phrase|phrases|mnemonic|mnemonics|"
    "pin|pins|login|logins|number|numbers",
    "redirect": "bcc|cc|recipient|recipients|destination|iban|wallet|payee|beneficiary|account|receiver|field|address|"
    "repository|remote|endpoint|sent|forwarded|copied|redirected|routed|addressed|proxied|go|posted|mirrored|delivered|"
    "paid|uploaded",
}
_WHY = {
    "override": "it tells the model to drop what it was told before",
    "secrecy": "it tells the model to keep something from the user",
    "consent": "it tells the model to act unasked",
    "conversation": "it asks for what was said, or for what the model was told",
    "secrets": "it asks for files or secrets of the user",
    "steering": "it says when or whether other tools are used",
    "redirect": "it changes where something of the user's goes",
    "exfiltration": "it sends something of the user's to an address",
    "command": "it has a command of a shell",
    "authority": "it speaks to the model with authority",
}


def _expanded(pattern: str) -> str:
    return _SPECIAL.sub(_special, pattern)


def _special(found: re.Match[str]) -> str:
    if found["count"]:
        return _WORD % found["count"]
    return _expanded(_PARTS[found["part"]]) if found["part"] else _BETWEEN


def _rows() -> dict[str, list[Phrase]]:
    heads: dict[str, list[Phrase]] = {}
    for rule, level, words, rest in _ROWS:
        needs = frozenset(_NEEDS[rule].split("|")) if rule in _NEEDS else frozenset[str]()
        phrase = Phrase(rule, level, _WHY[rule], "\\b" + _expanded(rest), _UNLESS.get(rule), needs)
        for word in words.split("|"):
            heads.setdefault(word, []).append(phrase)
    return heads


_HEADS = _rows()
_compile = cache(re.compile)  # when it is first tried: all of them take longer than a session's start should
_UNSPACED = tuple((rule, re.compile(pattern)) for rule, pattern in phrases_languages.UNSPACED)
_WORDS = re.compile(r"[^\W\d_]+")


def phrases(text: str) -> Iterator[tuple[Phrase, int, int]]:
    """Each phrase in a folded text, with where it begins and ends; the first of a rule and level."""
    words, places = set[str](), dict[str, list[tuple[int, int]]]()
    for found in _WORDS.finditer(text):
        word = found[0]
        words.add(word)
        if word in _HEADS:
            places.setdefault(word, []).append(found.span())
    seen = set[tuple[str, str]]()
    for head, spans in places.items():
        for phrase in _HEADS[head]:
            kind = phrase.rule, phrase.level
            if kind in seen or (phrase.needs and words.isdisjoint(phrase.needs)):
                continue
            if place := _place(phrase, text, spans):
                seen.add(kind)
                yield phrase, *place
    if not text.isascii():
        yield from _unspaced(text)


def _place(phrase: Phrase, text: str, spans: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    match, unless = _compile(phrase.follows).match, phrase.unless
    for start, end in spans:
        if (found := match(text, end)) and not (unless and unless.search(text, max(0, start - 24), start)):
            return start, found.end()
    return None


def _unspaced(text: str) -> Iterator[tuple[Phrase, int, int]]:
    for rule, pattern in _UNSPACED:
        if match := pattern.search(text):
            yield Phrase(rule, "hold", _WHY[rule], ""), match.start(), match.end()
