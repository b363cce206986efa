"""Invisible text in what a server answers: made visible, refused or passed, as guards.invisible of the profile says.

What stands in an ordinary position of a script or an emoji stays (visible.py), and so does base64, which has nothing
invisible in it. Everything else of an answer is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkhead.errors import DeniedError
from bulkhead.policy.verdict import ALLOW, Deny, Rewrite
from bulkhead.wire.messages import Answer, with_result

if TYPE_CHECKING:
    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message

_METHODS = frozenset({"tools/call", "prompts/get", "resources/read"})
# As JSON has them: ASCII, and no escape but those of a line, a quote and a slash.
_ESCAPED = (b"\\u", b"\\b", b"\x7f")
_NOTES = 20


def results(message: Message, context: Context) -> Verdict:
    """Judges the texts of a tool's result, a prompt and a resource. A note for each text that was changed."""
    how = context.spec.guards.invisible
    if how == "pass" or context.method not in _METHODS or not isinstance(message, Answer) or not message.result:
        return ALLOW
    if message.raw.isascii() and not any(sign in message.raw for sign in _ESCAPED):
        return ALLOW
    places: list[str] = []
    result = _shown(message.result, "", places)
    if not places:
        return ALLOW
    if how == "refuse":
        return _refused(places, context)
    return Rewrite(with_result(message, result), _notes(places))


def _refused(places: list[str], context: Context) -> Deny:
    hint = 'invisible = "show" under [guards] of the profile makes it visible instead'
    what = f"{context.tool or context.method}: the answer has invisible text, and was refused"
    return Deny(DeniedError(what, why="; ".join(_counted(places)), hint=hint, reason="invisible"))


def _notes(places: list[str]) -> tuple[str, ...]:
    return tuple(f"invisible: {place}" for place in _counted(places))


def _counted(places: list[str]) -> list[str]:
    more = [f"and in {len(places) - _NOTES} more texts"] if len(places) > _NOTES else []
    return places[:_NOTES] + more


def _shown(value: Any, at: str, places: list[str]) -> Any:
    """The same value if nothing in it is invisible; else a changed one, and what was changed in places."""
    if isinstance(value, str):
        return _text(value, at, places)
    if isinstance(value, list):
        return [_shown(item, f"{at}/{index}", places) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {_text(key, at, places): _shown(item, f"{at}/{key}", places) for key, item in value.items()}
    return value


def _text(text: str, at: str, places: list[str]) -> str:
    from bulkhead.policy.visible import has_invisible, hidden, plain, shown  # noqa: PLC0415 - most answers are ASCII

    if plain(text) or not has_invisible(text):
        return text
    count = sum(run.end() - run.start() for run in hidden(text))
    places.append(f"{count} character{'s' * (count != 1)} shown at {shown(at)}")
    return shown(text)
