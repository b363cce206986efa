"""The scan of what a server declares: every text that a model will read, before anything of it is approved. PURE.

Rules: every string and every key at any depth is read, as it is and as a model reads it: without what is invisible,
letters of other scripts as the Latin ones they look like, encoded words decoded. A finding at level "hold" is what no
honest server was seen to say, and keeps the item back until a person approved it; one at "tell" is shown to who is
asked. Two hints in one text hold, if one weighs. It is no proof of innocence: docs/scan.md has the measures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bulkhead.policy.hiding import decoded, traces
from bulkhead.policy.lookalikes import foreign, latin, lookalike, whole
from bulkhead.policy.phrases import phrases
from bulkhead.policy.visible import bare, exact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ("Finding", "lookalike", "scan")

_DEPTH = 128
_CHARACTERS = 2**20
_FINDINGS = 200
_EXCERPT = 120
_SHORT = 64
# Hints that hold beside another one. Steering and weight come together in honest texts too.
_WEIGHTY = frozenset({"secrecy", "secrets", "exfiltration", "command", "comment", "url"})
_NAMES = frozenset({"name", "title"})
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "externalValue", "externalDocs"})
_REMOTE = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//|\s*(?:file|ftp|data|jar|gopher):", re.IGNORECASE)
_DIALECT = re.compile(r"https?://(?:www\.)?json-schema\.org/|https?://spec\.openapis\.org/", re.IGNORECASE)
_COMPOUND = re.compile(r"(?=.{6})\w*(?:[a-z][A-Z]|[a-z0-9][_.-][a-z0-9])[\w.-]*", re.ASCII)

# Names of parameters that ask for more than a tool needs.
_ASKS = {
    "hold": re.compile(
        r"side_?notes?|(?:full_|entire_|whole_)(?:conversation|chat|context|history)(?:_history)?|chain_?of_?thought"
        r"|(?:hidden|initial|original|developer)_?(?:prompt|instructions?)|(?:tool|function)_?calls?_?history"
        r"|(?:ssh|aws|private|users?_)_?(?:private_)?(?:keys?|credentials)_?(?:contents?|data|value|file_contents?)"
        r"|env(?:ironment)?_?(?:dump|contents?|file_contents?)|dot_?env(?:_contents?)?|seed_?phrase|mnemonic_?phrase"
        r"|(?:users?_)?passwords?_?(?:dump|list)|browser_?cookies|all_?(?:secrets|credentials|env\w*|messages|prompts)"
    ),
    "tell": re.compile(
        r"(?:conversation|chat|message|dialogue?)_?(?:history|log|transcript)|previous_?messages|system_?prompts?"
        r"|env(?:ironment)?_?var(?:iable)?s?|ssh_?keys?|private_?keys?|id_?rsa|credentials|model_?instructions"
        r"|assistant_?(?:context|memory|instructions)|tools?_?list|user_?context"
    ),
}


_Said: TypeAlias = tuple[str, Literal["hold", "tell"], str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """at: JSON pointer of the string, or of the member whose key it is. excerpt: at most 120 characters, visible."""

    rule: str
    level: Literal["hold", "tell"]
    at: str
    why: str
    excerpt: str


def scan(value: object, *, tools: Collection[str] = ()) -> list[Finding]:
    """What is wrong with any JSON value that a server declares. tools: names of other servers' tools."""
    found: list[Finding] = []
    left = _CHARACTERS
    for at, key, text in _texts(value):
        left -= len(text or "")
        if text is None or left < 0 or len(found) >= _FINDINGS:
            why = "it is nested too deep, too long or has too many findings to be read whole"
            return [*found, Finding("size", "hold", at, why, "")]
        found += _text(text, at)
        found += _member(key, text, at, tools)
    return found


def _texts(value: object) -> Iterator[tuple[str, str | None, str | None]]:
    """(pointer, key, text) of each string; of each key too, with None for its own key. No text: it goes too deep."""
    stack: list[tuple[str, str | None, Any, int]] = [("", "", value, 0)]
    while stack:
        at, key, item, depth = stack.pop()
        if isinstance(item, str):
            yield at, key, item
        elif depth > _DEPTH:
            yield at, key, None
        elif isinstance(item, dict):
            inner = [(f"{at}/{_escaped(name)}", name, member, depth + 1) for name, member in item.items()]
            yield from ((where, None, name) for where, name, _, _ in inner)
            stack += reversed(inner)
        elif isinstance(item, (list, tuple)):
            stack += reversed([(f"{at}/{index}", key, member, depth + 1) for index, member in enumerate(item)])


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name


