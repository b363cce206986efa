"""broken.py: whose answer a broken frame was meant to be, told by the envelope and never by what is inside."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.broken import request_id, salvage, suspects
from bulkhead.wire.frames import Overlong, Splitter

LONG = "x" * 5000
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def ends(frame: bytes) -> tuple[bytes, bytes]:
    """The two ends as the splitter keeps them."""
    (line,) = Splitter(1024).feed(frame + b"\n")
    assert isinstance(line, Overlong)
    return line.head, line.tail


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (b'Ready{"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0"}'),
        (b'[info] {not json} {"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0"}'),
        (b'{"jsonrpc":"2.0"}', None),
        (b"Ready", None),
        (b"", None),
    ],
)
def test_a_message_behind_other_text(frame: bytes, found: bytes | None) -> None:
    assert salvage(frame) == found


@pytest.mark.parametrize(
    ("frame", "ids"),
    [
        (b'{"jsonrpc":"2.0","id":2,"result":{"x":NaN}}', ["2"]),
        (b'{"jsonrpc":"2.0","id":"2","result":{}}', ["2"]),
        (b'{"jsonrpc":"2.0","id":2.0,"result":{}}', ["2"]),
        (b'{"result":{"x":[1,{}]},"jsonrpc":"2.0","id":"a\\"b"}', ['a"b']),
        (b'{"id":2,"result":null}', ["2"]),
        (b'{ "id" : 2 , "Result" : {} }', ["2"]),
        (b'{"jsonrpc":"2.0","id":2}', ["2"]),
        (b'{"jsonrpc":"2.0","id":2,"result":{"content":[', ["2"]),
        (b'{"jsonrpc":"2.0","id":2,"result":{"x":"\xff"}}', ["2"]),
        (b'[{"jsonrpc":"2.0","id":2,"result":{}}]', ["2"]),
        (b'{"jsonrpc":"2.0","id":2,"result":{}}{"jsonrpc":"2.0","id":3,"result":{}}', ["2"]),
        # What is inside belongs to somebody else.
        (b'{"jsonrpc":"2.0","id":2,"result":{"id":7,"method":"GET"}}', ["2"]),
        (b'{"result":{"id":7,"x":"\\"id\\":8}"},"id":2}', ["2"]),
        (b'{"jsonrpc":"2.0","id":2,"result":{"x":"\\"id\\":8}"}', ["2"]),
        # No answers.
        (b'{"jsonrpc":"2.0","id":2,"method":"sampling/createMessage","params":{"x":NaN}}', []),
        (b'{"params":{"x":NaN},"jsonrpc":"2.0","id":2,"method":"roots/list"}', []),
        (b'{"method":"roots/list","params":{"x":NaN},"jsonrpc":"2.0","id":2}', []),
        (b'{"level":"info","id":2,"msg":"result sent"}', []),
        (b"id: 2, result: ok", []),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}', []),
        (b'{"jsonrpc":"2.0","id":true,"result":{}}', []),
        (b'{"jsonrpc":"2.0","id":[2],"result":{}}', []),
        (b"", []),
    ],
)
def test_whose_answer_a_frame_was_meant_to_be(frame: bytes, ids: list[str]) -> None:
    assert set(suspects(frame[:1024], frame[-1024:])) == set(ids)


@pytest.mark.parametrize(
    "frame",
    [
        {"jsonrpc": "2.0", "id": 2, "result": {"text": LONG, "id": 7}},
        {"result": {"id": 7, "text": LONG}, "jsonrpc": "2.0", "id": 2},
        {"id": 2, "error": {"code": 1, "message": LONG}, "jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "result": {"text": LONG, "method": "GET"}, "id": 2},
    ],
)
def test_whose_answer_an_overlong_line_was(frame: dict[str, object]) -> None:
    assert suspects(*ends(json.dumps(frame).encode())) == ["2"]


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        ({"jsonrpc": "2.0", "id": 2, "method": "m", "params": {"x": LONG, "id": 7}}, 2),
        ({"method": "m", "params": {"id": 7, "x": LONG}, "jsonrpc": "2.0", "id": "two\n"}, "two\n"),
        ({"method": "m", "params": {"x": LONG, "id": 7}, "jsonrpc": "2.0"}, None),
        ({"method": "m", "params": {"id": 7, "x": LONG}}, None),
        ({"jsonrpc": "2.0", "id": 2, "result": {"x": LONG}}, None),
        ({"jsonrpc": "2.0", "method": "m", "params": {"x": LONG + '","id":7}'}}, None),
        ({"jsonrpc": "2.0", "id": None, "method": "m", "params": {"x": LONG}}, None),
        ({"jsonrpc": "2.0", "id": 1.0, "method": "m", "params": {"x": LONG}}, None),
        ({"jsonrpc": "2.0", "id": "\ud800", "method": "m", "params": {"x": LONG}}, None),
        ([{"jsonrpc": "2.0", "id": 2, "method": "m", "params": {"x": LONG}}], None),
    ],
)
def test_the_id_of_an_overlong_request(frame: object, found: object) -> None:
    assert request_id(*ends(json.dumps(frame).encode())) == found


@given(st.permutations(["jsonrpc", "id", "method", "params"]), st.integers() | TEXT, TEXT)
def test_the_id_is_the_envelopes_or_none(order: list[str], own: int | str, inside: str) -> None:
    members = {"jsonrpc": "2.0", "id": own, "method": "m", "params": {"id": inside, "x": LONG, "a": {"id": inside}}}
    found = request_id(*ends(json.dumps({key: members[key] for key in order}, ensure_ascii=False).encode()))
    assert found in (own, None)
    if order.index("method") < order.index("params") and (
        order.index("id") < order.index("params") or order[3] == "id"
    ):
        assert found == own


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_are_survived(head: bytes, tail: bytes) -> None:
    assert all(type(text) is str for text in suspects(head, b'"result":' + tail))
    assert request_id(head, tail) in (None, request_id(head, tail))
