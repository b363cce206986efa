"""No secret leaves through an argument, and none comes back in a result: known values in every form, others by shape.

Rules: [guards] secrets says what becomes of what looks like a credential: "redact" puts "[redacted: github token]" in
its place in a result, "refuse" refuses the result, "pass" lets it go. A value of this session's own secrets is taken
out of results in any case. From arguments nothing can be taken out without changing what is asked for: they are refused
unless "pass". Neither a note nor an error repeats a value. A message that cannot be searched to its end is refused.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from bisect import bisect_right
from functools import cache
from itertools import accumulate, count
from typing import TYPE_CHECKING, Any

from bulkhead.errors import DeniedError
from bulkhead.policy import texts
from bulkhead.policy.verdict import ALLOW, Deny, Rewrite
from bulkhead.wire.messages import Answer, Request, with_result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.policy import search
    from bulkhead.policy.texts import Path
    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message

_ASKED = frozenset({"tools/call", "prompts/get", "completion/complete"})
_ANSWERED = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})
_MOST_TOLD = 20
# Between texts of another kind: no secret goes over it, so nothing of a value reaches into a key.
_END = "\1"
_LET_GO = 'set secrets = "pass" in [guards] of the profile if the tool is meant to be given credentials'
_TAKE_OUT = 'set secrets = "redact" in [guards] of the profile to have it taken out instead'


class Needles:
    """The values of this session's secrets, to look for in every form. values: by the names of the secrets.

    Values below 4 bytes are not looked for; those below 8 only as they are, and not in pieces.
    """

    def __init__(self, values: Mapping[str, bytes]) -> None:
        from bulkhead.policy.search import Search  # noqa: PLC0415 - not before there is something to search

        self.search = Search(values)

    def __repr__(self) -> str:
        return "Needles(...)"


@cache
def _none() -> Needles:
    return Needles({})


def arguments(message: Message, context: Context) -> Verdict:
    """Denies a request that carries a secret of this session's, or what looks like a credential."""
    if context.method not in _ASKED or not isinstance(message, Request) or context.spec.guards.secrets == "pass":
        return ALLOW
    found = _cleaned(message.params, context, unknown=True)
    return Deny(_refused(f"{context.method} carries", found[1], _LET_GO)) if found else ALLOW


def results(message: Message, context: Context) -> Verdict:
    """Takes secrets out of a result, or denies it."""
    if context.method not in _ANSWERED or not isinstance(message, Answer) or message.result is None:
        return ALLOW
    mode = context.spec.guards.secrets
    found = _cleaned(message.result, context, unknown=mode != "pass")
    if not found:
        return ALLOW
    body, notes = found
    if mode == "refuse" or body is None:
        return Deny(_refused(f"the answer to {context.method} carries", notes, _TAKE_OUT))
    return Rewrite(with_result(message, body), tuple(f"redacted {note}" for note in _told(notes)))


def _refused(what: str, notes: list[str], hint: str) -> DeniedError:
    """notes: what was found, each with its place."""
    first, more = notes[0], f", and {len(notes) - 1} more" if len(notes) > 1 else ""
    return DeniedError(f"{what} a secret", why=f"{first}{more}", hint=hint, reason="leak")


def _told(notes: list[str]) -> list[str]:
    rest = len(notes) - _MOST_TOLD
    return [*notes[:_MOST_TOLD], f"{rest} more"] if rest > 0 else notes


def _cleaned(body: Any, context: Context, *, unknown: bool) -> tuple[Any, list[str]] | None:
    """The body without its secrets, and what they were; None where there are none. No body: it was too much."""
    from bulkhead.policy.search import TooMuch  # noqa: PLC0415 - see Needles

    search = (context.needles or _none()).search
    lists = texts.gathered(body)
    data = {text: content for text in lists[texts.BINARY] if (content := _decoded(text))}
    # What claims to be binary, and is not, is a text.
    lists[texts.BINARY][:] = ["" if text in data else text for text in lists[texts.BINARY]]
    plain = [text for each in lists for text in (*each, _END)]
    try:
        found = search.find(texts.joined(plain), unknown=unknown)
        inside = {text: _cut(data[text], each) for text in data if (each := search.find(data[text], unknown=False))}
    except TooMuch:
        return None, ["more places that look like secrets than can be looked at"]
    if not found and not inside:
        return None
    return _replaced(body, [0, *accumulate(len(each) + 1 for each in lists)], _parts(plain, found), inside)


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return b""


def _parts(plain: list[str], found: list[search.Finding]) -> dict[int, list[search.Finding]]:
    """By the number of a text: what of it is a secret. What goes over several texts is in each, told in the first."""
    from bulkhead.policy.search import Finding  # noqa: PLC0415 - see Needles

    begins = texts.starts(plain)
    parts: dict[int, list[search.Finding]] = {}
    for start, end, what in found:
        first, last = bisect_right(begins, start) - 1, bisect_right(begins, end - 1) - 1
        for index in range(first, last + 1):
            piece = Finding(max(0, start - begins[index]), end - begins[index], what if index == first else "")
            parts.setdefault(index, []).append(piece)
    return parts


def _replaced(
    body: Any, numbers: list[int], parts: dict[int, list[search.Finding]], inside: dict[str, tuple[bytes, list[str]]]
) -> tuple[Any, list[str]]:
    """numbers: of the first text of each kind."""
    following, notes = list(map(count, numbers)), list[str]()

    def visit(kind: int, text: str, path: Path) -> str:
        found = parts.get(next(following[kind]))
        if found:
            cut, kinds = _cut(text.encode("utf-8", "surrogatepass"), found)
            made = cut.decode("utf-8", "replace")
        elif kind == texts.BINARY and text in inside:
            cut, kinds = inside[text]
            made = b64encode(cut).decode()
        else:
            return text
        where = ("a key of " if kind == texts.KEY else "") + texts.pointer(path)
        notes.extend(f"{what} at {where}" for what in kinds)
        return made

    return texts.walk(body, visit), notes


def _cut(text: bytes, found: list[search.Finding]) -> tuple[bytes, list[str]]:
    """The text with what tells of each secret in its place, and what they were. what "": it was told before."""
    pieces, done = list[bytes](), 0
    for start, end, what in found:
        pieces += [text[done:start], f"[redacted: {what.lower()}]".encode() if what else b""]
        done = end
    return b"".join([*pieces, text[done:]]), [what for _, _, what in found if what]