def _text(text: str, at: str) -> list[Finding]:
    """What a text says, by its form and by its words."""
    found = _short(text) if len(text) <= _SHORT else _said(text)
    return [Finding(rule, level, at, why, excerpt) for rule, level, why, excerpt in found]


@lru_cache(4096)
def _short(text: str) -> tuple[_Said, ...]:
    return _said(text)  # most strings of a schema are the same few words


def _said(text: str) -> tuple[_Said, ...]:
    found: list[_Said] = [(rule, level, why, _excerpt(text, *place)) for rule, level, why, *place in traces(text)]
    folded = _folded(text)
    source = text if len(folded) == len(text) else folded
    found += [(said.rule, said.level, said.why, _excerpt(source, *place)) for said, *place in phrases(folded)]
    for inner, *place in decoded(text):
        if any(phrases(_folded(inner))) or any(trace.level == "hold" for trace in traces(inner)):
            found.append(("encoded", "hold", f"it says {inner[:60]!r} in another encoding", _excerpt(text, *place)))
    hints = sorted({rule for rule, *_ in found})
    if len(hints) > 1 and not _WEIGHTY.isdisjoint(hints) and all(level == "tell" for _, level, *_ in found):
        found.append(("hints", "hold", f"several hints in one text: {', '.join(hints)}", found[0][3]))
    return tuple(found)


def _folded(text: str) -> str:
    """As a model reads it: nothing invisible, Latin letters for what looks like them. "-" for "_", small letters."""
    plain = bare(text)
    if not plain.isascii():
        plain = whole(plain).replace("\u2019", "'")
    plain = plain.lower().replace("_", "-")
    return plain.replace("n't", " not") if "n't" in plain else plain


def _member(key: str | None, text: str, at: str, tools: Collection[str]) -> Iterator[Finding]:
    """What is wrong with a string because of where it stands."""
    if key is None:
        yield from _asking(text, at)
    elif key in _REFERENCES and _REMOTE.match(text) and not _DIALECT.match(text):
        yield Finding("remote", "hold", at, "it refers to something elsewhere", _excerpt(text, 0, len(text)))
    elif key == "$schema" and _REMOTE.match(text) and not _DIALECT.match(text):
        yield Finding(
            "remote", "tell", at, "its schema is of a language defined elsewhere", _excerpt(text, 0, len(text))
        )
    elif key == "name":
        if "/properties/" not in at:
            yield from _asking(text, at)
        yield from _name(text, at, tools)
    elif tools and key != "title":
        yield from _others(text, at, tools)
    if (key is None or key in _NAMES) and foreign(text):
        why = "its letters of another script look Latin"
        yield Finding("homoglyph", "hold", at, why, _excerpt(text, 0, len(text)))


def _asking(name: str, at: str) -> Iterator[Finding]:
    if level := _asks(name[: _EXCERPT + 1]):
        why = "its name asks for more than a tool needs"
        yield Finding("parameter", level, at, why, exact(name)[:_EXCERPT])


@lru_cache(4096)
def _asks(name: str) -> Literal["hold", "tell"] | None:
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-\s.]", "_", latin(bare(name))).lower().strip("_")
    if _ASKS["hold"].fullmatch(plain):
        return "hold"
    return "tell" if _ASKS["tell"].fullmatch(plain) else None


def _name(name: str, at: str, tools: Collection[str]) -> Iterator[Finding]:
    if name in tools:
        yield Finding("shadow", "tell", at, "another server has a tool of this name", name[:_EXCERPT])
    elif other := lookalike(name, tools):
        plain = re.sub(r"[\W_]", "", name).casefold() == re.sub(r"[\W_]", "", other).casefold()
        why = f"it looks like {exact(other)[:60]!r}, another server's tool"
        yield Finding("shadow", "tell" if plain else "hold", at, why, exact(name)[:_EXCERPT])


def _others(text: str, at: str, tools: Collection[str]) -> Iterator[Finding]:
    for match in _COMPOUND.finditer(text):
        if match[0] in tools:
            why = f"it speaks of {match[0]!r}, another server's tool"
            yield Finding("foreign", "hold", at, why, _excerpt(text, match.start(), match.end()))
            return


def _excerpt(text: str, start: int, end: int) -> str:
    """Around what was found, on one line."""
    first = max(0, start - 20)
    piece = " ".join(text[first : min(end, start + _EXCERPT) + 20].split())
    return exact(piece)[:_EXCERPT]
