"""The text of a value: RFC 8785 where that has one, and what counts as a change."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.policy.declared import canonical, differences, digest, form, identity, items, leaves
from tests.pins.rich import DISCOVERED, INTRODUCTION, TOOL

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS
)
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner), max_leaves=20)


@given(_VALUES)
def test_the_text_is_that_of_rfc_8785(value: Any) -> None:
    assert canonical(value).encode() == rfc8785.dumps(value)


def test_members_are_sorted_as_utf_16() -> None:
    value = {"\U0001f600": 1, "\ufb33": 2, "\u20ac": 3, "\r": 4}
    assert canonical(value).encode() == rfc8785.dumps(value)
    assert list(json.loads(canonical(value)).values()) == [4, 3, 1, 2]


@given(_VALUES, _VALUES)
def test_values_differ_in_leaves_if_their_texts_differ(one: Any, other: Any) -> None:
    assert bool(list(differences(one, other))) == (canonical(one) != canonical(other))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", "1.0", True),
        ("1", "1e0", True),
        ("0", "-0.0", True),
        ("100", "1E2", True),
        ('"\\u00e9"', '"é"', True),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', True),
        ("18446744073709551615", "18446744073709551616", False),
        ("18446744073709551615", "1.8446744073709551615e19", False),
        ("9007199254740993", "9007199254740992", False),
        ("-9007199254740993", "-9007199254740992", False),
        ("1", "true", False),
        ("0", "false", False),
        ("1", '"1"', False),
        ("null", "false", False),
        ('["a"]', '{"0": "a"}', False),
        ("[]", "{}", False),
        ("[1, 2]", "[2, 1]", False),
        ('"e\\u0301"', '"\\u00e9"', False),
    ],
)
def test_what_is_a_change(one: str, other: str, same: bool) -> None:
    before, after = json.loads(one), json.loads(other)
    assert (digest(before) == digest(after)) is same
    assert bool(list(differences(before, after))) is not same


def _tool(**schema: Any) -> str:
    return digest(form("tool", {"name": "x", "inputSchema": schema}))


SETS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"required": ["a", "b"]}, {"required": ["b", "a"]}),
    ({"enum": [1, {"x": 2}, "c"]}, {"enum": ["c", 1, {"x": 2}]}),
    ({"type": ["string", "null"]}, {"type": ["null", "string"]}),
    ({"dependentRequired": {"a": ["b", "c"]}}, {"dependentRequired": {"a": ["c", "b"]}}),
    ({"dependencies": {"a": ["b", "c"]}}, {"dependencies": {"a": ["c", "b"]}}),
    ({"properties": {"a": {"enum": [1, 2]}}}, {"properties": {"a": {"enum": [2, 1]}}}),
    ({"$defs": {"a": {"required": ["x", "y"]}}}, {"$defs": {"a": {"required": ["y", "x"]}}}),
    ({"items": [{"enum": [1, 2]}]}, {"items": [{"enum": [2, 1]}]}),
    ({"allOf": [{"if": {"required": ["x", "y"]}}]}, {"allOf": [{"if": {"required": ["y", "x"]}}]}),
]
NO_SETS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"enum": [1, 2]}, {"enum": [1, 2, 2]}),
    ({"required": ["a", "b"]}, {"required": ["a"]}),
    ({"required": ["a"]}, {"required": {"0": "a"}}),
    ({"default": {"required": ["a", "b"]}}, {"default": {"required": ["b", "a"]}}),
    ({"properties": {"required": {"default": [1, 2]}}}, {"properties": {"required": {"default": [2, 1]}}}),
    ({"examples": [1, 2]}, {"examples": [2, 1]}),
    ({"const": {"enum": [1, 2]}}, {"const": {"enum": [2, 1]}}),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "null"}, {"type": "string"}]}),
]


@pytest.mark.parametrize(("one", "other"), SETS)
def test_the_order_in_a_set_of_a_schema_is_no_change(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert _tool(**one) == _tool(**other)


@pytest.mark.parametrize(("one", "other"), NO_SETS)
def test_the_order_in_any_other_array_is_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert _tool(**one) != _tool(**other)


def test_leaves_have_their_json_pointers() -> None:
    found = leaves({"a/b": {"c~d": [1, {"e": []}]}, "f": "x\u200b"})
    assert found == {"/a~1b/c~0d/0": "1", "/a~1b/c~0d/1/e": "[]", "/f": '"x\u200b"'}
    assert leaves(form("tool", TOOL))["/inputSchema/required"] == '["place"]'


def test_a_server_is_the_same_in_both_eras() -> None:
    assert identity(DISCOVERED) == identity(INTRODUCTION)
    assert set(identity(INTRODUCTION)) == {"serverInfo", "instructions", "_meta"}


@pytest.mark.parametrize(
    ("declared", "odd"),
    [
        ([{"name": "a"}, {"name": "a", "title": "x"}], ["it is declared 2 times in one list"] * 2),
        ([{"title": "a"}], ["it has no name"]),
        ([{"name": 5}], ["it has no name"]),
        ([{"name": ""}], ["it has no name"]),
        ([{"name": "a" * 5000}], ["it has no name"]),
        (["a", None], ["it is no object"] * 2),
        ([{"name": "a", "Name": "b"}], ["it has the key 'Name', which some hosts read as 'name'"]),
        ({"a": 1}, ["tools is no list"]),
        (None, ["tools is no list"]),
        ([{"name": "a"}], [""]),
    ],
)
def test_what_nobody_can_approve(declared: Any, odd: list[str]) -> None:
    found = items("tools/list", {"tools": declared})
    assert [item.odd for item in found] == odd
    assert all(item.key.startswith("tool:") for item in found)
