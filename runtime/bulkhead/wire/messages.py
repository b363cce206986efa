"""Strict JSON-RPC 2.0 as MCP uses it: one frame in, one message out, or Malformed with the reason.

Refused, because two parsers read them differently, and a guard must see what the other side will see: duplicate keys,
envelope keys in another case, NaN and infinities, lone surrogates, bytes that are not UTF-8, nesting over MAX_DEPTH,
ids that are not a string or an integer, a result together with an error, batches. What is unknown is kept: a message
carries its original bytes, and these are what is forwarded.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

if TYPE_CHECKING:
    from bulkhead.errors import BulkheadError

MAX_DEPTH = 128
# Python spends up to 64 bytes on a value of two characters: 16 MiB of "[]," would become 350 MiB.
MAX_VALUES = 1_000_000
# Ids are remembered after their message is gone.
MAX_ID = 1024
_SMALL = 4096

Id: TypeAlias = str | int
_ENVELOPE = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# Possessive, and content with a missing end: whatever a server sends, each byte is looked at once.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class Malformed(Exception):
    """A frame that is not a message; str() says why."""


class Request(NamedTuple):
    """A message that wants an answer."""

    raw: bytes
    id: Id
    method: str
    params: dict[str, Any]


class Notification(NamedTuple):
    """A message that wants none."""

    raw: bytes
    method: str
    params: dict[str, Any]


class Answer(NamedTuple):
    """A result, or an error; the other one is None."""

    raw: bytes
    id: Id
    result: dict[str, Any] | None
    error: dict[str, Any] | None


Message: TypeAlias = Request | Notification | Answer


def parse(frame: bytes) -> Message:
    """The message in one frame. Raises Malformed."""
    body = _decode(frame)
    if type(body) is not dict:
        raise Malformed("a batch" if type(body) is list else "not an object")
    if body.get("jsonrpc") != "2.0":
        raise Malformed('no "jsonrpc": "2.0"')
    for key in body.keys() - _ENVELOPE:
        # casefold(): Go reads "re\u017fult", written with a long s, as "result".
        if key.casefold() in _ENVELOPE:
            raise Malformed(f"key {key!r} in another case")
    if "method" in body:
        return _call(frame, body)
    return _answer(frame, body)


def _call(frame: bytes, body: dict[str, Any]) -> Request | Notification:
    method, params = body["method"], body.get("params", {})
    if type(method) is not str:
        raise Malformed("method is not a string")
    if type(params) is not dict:
        raise Malformed("params is not an object")
    if "result" in body or "error" in body:
        raise Malformed("a method together with a result")
    if "id" in body:
        return Request(frame, _id(body["id"]), method, params)
    return Notification(frame, method, params)


def _answer(frame: bytes, body: dict[str, Any]) -> Answer:
    if "id" not in body:
        raise Malformed("neither method nor id")
    if ("result" in body) == ("error" in body):
        raise Malformed("result and error together" if "result" in body else "neither result nor error")
    result, error = body.get("result"), body.get("error")
    if "result" in body and type(result) is not dict:
        raise Malformed("result is not an object")
    if "error" in body and not (
        type(error) is dict and type(error.get("code")) is int and type(error.get("message")) is str
    ):
        raise Malformed("error has no code and message")
    return Answer(frame, _id(body["id"]), result, error)


def _id(value: object) -> Id:
    if type(value) is not str and type(value) is not int:
        raise Malformed("id is not a string or an integer")
    if type(value) is str and len(value) > MAX_ID:
        raise Malformed(f"id has more than {MAX_ID} characters")
    return value


def _decode(frame: bytes) -> Any:
    if len(frame) > 2 * MAX_VALUES and _commas(frame) > MAX_VALUES and _commas(_STRING.sub(b"", frame)) > MAX_VALUES:
        raise Malformed(f"more than {MAX_VALUES} values")
    try:
        body = _DECODER.decode(frame.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise Malformed(f"nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise Malformed(f"not JSON: {error}") from None
    # Counting takes less than walking where there are few bytes, and more where there are many in few values.
    may_be_deep = len(frame) > _SMALL or frame.count(b"[") + frame.count(b"{") > MAX_DEPTH
    if may_be_deep and _deeper(body, MAX_DEPTH):
        raise Malformed(f"nested deeper than {MAX_DEPTH}")
    if b"\\" in frame and _SURROGATE.search(frame):
        _refuse_lone_surrogates(body)
    return body


def _commas(frame: bytes) -> int:
    return frame.count(b",") + frame.count(b"[") + frame.count(b"{")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("duplicate key")
    return members


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Malformed("a number out of range")
    return value


def _constant(text: str) -> NoReturn:
    raise Malformed(f"{text} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)


def _deeper(body: object, limit: int) -> bool:
    level: list[Any] = [[body]]
    for _ in range(limit + 1):
        inner = (item for value in level for item in (value.values() if type(value) is dict else value))
        level = [item for item in inner if type(item) in (dict, list)]
        if not level:
            return False
    return True


def _refuse_lone_surrogates(body: object) -> None:
    try:
        json.dumps(body, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("a lone surrogate") from None


def failure(request_id: Id | None, error: BulkheadError) -> bytes:
    """The frame of a JSON-RPC error that says what a BulkheadError says."""
    body = {"code": error.code, "message": error.what, "data": error.data()}
    return encode({"jsonrpc": "2.0", "id": request_id, "error": body})


def notification(method: str, params: dict[str, Any]) -> bytes:
    """The frame of a notification of our own."""
    return encode({"jsonrpc": "2.0", "method": method, "params": params})


def encode(body: dict[str, Any]) -> bytes:
    """One frame, without its newline. A lone surrogate, as in the name of a file, becomes "?"."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def with_id(request: Request, new_id: Id) -> bytes:
    """The frame of the same request under another id; unknown envelope keys are kept."""
    return encode(json.loads(request.raw) | {"id": new_id})


def with_params(request: Request, params: dict[str, Any]) -> Request:
    """The same request with other params; unknown envelope keys are kept."""
    return request._replace(raw=encode(json.loads(request.raw) | {"params": params}), params=params)


def with_result(answer: Answer, result: dict[str, Any]) -> Answer:
    """The same answer with another result; unknown envelope keys are kept."""
    return answer._replace(raw=encode(json.loads(answer.raw) | {"result": result}), result=result)


def with_error(answer: Answer, error: dict[str, Any]) -> Answer:
    """The same answer with another error; unknown envelope keys are kept."""
    return answer._replace(raw=encode(json.loads(answer.raw) | {"error": error}), error=error)


def meta(params: dict[str, Any]) -> dict[str, Any]:
    """``params._meta``, or nothing where it is missing or no object."""
    value = params.get("_meta")
    return value if type(value) is dict else {}


def traceparent(params: dict[str, Any]) -> str | None:
    """``params._meta.traceparent`` where it is a text."""
    value = meta(params).get("traceparent")
    return value if type(value) is str else None
