"""messages.py: every rule of its docstring, each with the reason, and that the SDK sees what we accept as the same."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import jsonrpc as sdk

from bulkhead.errors import LimitError
from bulkhead.wire import messages
from bulkhead.wire.messages import MAX_DEPTH, MAX_VALUES, Answer, Malformed, Notification, Request, parse

REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b}'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), JSON, max_size=5)


def refused(frame: bytes) -> str:
    with pytest.raises(Malformed) as caught:
        parse(frame)
    return str(caught.value)


def params(text: str | bytes) -> bytes:
    return REQUEST % (text.encode() if isinstance(text, str) else text)


# What is accepted


def test_a_request() -> None:
    frame = b'{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x"},"later":[1.50]}'
    assert parse(frame) == Request(frame, "a", "tools/call", {"name": "x"})


def test_a_request_without_params() -> None:
    frame = b' {"jsonrpc":"2.0","method":"ping","id":0}\r'
    assert parse(frame) == Request(frame, 0, "ping", {})


def test_a_notification() -> None:
    frame = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    assert parse(frame) == Notification(frame, "notifications/initialized", {})


def test_a_result_and_an_error() -> None:
    result, error = b'{"jsonrpc":"2.0","id":1,"result":{}}', b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}'
    assert parse(result) == Answer(result, 1, {}, None)
    assert parse(error) == Answer(error, 1, None, {"code": 1, "message": ""})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('"\\uD83D\\uDE00"', "\U0001f600"),
        ('"\\\\ud83d"', "\\ud83d"),
        ('"\U0001f600 \u00e9 \\u0000 \\/"', "\U0001f600 \u00e9 \0 /"),
        ("9" * 400, int("9" * 400)),
        ("1e308", 1e308),
        ("-0", 0),
    ],
)
def test_unusual_values_that_are_sound(text: str, value: Any) -> None:
    message = parse(params(f'{{"x":{text}}}'))
    assert isinstance(message, Request)
    assert message.params == {"x": value}


@pytest.mark.parametrize("innermost", ["[]", "{}", "[1]", '{"a":1}'])
@pytest.mark.parametrize("bracket", ["[]", '{"a":}'])
def test_nesting_up_to_the_bound(innermost: str, bracket: str) -> None:
    def nested(depth: int) -> bytes:
        around = depth - 2 - 1  # the envelope and params, and the innermost
        return params('{"x":' + bracket[:-1] * around + innermost + bracket[-1] * around + "}")

    assert isinstance(parse(nested(MAX_DEPTH)), Request)
    assert refused(nested(MAX_DEPTH + 1)) == f"nested deeper than {MAX_DEPTH}"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [1000, 100_000])
def test_abysmal_nesting_is_refused_and_not_a_crash(opening: str, depth: int) -> None:
    closing = "]" if opening == "[" else "}"
    assert refused(params('{"x":' + opening * depth + "1" + closing * depth + "}")) == "nested deeper than 128"
    assert refused(opening.encode() * depth) in ("nested deeper than 128", "not JSON: Expecting value: line 1 column 1")


def test_brackets_in_strings_are_no_nesting() -> None:
    assert isinstance(parse(params('{"x":"' + "[{" * 1000 + '"}')), Request)


# What is refused


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b'{"jsonrpc":"2.0","id":1,"id":1,"method":"m"}', "duplicate key"),
        (b'{"jsonrpc":"2.0","id":1,"\\u0069d":2,"method":"m"}', "duplicate key"),
        (params('{"name":"a","name":"b"}'), "duplicate key"),
        (params('{"x":[{"y":{"a":1,"b":2,"a":1}}]}'), "duplicate key"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","Method":"n"}', "key 'Method' in another case"),
        (b'{"jsonrpc":"2.0","ID":1,"method":"m"}', "key 'ID' in another case"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"Error":{}}', "key 'Error' in another case"),
        ('{"jsonrpc":"2.0","id":1,"method":"m","param\u017f":{}}'.encode(), "key 'param\u017f' in another case"),
        (b'{"jsonrpc":"2.0","id":1,"re\\u017fult":{}}', "key 're\u017fult' in another case"),
        (params('{"x":NaN}'), "NaN is not JSON"),
        (params('{"x":[Infinity]}'), "Infinity is not JSON"),
        (params('{"x":-Infinity}'), "-Infinity is not JSON"),
        (params('{"x":1e400}'), "a number out of range"),
        (params('{"x":-1e400}'), "a number out of range"),
        (params('{"x":"\\ud800"}'), "a lone surrogate"),
        (params('{"x":"\\uDFFF"}'), "a lone surrogate"),
        (params('{"x":"\\ude00\\ud83d"}'), "a lone surrogate"),
        (params('{"\\ud800":1}'), "a lone surrogate"),
        (params(b'{"x":"\xff"}'), "not UTF-8 at byte 61"),
        (params(b'{"x":"\xc0\xaf"}'), "not UTF-8 at byte 61"),
        (params(b'{"x":"\xed\xa0\x80"}'), "not UTF-8 at byte 61"),
        (b'\xef\xbb\xbf{"jsonrpc":"2.0","method":"m"}', "not JSON: Expecting value"),
        ('{"jsonrpc":"2.0","method":"m"}'.encode("utf-16"), "not UTF-8 at byte 0"),
        (b'{"jsonrpc":"2.0","id":null,"method":"m"}', "id is not a string or an integer"),
        (b'{"jsonrpc":"2.0","id":1.0,"method":"m"}', "id is not a string or an integer"),
        (b'{"jsonrpc":"2.0","id":true,"method":"m"}', "id is not a string or an integer"),
        (b'{"jsonrpc":"2.0","id":{},"method":"m"}', "id is not a string or an integer"),
        (b'{"jsonrpc":"2.0","id":[1],"result":{}}', "id is not a string or an integer"),
        (b'{"jsonrpc":"2.0","id":"%b","method":"m"}' % (b"x" * 1025), "id has more than 1024 characters"),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}', "id is not a string or an integer"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}', "result and error together"),
        (b'{"jsonrpc":"2.0","id":1,"result":null,"error":null}', "result and error together"),
        (b'{"jsonrpc":"2.0","id":1}', "neither result nor error"),
        (b'{"jsonrpc":"2.0","result":{}}', "neither method nor id"),
        (b'{"jsonrpc":"2.0"}', "neither method nor id"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","result":{}}', "a method together with a result"),
        (b'{"jsonrpc":"2.0","method":"m","error":{}}', "a method together with a result"),
        (b'{"jsonrpc":"2.0","id":1,"result":[]}', "result is not an object"),
        (b'{"jsonrpc":"2.0","id":1,"result":null}', "result is not an object"),
        (b'{"jsonrpc":"2.0","id":1,"error":"boom"}', "error has no code and message"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":true,"message":""}}', "error has no code and message"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1.0,"message":""}}', "error has no code and message"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1}}', "error has no code and message"),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', "method is not a string"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}', "params is not an object"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":null}', "params is not an object"),
        (b'[{"jsonrpc":"2.0","id":1,"method":"m"}]', "a batch"),
        (b"[]", "a batch"),
        (b'"text"', "not an object"),
        (b"1", "not an object"),
        (b"null", "not an object"),
        (b'{"id":1,"method":"m"}', 'no "jsonrpc": "2.0"'),
        (b'{"jsonrpc":2.0,"id":1,"method":"m"}', 'no "jsonrpc": "2.0"'),
        (b'{"jsonrpc":"1.0","id":1,"method":"m"}', 'no "jsonrpc": "2.0"'),
        (b"", "not JSON: "),
        (b"{'id':1}", "not JSON: "),
        (b'{"jsonrpc":"2.0","id":1,"method":"m"}{}', "not JSON: Extra data"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m\x01"}', "not JSON: Invalid control character"),
        (params('{"x":' + "9" * 10_000 + "}"), "not JSON: Exceeds the limit"),
        (params('{"x":01}'), "not JSON: "),
    ],
)
def test_refused_and_why(frame: bytes, why: str) -> None:
    assert refused(frame).startswith(why)


def test_the_number_of_values_is_bounded() -> None:
    assert refused(params('{"x":[' + "0," * MAX_VALUES + "0]}")) == f"more than {MAX_VALUES} values"
    assert refused(params('{"x":[' + "{}," * MAX_VALUES + "{}]}")) == f"more than {MAX_VALUES} values"


def test_commas_in_strings_are_no_values() -> None:
    text = ("," * MAX_VALUES + '[\\"{') * 2
    assert isinstance(parse(params('{"x":"' + text + '"}')), Request)


def test_counting_values_takes_time_in_proportion() -> None:
    began = time.process_time()
    assert refused(b'{"x":"' + b'\\"' * 2**20 + b"," * (MAX_VALUES + 1)).startswith("not JSON: Unterminated string")
    assert time.process_time() - began < 2, "a string without an end is searched from each of its quotes"


# Two parsers, one reading


@given(
    st.fixed_dictionaries(
        {"jsonrpc": st.just("2.0") | JSON},
        optional={
            "id": st.integers() | st.text(st.characters(exclude_categories=["Cs"])) | JSON,
            "method": st.sampled_from(["tools/call", "ping", "x/y"]) | JSON,
            "params": OBJECTS | JSON,
            "result": OBJECTS | JSON,
            "error": st.fixed_dictionaries({"code": st.integers(), "message": st.text("ab")}) | JSON,
            "later": JSON,
        },
    ),
    st.booleans(),
)
def test_the_sdk_sees_what_we_accept_as_the_same(body: dict[str, Any], ascii_only: bool) -> None:
    frame = json.dumps(body, ensure_ascii=ascii_only).encode()
    try:
        ours = parse(frame)
    except Malformed:
        return
    theirs = sdk.jsonrpc_message_adapter.validate_json(frame, by_name=False)
    match ours:
        case Request():
            assert isinstance(theirs, sdk.JSONRPCRequest)
            assert (theirs.id, theirs.method, theirs.params or {}) == (ours.id, ours.method, ours.params)
        case Notification():
            assert isinstance(theirs, sdk.JSONRPCNotification)
            assert (theirs.method, theirs.params or {}) == (ours.method, ours.params)
        case Answer(result=None):
            assert isinstance(theirs, sdk.JSONRPCError)
            assert (theirs.id, theirs.error.code) == (ours.id, (ours.error or {})["code"])
        case Answer():
            assert isinstance(theirs, sdk.JSONRPCResponse)
            assert (theirs.id, theirs.result) == (ours.id, ours.result)


@given(st.integers(-(2**63), 2**63) | st.text(st.characters(exclude_categories=["Cs"])), OBJECTS)
def test_what_is_sound_is_accepted(request_id: messages.Id, members: dict[str, Any]) -> None:
    frame = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "m", "params": members}).encode()
    assert parse(frame) == Request(frame, request_id, "m", members)


@given(st.binary(max_size=200))
def test_bytes_are_a_message_or_malformed(frame: bytes) -> None:
    try:
        assert parse(frame).raw == frame
    except Malformed:
        return


# What we write


def test_a_failure_says_what_its_error_says() -> None:
    error = LimitError("limit reached: oom", why="too much", hint="raise it", reason="oom")
    assert json.loads(messages.failure("a", error)) == {
        "jsonrpc": "2.0",
        "id": "a",
        "error": {
            "code": -31006,
            "message": "limit reached: oom",
            "data": {"reason": "oom", "why": "too much", "hint": "raise it"},
        },
    }


def test_a_failure_may_have_no_id_and_any_text() -> None:
    frame = messages.failure(None, LimitError("a\nb \udcff\u2028"))
    assert b"\n" not in frame
    assert json.loads(frame)["id"] is None
    assert json.loads(frame)["error"] == {"code": -31006, "message": "a\nb ?\u2028", "data": {"reason": "limit"}}


def test_a_notification_of_our_own_is_one() -> None:
    frame = messages.notification("notifications/cancelled", {"requestId": 1})
    assert parse(frame) == Notification(frame, "notifications/cancelled", {"requestId": 1})


def test_another_id_changes_the_id_alone() -> None:
    request = parse(b'{"id":1,"later":[1],"jsonrpc":"2.0","method":"initialize","params":{"a":{}}}')
    assert isinstance(request, Request)
    renamed = json.loads(messages.with_id(request, "bulkhead/1"))
    assert renamed == json.loads(request.raw) | {"id": "bulkhead/1"}
