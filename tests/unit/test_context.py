"""context.py: our span takes the place of the host's, baggage goes, and no other byte changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.context import with_context
from bulkhead.wire.messages import Notification, Request, parse

THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OURS = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def sent(frame: str) -> str:
    message = parse(frame.encode())
    assert isinstance(message, Request | Notification)
    return with_context(message, OURS).decode()


@pytest.mark.parametrize(
    "frame",
    [
        '{"jsonrpc":"2.0","id":1,"method":"m"}',
        '{"jsonrpc":"2.0","id":1,"method":"m","params":{"traceparent":"x","baggage":"y"}}',
        '{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":1}}}',
        '{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":"traceparent"}}',
        '{"jsonrpc":"2.0","method":"m","params":{"_meta":null}}',
    ],
)
def test_a_message_without_context_is_the_same_bytes(frame: str) -> None:
    message = parse(frame.encode())
    assert isinstance(message, Request | Notification)
    assert with_context(message, OURS) is message.raw


@pytest.mark.parametrize(
    "frame",
    [
        '{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"traceparent":HERE}}}',
        ' { "params" : { "_meta" : { "a" : [ ] , "traceparent" : HERE , "tracestate":"s=1" } } ,"jsonrpc":"2.0",'
        '"id":1,"method":"m","later":1.50}',
        # The same text elsewhere, before and after, plain and escaped.
        '{"jsonrpc":"2.0","id":1,"method":"m","params":{"name":"x","arguments":{"traceparent":"THEIRS"},'
        '"_meta":{"x":"THEIRS","traceparent":HERE},"y":"THEIRS \\u00e9 \\"traceparent\\":\\"THEIRS\\""}}',
        # Numbers that reading and writing would change, characters outside ASCII, escaped keys.
        '{"jsonrpc":"2.0","id":1,"method":"m","params":{"n":[1.50,1E5,0.1000,3.14159265358979323846,-0],'
        '"s":"\u00e9\U0001f600\\/\\ud83d\\ude00","\\u005fmeta":{"trace\\u0070arent":HERE}}}',
    ],
)
@pytest.mark.parametrize("theirs", [f'"{THEIRS}"', '"\\u0030' + THEIRS[1:] + '"', '"odd \\" one"', "null", "[1,{}]"])
def test_only_the_traceparent_changes(frame: str, theirs: str) -> None:
    frame = frame.replace("THEIRS", THEIRS)
    assert sent(frame.replace("HERE", theirs)) == frame.replace("HERE", f'"{OURS}"')


@pytest.mark.parametrize(
    ("given_meta", "sent_meta"),
    [
        ('{"baggage":"k=v"}', "{}"),
        ('{ "baggage" : {"k":["v"]} }', "{  }"),
        ('{"baggage":"k","a":1}', '{"a":1}'),
        ('{"a":1, "baggage":"k"}', '{"a":1}'),
        ('{"a":1, "baggage":"k" , "b":"baggage"}', '{"a":1, "b":"baggage"}'),
        (f'{{"baggage":"k","traceparent":"{THEIRS}"}}', f'{{"traceparent":"{OURS}"}}'),
        (f'{{"traceparent":"{THEIRS}","baggage":"k"}}', f'{{"traceparent":"{OURS}"}}'),
        (f'{{"traceparent":"{THEIRS}","x":1.0,"baggage":"k"}}', f'{{"traceparent":"{OURS}","x":1.0}}'),
    ],
)
def test_baggage_goes_with_its_comma(given_meta: str, sent_meta: str) -> None:
    frame = '{"jsonrpc":"2.0","method":"m","params":{"baggage":1.50,"_meta":META,"x":{"baggage":"stays"}}}'
    assert sent(frame.replace("META", given_meta)) == frame.replace("META", sent_meta)


@given(
    st.dictionaries(TEXT | st.sampled_from(["traceparent", "baggage", "tracestate"]), TEXT | st.floats(0, 1)),
    st.dictionaries(TEXT.filter(lambda key: key != "_meta"), TEXT),
    st.sampled_from([None, 0, 1]),
    st.booleans(),
)
def test_what_arrives_is_what_was_meant(
    meta: dict[str, Any],
    others: dict[str, str],
    indent: int | None,
    plain: bool,
) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "m", "params": others | {"_meta": meta}}
    text = json.dumps(body, indent=indent, ensure_ascii=plain)
    wanted = {key: OURS if key == "traceparent" else value for key, value in meta.items() if key != "baggage"}
    assert json.loads(sent(text)) == body | {"params": others | {"_meta": wanted}}
