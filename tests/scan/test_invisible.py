"""The guard on invisible text in what a server answers: shown, refused or passed, with everything else kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulkhead.errors import DeniedError
from bulkhead.policy import invisible
from bulkhead.policy.verdict import ALLOW, Context, Deny, Rewrite
from bulkhead.spec import Guards, Server, ServerSpec
from bulkhead.wire.messages import Answer, Request, encode, parse


def context(how: Any = "show", method: str = "tools/call") -> Context:
    spec = ServerSpec(name="test", server=Server(package="npm:x@1.0.0"), guards=Guards(invisible=how))
    return Context(spec, method, "read")


def answer(result: dict[str, Any], *, escaped: bool = False, **envelope: Any) -> Answer:
    body = {"jsonrpc": "2.0", "id": 1, "result": result} | envelope
    message = parse(json.dumps(body).encode() if escaped else encode(body))
    assert isinstance(message, Answer)
    return message


def text(*texts: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": item} for item in texts]}


@pytest.mark.parametrize("escaped", [False, True])
def test_invisible_text_is_shown_and_noted(escaped: bool) -> None:
    result = text("fine", "a\u200bb\U000e0041\x1b[0m") | {"isError": False, "extra": {"n": 1.0, "t": [None, True]}}
    verdict = invisible.results(answer(result, escaped=escaped, unknown="kept"), context())
    assert isinstance(verdict, Rewrite)
    assert verdict.notes == ("invisible: 3 characters shown at /content/1/text",)
    body = json.loads(verdict.message.raw)
    changed = "a\\u{200B}b\\u{E0041}\\u{1B}[spells 'A'][0m"
    assert body == {"jsonrpc": "2.0", "id": 1, "result": result | text("fine", changed), "unknown": "kept"}


@pytest.mark.parametrize(
    ("method", "result", "place"),
    [
        ("tools/call", {"content": [], "structuredContent": {"a": ["x\u202e"]}}, "/structuredContent/a/0"),
        ("tools/call", {"content": [], "structuredContent": {"a\u200b": 1}}, "/structuredContent"),
        (
            "prompts/get",
            {"messages": [{"role": "user", "content": {"type": "text", "text": "\x00"}}]},
            "/messages/0/content/text",
        ),
        ("resources/read", {"contents": [{"uri": "a:b", "text": "x\u2060"}]}, "/contents/0/text"),
    ],
)
def test_every_text_of_an_answer_is_judged(method: str, result: dict[str, Any], place: str) -> None:
    verdict = invisible.results(answer(result), context(method=method))
    assert isinstance(verdict, Rewrite)
    assert verdict.notes == (f"invisible: 1 character shown at {place}",)


def test_invisible_text_is_refused_where_the_profile_says_so() -> None:
    verdict = invisible.results(answer(text("a\u200b")), context("refuse"))
    assert isinstance(verdict, Deny)
    assert isinstance(verdict.error, DeniedError)
    assert verdict.error.reason == "invisible"
    assert verdict.error.why == "1 character shown at /content/0/text"


def test_invisible_text_passes_where_the_profile_says_so() -> None:
    assert invisible.results(answer(text("a\u200b")), context("pass")) is ALLOW


@pytest.mark.parametrize("how", ["show", "refuse"])
@pytest.mark.parametrize(
    "item",
    [
        "plain",
        "tab\there\r\nnext",
        "\u2764\ufe0f \U0001f468\u200d\U0001f469",
        "\u05e9\u05dc\u05d5\u05dd\u200f",
        "\ufeffname,age",
        'quote " \\',
    ],
)
def test_honest_text_stays(how: str, item: str) -> None:
    for escaped in (False, True):
        assert invisible.results(answer(text(item), escaped=escaped), context(how)) is ALLOW


def test_base64_stays() -> None:
    result = {
        "content": [{"type": "image", "data": "iVBORw0KGgo=" * 10_000, "mimeType": "image/png"}]
        + text("a\x1b")["content"]
    }
    verdict = invisible.results(answer(result), context())
    assert isinstance(verdict, Rewrite)
    assert json.loads(verdict.message.raw)["result"]["content"][0] == result["content"][0]


def test_only_answers_with_texts_are_judged() -> None:
    hidden = text("a\u200b")
    assert invisible.results(answer(hidden), context(method="tools/list")) is ALLOW
    assert invisible.results(Request(b"{}", 1, "tools/call", {"a": "\u200b"}), context()) is ALLOW
    assert invisible.results(Answer(b"{}", 1, None, {"code": 1, "message": "\u200b"}), context()) is ALLOW


def test_notes_are_counted() -> None:
    verdict = invisible.results(answer(text(*["\u200b"] * 100)), context())
    assert isinstance(verdict, Rewrite)
    assert len(verdict.notes) == 21
    assert verdict.notes[-1] == "invisible: and in 80 more texts"
