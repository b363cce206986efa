"""Whether a call's arguments fit the schema of the pinned tool: JSON Schema, by `$schema`, or 2020-12 without one.

A server wrote the schema. What it refers to is never fetched; how long judging could take is known before it begins
(schemas.py), and a call that could take too long is denied. A schema that cannot judge at all, because it is not valid
or refers to something outside itself, judges nothing: the server works as before, and a note says so. `format` is not
judged, as servers read it differently. A denial names the place and what was expected there, never what was there.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from bulkhead.errors import DeniedError
from bulkhead.policy import schemas
from bulkhead.policy.verdict import ALLOW, Allow, Deny
from bulkhead.wire.messages import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema_rs import ValidationError, Validator

    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message

# Visits of a part of a schema to a value: 20 to 50 ns each where they are only counted, 50 us where each is an error.
_MOST_WORK = 20_000_000
_MOST_EXPLAINED = 20_000
# A pattern that looks ahead may take the square of the length: 18 000 characters, most of a second and all the work.
_LOOKING = 16
_PATTERN_BYTES = 2**20
_BACKTRACKS = 100_000
_KEPT = 128
_LONGEST = 200
# Kinds of errors whose value is the schema's own; of others it may be the caller's.
_SHOWN = frozenset(
    {"type", "required", "enum", "const", "pattern", "multipleOf", "minimum", "maximum", "exclusiveMinimum"}
    | {"exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
)
_WORDS = {
    "additionalProperties": "only properties that the schema names",
    "unevaluatedProperties": "only properties that the schema names",
    "falseSchema": "nothing",
    "oneOf": "one of several forms, and no more than one",
    "anyOf": "one of several forms",
    "uniqueItems": "items unlike one another",
}

_UNFIT = "they do not fit the tool's inputSchema"
_LOOK = "send what the tool's inputSchema describes"
_SEND_LESS = "send less, or set guards.arguments = false in the profile"


class _Judge(NamedTuple):
    weight: schemas.Weight
    validator: Validator
    looks: bool


class _Same:
    """A schema as a key: it is the same as itself only, so that a look takes no longer for a large one."""

    __slots__ = ("schema",)

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.schema is other.schema

    def __hash__(self) -> int:
        return id(self.schema)


def fitting(message: Message, context: Context) -> Verdict:
    """Denies a tool call whose arguments do not fit Context.schema."""
    if context.method != "tools/call" or context.schema is None or not context.spec.guards.arguments:
        return ALLOW
    if not isinstance(message, Request):
        return ALLOW
    judge = _judge(_Same(context.schema))
    if isinstance(judge, Allow):
        return judge
    given = message.params.get("arguments")
    arguments = {} if given is None else given
    work = _work(judge, arguments, len(message.raw))
    if work > _MOST_WORK:
        return _denied(context, "to judge them by the tool's schema would take too long", _SEND_LESS)
    if judge.validator.is_valid(arguments):
        return ALLOW
    return _denied(context, _why(judge, arguments) if work <= _MOST_EXPLAINED else _UNFIT, _LOOK)


@lru_cache(_KEPT)
def _judge(key: _Same) -> _Judge | Allow:
    schema = dict(key.schema)
    try:
        weight = schemas.weigh(schema)
        validator, looks = _compiled(schema)
    except schemas.UnjudgedError as error:
        return Allow((f"arguments not judged by the tool's schema: {error}",))
    return _Judge(weight, validator, looks)


def _compiled(schema: dict[str, Any]) -> tuple[Validator, bool]:
    """The validator, and whether its patterns look ahead or back, which takes another engine."""
    import jsonschema_rs  # noqa: PLC0415 - 60 ms, and a server whose tools are never called needs none

    linear = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES)
    looking = jsonschema_rs.FancyRegexOptions(size_limit=_PATTERN_BYTES, backtrack_limit=_BACKTRACKS)
    for options in (linear, looking):
        try:
            validator = jsonschema_rs.validator_for(
                schema, pattern_options=options, validate_formats=False, offline=True, mask="..."
            )
        except ValueError:  # a ValidationError, and "Recursion limit reached", are ones
            continue
        return validator, options is looking
    raise schemas.UnjudgedError("it is not valid")


def _work(judge: _Judge, arguments: Any, size: int) -> int:
    """No fewer visits than judging takes. size: of the message, in bytes, which is no less than its values."""
    weight = judge.weight
    if not weight.endless and not judge.looks and size * weight.visits[-1] <= _MOST_EXPLAINED:
        return size * weight.visits[-1]
    values, depth = schemas.extent(arguments)
    if weight.endless and depth >= len(weight.visits):
        return _MOST_WORK + 1
    at = min(depth, len(weight.visits) - 1)
    looking = weight.patterns[at] * size**2 // _LOOKING if judge.looks else 0
    return values * weight.visits[at] + looking


def _why(judge: _Judge, arguments: Any) -> str:
    from jsonschema_rs import ValidationError  # noqa: PLC0415 - as above

    try:
        judge.validator.validate(arguments)
    except ValidationError as error:
        place = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in error.instance_path)
        return f"at {place[:_LONGEST]!r} it has to be {_expected(error)}" if place else f"it needs {_expected(error)}"
    return _UNFIT


def _expected(error: ValidationError) -> str:
    name = error.kind.name
    if name not in _SHOWN:
        return _WORDS.get(name, f"what {name} of the schema says")
    shown = json.dumps(error.kind.value, ensure_ascii=True, default=str)
    return f"{name} {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '...'}"


def _denied(context: Context, why: str, hint: str) -> Deny:
    what = f"tool {context.tool!r} was not called: its arguments do not fit"
    return Deny(DeniedError(what, why=why, hint=hint, reason="arguments"))
