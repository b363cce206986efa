"""Arguments against the pinned schema: what fits, what does not and where, and schemas that mean harm."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.policy import arguments, chain, schemas
from bulkhead.policy.verdict import ALLOW, Allow, Verdict
from tests.policy.made import call, context, denial, spec

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "pattern": "^/"},
        "n": {"type": "integer", "minimum": 1},
        "mode": {"enum": ["r", "w"]},
        "deep": {"type": "array", "items": {"type": "object", "properties": {"a/b": {"const": 1}}}},
    },
    "required": ["path"],
    "additionalProperties": False,
}
SECRET = "hunter" + "2" * 20


def judged(schema: Any, given: Any = None, **guards: Any) -> Verdict:
    return arguments.fitting(call(given), context(spec(**guards), schema=schema))


@pytest.mark.parametrize("given", [{"path": "/x"}, {"path": "/x", "n": 1.0, "mode": "r", "deep": []}])
def test_what_fits(given: Any) -> None:
    assert judged(SCHEMA, given) is ALLOW


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, 'it needs required "path"'),
        ({}, 'it needs required "path"'),
        ({"path": SECRET}, "at '/path' it has to be pattern \"^/\""),
        ({"path": "/x", "n": SECRET}, "at '/n' it has to be type [\"integer\"]"),
        ({"path": "/x", "n": 0}, "at '/n' it has to be minimum 1"),
        ({"path": "/x", "mode": SECRET}, 'at \'/mode\' it has to be enum ["r", "w"]'),
        ({"path": "/x", "deep": [{}, {"a/b": SECRET}]}, "at '/deep/1/a~1b' it has to be const 1"),
        ({"path": "/x", SECRET: 1}, "it needs only properties that the schema names"),
        ([SECRET], 'it needs type ["object"]'),
    ],
)
def test_what_does_not_fit_and_where_never_what(given: Any, why: str) -> None:
    error = denial(judged(SCHEMA, given))
    assert (error.reason, error.why) == ("arguments", why)
    assert error.what == "tool 'read' was not called: its arguments do not fit"
    assert SECRET not in f"{error.what}{error.why}{error.hint}"


def test_null_is_as_if_there_were_none() -> None:
    message = call()._replace(params={"name": "read", "arguments": None})
    assert arguments.fitting(message, context(spec(), schema={"type": "object"})) is ALLOW


def test_what_is_not_judged() -> None:
    assert judged(SCHEMA, {}, arguments=False) is ALLOW
    assert judged(None, {}) is ALLOW
    other = context(spec(), schema=SCHEMA, method="prompts/get")
    assert arguments.fitting(call({}), other) is ALLOW


@pytest.mark.parametrize(
    ("schema", "given", "fits"),
    [
        ({"prefixItems": [{"type": "integer"}]}, ["x"], False),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": [False]}, ["x"], True),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]}, ["x"], False),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": True, "minimum": 1}, 1, False),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "format": "uri"}, "no uri", True),
    ],
)
def test_the_draft_is_the_schemas_own_or_the_newest(schema: Any, given: Any, *, fits: bool) -> None:
    assert (judged(schema, given) is ALLOW) is fits


def chained(length: int, *, leaf: Any = None, key: str = "anyOf", twice: int = 2) -> dict[str, Any]:
    """A schema whose parts refer to the next, some times each."""
    parts = {f"x{i}": {key: [{"$ref": f"#/$defs/x{i + 1}"}] * twice} for i in range(length)}
    return {"$defs": parts | {f"x{length}": leaf or {"type": "string"}}, "$ref": "#/$defs/x0"}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "wat"}, "it is not valid"),
        ({"properties": {"a": {"pattern": "("}}}, "it is not valid"),
        ({"$schema": "http://127.0.0.1:9/own"}, "it is not valid"),
        ({"pattern": "((((a{1,100}){1,100}){1,100}){1,100}){1,100}"}, "it is not valid"),
        ({"$ref": "http://127.0.0.1:9/schema"}, "it refers to something outside itself"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "it refers to something outside itself"),
        ({"$ref": "#anchor"}, "it refers to something outside itself"),
        ({"$ref": "#/$defs/x"}, "it refers to a part that it does not have"),
        ({"$ref": "#"}, "a part of it refers to itself"),
        ({"anyOf": [{"not": {"$ref": "#"}}]}, "a part of it refers to itself"),
        ({"$dynamicRef": "#"}, "it has references whose meaning depends on where they stand"),
        ({"items": {"$id": "/x", "$ref": "#"}}, "it has references whose meaning depends on where they stand"),
        (chained(40, twice=1), "a chain of its references is longer than 64"),
        (chained(2000, twice=1), "a chain of its references is longer than 64"),
        ({"enum": list(range(10_000))}, "it has more than 10000 values"),
        ({"patternProperties": {str(i): {} for i in range(129)}}, "it has more than 128 patterns"),
    ],
)
def test_a_schema_that_cannot_judge_leaves_the_server_usable(schema: Any, why: str) -> None:
    assert judged(schema, {}) == Allow((f"arguments not judged by the tool's schema: {why}",))


def nested(depth: int, inner: Any = None) -> Any:
    value: Any = {} if inner is None else inner
    for _ in range(depth):
        value = {"a": value}
    return value


def unevaluated(levels: int) -> Any:
    schema: Any = {"properties": {"a": {}}}
    for _ in range(levels):
        schema = {"anyOf": [schema, {"properties": {"b": True}}], "unevaluatedProperties": False}
    return schema


TWICE = {"anyOf": [{"properties": {"a": {"$ref": "#"}}, "required": [key]} for key in "yz"]}


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (chained(30), {}),
        (chained(30, key="allOf"), {}),
        (unevaluated(20), {"a": 1}),
        (TWICE, nested(25)),
        ({"properties": {"a": {"$ref": "#"}}}, nested(60)),
        ({"items": {"enum": list(range(9000))}}, ["x"] * 10_000),
        ({"pattern": "(?=.*x)(?=.*y).*z"}, "a" * 100_000),
    ],
    ids=["anyOf", "allOf", "unevaluated", "recursion", "deep", "enum", "lookahead"],
)
def test_what_would_take_too_long_is_denied_before_it_begins(schema: Any, given: Any) -> None:
    error = denial(judged(schema, given))
    assert (error.reason, error.why) == ("arguments", "to judge them by the tool's schema would take too long")
    assert "guards.arguments = false" in error.hint


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (chained(12, leaf={"type": "object"}), {}),
        (unevaluated(5), {"a": 1}),
        ({"properties": {"a": {"$ref": "#"}}, "type": "object"}, nested(31)),
        ({"properties": {"text": {"type": "string"}}}, {"text": "a" * 5_000_000}),
        ({"properties": {"to": {"pattern": r"^(?!\.)[^@]+@[^@]+$"}}}, {"to": "a@b", "text": "a" * 10_000}),
        ({"properties": {"to": {"pattern": "^(a+)+$"}}}, {"to": "a" * 5_000_000}),
        ({"uniqueItems": True}, list(range(100_000))),
    ],
    ids=["anyOf", "unevaluated", "recursion", "long", "lookahead", "nested quantifiers", "unique"],
)
def test_what_is_only_large_is_judged(schema: Any, given: Any) -> None:
    assert judged(schema, given) is ALLOW


def test_a_wrong_value_among_many_is_denied_without_a_list_of_errors() -> None:
    schema = chained(14, leaf={"properties": {"a": {"type": "string"}}})
    error = denial(judged(schema, {"a": 1}))
    assert error.why == "they do not fit the tool's inputSchema"


def test_a_schema_is_compiled_once() -> None:
    arguments._judge.cache_clear()
    for _ in range(3):
        judged(SCHEMA, {"path": "/x"})
    judged(dict(SCHEMA), {"path": "/x"})
    assert arguments._judge.cache_info().misses == 2
    limit = arguments._judge.cache_info().maxsize
    assert limit is not None
    assert limit < 1000


def test_a_weight_grows_as_parts_unfold() -> None:
    assert schemas.weigh({}).visits == [1, 1]
    tree = schemas.weigh({"items": {"items": {"type": "string"}}})
    assert (list(tree.visits), tree.endless) == ([1, 2, 3, 3], False)
    again = schemas.weigh({"items": {"$ref": "#"}})
    assert again.endless
    assert all(less < more for less, more in pairwise(again.visits))
    assert schemas.weigh({"properties": {"a": {"properties": {"b": {"pattern": "x"}}}}}).patterns == [0, 0, 1, 1]


def test_extent_counts_values_and_depth() -> None:
    assert schemas.extent(1) == (1, 0)
    assert schemas.extent({}) == (1, 0)
    assert schemas.extent({"a": [1, 2], "b": {}}) == (5, 2)


# Against another implementation

NAMES = st.sampled_from("abc")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, -2.0, 1e300])
    | st.text("ab", max_size=3)
)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(NAMES, v, max_size=3), max_leaves=8)
TYPES = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
REFERENCES = st.sampled_from(["#/$defs/x", "#/$defs/y", "#", "#/properties/a", "#/$defs/none", "http://127.0.0.1:9/"])
LEAVES = st.one_of(
    st.booleans(),
    st.fixed_dictionaries({"type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True)}),
    st.fixed_dictionaries({"enum": st.lists(VALUES, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"const": VALUES}),
    st.fixed_dictionaries({"minimum": st.integers(-2, 2), "multipleOf": st.sampled_from([1, 2, 0.5])}),
    st.fixed_dictionaries(
        {"pattern": st.sampled_from(["^a", "b$", "(?!b)a", "^(a+)+$"]), "maxLength": st.integers(0, 3)}
    ),
    st.fixed_dictionaries({"required": st.lists(NAMES, unique=True), "maxProperties": st.integers(0, 2)}),
    st.fixed_dictionaries({"uniqueItems": st.booleans(), "minItems": st.integers(0, 2)}),
    st.fixed_dictionaries({"$ref": REFERENCES}),
)


def larger(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several, named = st.lists(parts, min_size=1, max_size=3), st.dictionaries(NAMES, parts, max_size=3)
    optional: dict[Any, st.SearchStrategy[Any]] = {"properties": named, "patternProperties": named, "items": parts}
    optional |= dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), several)
    optional |= dict.fromkeys(("not", "if", "then", "else", "contains", "propertyNames"), parts)
    optional |= dict.fromkeys(("additionalProperties", "unevaluatedProperties", "unevaluatedItems"), parts)
    optional |= {"dependentSchemas": named, "$defs": st.fixed_dictionaries({"x": parts, "y": parts})}
    return st.lists(st.sampled_from(sorted(optional)), min_size=1, max_size=3, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: optional[key] for key in keys})
    )


SCHEMAS = st.recursive(LEAVES, larger, max_leaves=8).filter(lambda schema: isinstance(schema, dict))


@settings(max_examples=600, deadline=None)
@given(SCHEMAS, VALUES)
def test_the_verdict_is_that_of_another_implementation(schema: Any, value: Any) -> None:
    verdict = chain.judge([arguments.fitting], call(value), context(spec(), schema=schema))
    if isinstance(verdict, Allow) and verdict.notes:
        return
    if verdict is not ALLOW:
        error = denial(verdict)
        assert error.reason == "arguments"
        assert "too long" not in error.why
    judge = jsonschema.Draft202012Validator(schema)
    assert (verdict is ALLOW) is judge.is_valid({} if value is None else value)
