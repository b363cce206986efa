"""Values with their places: what the parsers find is what others find, and where it stands is where it was written."""

from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import UnreadableError
from bulkhead.hosts import jsonc, toml_text, yaml_text
from bulkhead.hosts.node import Splice, spliced

if TYPE_CHECKING:
    from bulkhead.hosts.node import Node

PARSERS = {"jsonc": jsonc.parse, "toml": toml_text.parse, "yaml": yaml_text.parse}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]))
TABLES = st.dictionaries(
    TEXTS, st.integers(-(2**31), 2**31) | st.booleans() | TEXTS | st.lists(TEXTS) | st.dictionaries(TEXTS, TEXTS)
)


def every(node: Node) -> list[Node]:
    """The node, and all below it."""
    below = [member.node for member in (node.members or {}).values()] + (node.items or [])
    return [node, *(found for child in below for found in every(child))]


@given(VALUES, st.sampled_from([None, 2]), st.booleans())
def test_json_as_others_read_it(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    root = jsonc.parse(text)
    assert root.plain() == value
    for node in every(root):
        assert json.loads(text[node.start : node.end]) == node.plain()


@given(st.text('{}[]",:/* \n\\019.-eEtruefalsn'))
def test_what_is_json_is_read_and_nothing_but_an_unreadable_is_raised(text: str) -> None:
    with suppress(ValueError, UnreadableError):
        assert repr(jsonc.parse(text).plain()) == repr(json.loads(text, object_pairs_hook=_once))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


@given(VALUES)
def test_what_is_json_is_never_refused(value: Any) -> None:
    assert jsonc.parse(f" /**/{json.dumps(value)}//").plain() == value


JSONC = '\ufeff// first\r\n{ /* a "b" */ "one": [1, 2,], // "x": {\r\n  "two": {"three": "//no /*comment*/",},\r\n}'


def test_comments_trailing_commas_and_a_byte_order_mark() -> None:
    root = jsonc.parse(JSONC)
    assert root.plain() == {"one": [1, 2], "two": {"three": "//no /*comment*/"}}
    found = root.at(("two", "three"))
    assert found is not None
    assert JSONC[found.start : found.end] == '"//no /*comment*/"'
    assert root.at(("two", "four")) is None
    assert root.at(("one", "x")) is None


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ('{"a": 1,\n"a": 2}', 2, "this key is there already"),
        ('{"a": {"b": 1,\n "b": 2}}', 2, "this key is there already"),
        ("{'a': 1}", 1, "a key in double quotes"),
        ('{"a": 1\n"b": 2}', 2, "a ',' or '}' is missing"),
        ('{"a" 1}', 1, "a ':' is missing"),
        ("[1, 2", 1, "a ',' or ']' is missing"),
        ("{} {}", 1, "behind the end"),
        ("{} /* open", 1, "behind the end"),
        ('{"a": NaN}', 1, "not JSON"),
        ('{"a": 01}', 1, "not JSON"),
        ('{"a": "\n"}', 1, "not JSON"),
        (f'{{"a": {"9" * 5000}}}', 1, "too long"),
        ("[" * 5000, 1, "too deeply"),
    ],
)
def test_what_is_no_json_says_where(text: str, line: int, why: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        jsonc.parse(text)
    assert caught.value.what == f"{line}: this cannot be read"
    assert why in caught.value.why


TOML = '''# top
model = "o3"  # a "comment"
when = 1979-05-27 07:32:00Z
[mcp_servers.git]  # one
command = 'uvx'
args = [
  "mcp-server-git", # ]
  "--x",
]
env.A = "1"
[mcp_servers.git.env2]
"B c" = """two
lines"""
[other]
list = [{ a = 1, b = [2, 3] }, {}]
[mcp_servers."x.y"]
command = "npx"
[[array]]
n = 1
[array.sub]
m = 2
[[array]]
n = 3
'''


@pytest.mark.parametrize("text", [TOML, TOML.replace("\n", "\r\n"), "\ufeff" + TOML, ""])
def test_toml_as_tomllib_reads_it(text: str) -> None:
    root = toml_text.parse(text)
    assert root.plain() == tomllib.loads(text.removeprefix("\ufeff"))
    for node in every(root):
        if node.style == "flow" and node.start != -1:
            assert tomllib.loads(f"v = {text[node.start : node.end]}")["v"] == node.plain()


def test_a_table_of_toml_stands_from_its_header_to_its_last_value() -> None:
    root = toml_text.parse(TOML)
    git = root.at(("mcp_servers", "git"))
    assert git is not None
    piece = TOML[git.start : git.end]
    assert piece.startswith("  # one\ncommand")
    assert piece.endswith('two\nlines"""')
    assert [root.at(("mcp_servers",)).start, root.at(("mcp_servers", "git", "env")).start] == [-1, -1]  # type: ignore[union-attr]


def test_a_table_in_pieces_has_no_place() -> None:
    root = toml_text.parse("[s.a]\nx = 1\n[b]\n[s.a.env]\ny = 2\n[s.c]\n")
    starts = {name: root.at(name).start != -1 for name in (("s", "a"), ("b",), ("s", "a", "env"), ("s", "c"))}  # type: ignore[union-attr]
    assert starts == {("s", "a"): False, ("b",): True, ("s", "a", "env"): True, ("s", "c"): True}


@given(TABLES)
def test_toml_of_many_forms(tables: dict[str, Any]) -> None:
    lines = [f"{_quoted(key)} = {_toml(value)} # {_quoted(key)}\n" for key, value in tables.items()]
    text = "[a]\n" + "".join(lines)
    root = toml_text.parse(text)
    assert root.plain() == {"a": tables}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


YAML = """# top
extensions:
  git: # one
    cmd: uvx
    args:
    - mcp-server-git
    - "--x"
    # between
  fetch: {type: stdio, cmd: 'npx', timeout: 300, enabled: true}
  empty:
"""


@pytest.mark.parametrize("text", [YAML, YAML.replace("\n", "\r\n"), "\ufeff" + YAML])
def test_yaml_as_others_read_it(text: str) -> None:
    root = yaml_text.parse(text)
    assert root.plain() == yaml.safe_load(text)
    found = root.at(("extensions", "git"))
    assert found is not None
    assert text[found.start : found.end].endswith('- "--x"')
    for node in every(root):
        if node.style == "flow" and node.start != node.end:
            assert yaml.safe_load(text[node.start : node.end]) == node.plain()


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS) | st.dictionaries(TEXTS, TEXTS)), st.booleans())
def test_yaml_of_many_forms(tables: dict[str, Any], flow: bool) -> None:
    text = yaml.safe_dump(tables, allow_unicode=True, default_flow_style=flow)
    try:
        root = yaml_text.parse(text)
    except UnreadableError as error:
        assert "no plain key" in error.why  # noqa: PT017 - a key that YAML merges, or one that is too long
    else:
        assert root.plain() == tables


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &x {b: 1}\nc: *x\n", "an alias"),
        ("a: 1\na: 2\n", "already"),
        ("a: {<<: {b: 1}}\n", "no plain key"),
        ("? [1]\n: 2\n", "no plain key"),
        ("a: !!python/object:os.system {}\n", ""),
        ("a: [1\n", "expected"),
        ("a: 1\n---\nb: 2\n", ""),
        ("a: !x y\n", "could not determine"),
        ("a: " + "[" * 5000, ""),
    ],
)
def test_yaml_that_is_not_understood(text: str, why: str) -> None:
    with pytest.raises(UnreadableError, match="cannot be read") as caught:
        yaml_text.parse(text)
    assert why in caught.value.why


@pytest.mark.parametrize("text", ["a = 1\na = 2\n", "a = [1\n", "[a]\n[a]\n", "x", "a = " + "[" * 5000])
def test_toml_that_is_not_understood(text: str) -> None:
    with pytest.raises(UnreadableError, match="cannot be read"):
        toml_text.parse(text)


@given(st.text(), st.lists(st.tuples(st.integers(0, 20), st.text()), max_size=4))
def test_splices_change_nothing_else(text: str, pieces: list[tuple[int, str]]) -> None:
    words = [f"<{index}>" for index, _ in enumerate(pieces)]
    whole = text.join(words)
    splices = [
        Splice(whole.index(word), whole.index(word) + len(word), new)
        for word, (_, new) in zip(words, pieces, strict=True)
    ]
    if text.count("<") == 0:
        assert spliced(whole, reversed(splices)) == text.join(new for _, new in pieces)
