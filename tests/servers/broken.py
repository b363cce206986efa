"""The frames that hostile.py breaks, by name: the id of the call in, the bytes of a line out.

ANSWERS carry the live call's own id, so a relay can tell which call they meant and fails it at once. STRAYS name no id
that is in flight: they can only be dropped, and the call goes on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Frame: TypeAlias = "Callable[[Any], bytes]"
LOG_LINE = b'{"level":"info","time":1700000000,"msg":"listening"}\n'
_RESULT = '{"content":[{"type":"text","text":"broken"}]}'


def proper(call_id: Any, said: str) -> bytes:
    """A right answer."""
    result = {"content": [{"type": "text", "text": said}]}
    return json.dumps({"jsonrpc": "2.0", "id": call_id, "result": result}).encode() + b"\n"


def beside(call_id: Any, other_id: Any) -> bytes:
    """A broken answer to one call that says the id of another inside."""
    return b'{"jsonrpc":"2.0","id":%d,"result":{"items":[{"id":%d}],"x":NaN}}\n' % (call_id, other_id)


def _line(template: str | bytes) -> Frame:
    body = template.encode() if isinstance(template, str) else template
    return lambda call_id: (
        body.replace(b"ID", json.dumps(call_id).encode()).replace(b"RESULT", _RESULT.encode()) + b"\n"
    )


def _frames(templates: dict[str, str | bytes]) -> dict[str, Frame]:
    return {name: _line(template) for name, template in templates.items()}


ANSWERS = _frames(
    {
        "bad utf-8": b'{"jsonrpc":"2.0","id":ID,"result":{"x":"\xff\xfe"}}',
        "overlong utf-8": b'{"jsonrpc":"2.0","id":ID,"result":{"x":"\xc0\xaf"}}',
        "nan": '{"jsonrpc":"2.0","id":ID,"result":{"x":NaN}}',
        "infinity": '{"jsonrpc":"2.0","id":ID,"result":{"x":-Infinity}}',
        "1e400": '{"jsonrpc":"2.0","id":ID,"result":{"x":1e400}}',
        "surrogate": r'{"jsonrpc":"2.0","id":ID,"result":{"x":"\ud800"}}',
        "duplicate id": '{"jsonrpc":"2.0","id":ID,"id":ID,"result":RESULT}',
        "duplicate result": '{"jsonrpc":"2.0","id":ID,"result":RESULT,"result":RESULT}',
        "duplicate inside": '{"jsonrpc":"2.0","id":ID,"result":{"x":1,"x":2}}',
        "wrong case result": '{"jsonrpc":"2.0","id":ID,"result":RESULT,"Result":RESULT}',
        "wrong case error": '{"jsonrpc":"2.0","id":ID,"result":RESULT,"ERROR":{"code":1,"message":"x"}}',
        "100k nesting": '{"jsonrpc":"2.0","id":ID,"result":{"x":' + "[" * 10**5 + "]" * 10**5 + "}}",
        "100k objects": '{"jsonrpc":"2.0","id":ID,"result":' + '{"x":' * 10**5 + "1" + "}" * 10**5 + "}",
        "result and error": '{"jsonrpc":"2.0","id":ID,"result":RESULT,"error":{"code":1,"message":"x"}}',
        "neither": '{"jsonrpc":"2.0","id":ID}',
        "result no object": '{"jsonrpc":"2.0","id":ID,"result":"done"}',
        "result null": '{"jsonrpc":"2.0","id":ID,"result":null}',
        "error no object": '{"jsonrpc":"2.0","id":ID,"error":"boom"}',
        "error without code": '{"jsonrpc":"2.0","id":ID,"error":{"message":"boom"}}',
        "no version": '{"id":ID,"result":RESULT}',
        "version 1.0": '{"jsonrpc":"1.0","id":ID,"result":RESULT}',
        "batch": '[{"jsonrpc":"2.0","id":ID,"result":RESULT}]',
        "cut short": '{"jsonrpc":"2.0","id":ID,"result":{"content":[',
        "two in a line": '{"jsonrpc":"2.0","id":ID,"result":RESULT}{"jsonrpc":"2.0","id":ID,"result":RESULT}',
        "id as a string": '{"jsonrpc":"2.0","id":"ID","result":RESULT}',
        "id as a float": '{"jsonrpc":"2.0","id":ID.0,"result":RESULT}',
    }
)

STRAYS = _frames(
    {
        "garbage": bytes(range(1, 10)) + bytes(range(11, 256)),
        "zero bytes": b"\0" * 4096,
        "banner": "Server listening on stdio",
        "log line": LOG_LINE[:-1],
        "empty lines": "\n\n\r\n \n",
        "byte order mark": b"\xef\xbb\xbf",
        "a string": '"hello"',
        "a number": "1e400",
        "empty object": "{}",
        "empty batch": "[]",
        "id null": '{"jsonrpc":"2.0","id":null,"result":RESULT}',
        "id true": '{"jsonrpc":"2.0","id":true,"result":RESULT}',
        "id a list": '{"jsonrpc":"2.0","id":[1],"result":RESULT}',
        "id an object": '{"jsonrpc":"2.0","id":{"a":1},"result":RESULT}',
        "no id": '{"jsonrpc":"2.0","result":RESULT}',
        "unasked id": '{"jsonrpc":"2.0","id":"nobody","result":RESULT}',
        "method no string": '{"jsonrpc":"2.0","method":7}',
        "params a list": '{"jsonrpc":"2.0","method":"notifications/message","params":[1]}',
        "wrong case method": '{"jsonrpc":"2.0","Method":"notifications/message"}',
        "request with id null": '{"jsonrpc":"2.0","id":null,"method":"sampling/createMessage","params":{}}',
        "request with id 1.0": '{"jsonrpc":"2.0","id":1.0,"method":"sampling/createMessage","params":{}}',
        "method and result": '{"jsonrpc":"2.0","id":"x","method":"ping","result":{}}',
        "100k brackets": "[" * 10**5,
        "many digits": '{"jsonrpc":"2.0","id":' + "9" * 10**5 + ',"result":{}}',
    }
)

FRAMES = ANSWERS | STRAYS
