"""What becomes of a secret: by [guards] secrets, by the direction, and told without its value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.policy import leaks
from bulkhead.policy.leaks import Needles
from bulkhead.policy.verdict import ALLOW, Rewrite
from bulkhead.wire.messages import encode, parse
from tests.policy_leaks import cases

TOKEN = cases.TOKENS["GitHub"]
OWN = "own-secret-of-the-session"
NEEDLES = Needles({"OWN": OWN.encode()})


@pytest.mark.parametrize("mode", ["redact", "refuse"])
@pytest.mark.parametrize(
    ("arguments", "place", "kind"),
    [
        ({"body": {"lines": ["a", f"x {TOKEN}"]}}, "/arguments/body/lines/1", "GitHub token"),
        ({f"x {TOKEN}": "a"}, "a key of /arguments", "GitHub token"),
        ({"x": OWN}, "/arguments/x", "secret OWN"),
        ({"x": [OWN[:9], OWN[9:]]}, "/arguments/x/0", "secret OWN"),
        ({"x": OWN.encode().hex()}, "/arguments/x", "secret OWN"),
        (TOKEN, "/arguments", "GitHub token"),
    ],
)
def test_no_secret_leaves(arguments: Any, place: str, kind: str, mode: str) -> None:
    verdict = leaks.arguments(cases.asked(arguments), cases.context(needles=NEEDLES, secrets=mode))
    error = cases.denial(verdict)
    assert (error.reason, error.what) == ("leak", "tools/call carries a secret")
    assert error.why == f"{kind} at {place}"
    assert "[guards]" in error.hint
    assert not any(value in str(error.data()) + repr(error) for value in (TOKEN, OWN))


@pytest.mark.parametrize("method", ["prompts/get", "completion/complete"])
def test_nor_with_other_requests(method: str) -> None:
    request = cases.asked({}, method, argument={"name": "a", "value": TOKEN})
    assert cases.denial(leaks.arguments(request, cases.context(method))).why == "GitHub token at /argument/value"


def test_nor_beside_the_arguments() -> None:
    request = cases.asked({}, _meta={"x": TOKEN})
    assert cases.denial(leaks.arguments(request, cases.context())).why == "GitHub token at /_meta/x"


def test_arguments_that_may_go() -> None:
    assert leaks.arguments(cases.asked({"x": [TOKEN, OWN]}), cases.context(needles=NEEDLES, secrets="pass")) is ALLOW
    assert leaks.arguments(cases.asked({"x": "y"}), cases.context(needles=NEEDLES)) is ALLOW
    assert leaks.arguments(cases.asked({"x": TOKEN}, "tools/list"), cases.context("tools/list")) is ALLOW


def test_a_result_is_redacted_and_noted() -> None:
    verdict = leaks.results(cases.said(f"{TOKEN} {OWN}", "y"), cases.context(needles=NEEDLES))
    assert cases.texts(verdict) == ["[redacted: github token] [redacted: secret own]", "y"]
    assert isinstance(verdict, Rewrite)
    assert verdict.notes == (
        "redacted GitHub token at /content/0/text",
        "redacted secret OWN at /content/0/text",
    )


def test_many_notes_are_counted() -> None:
    verdict = leaks.results(cases.said(*[f"{TOKEN}."] * 30), cases.context())
    assert isinstance(verdict, Rewrite)
    assert len(verdict.notes) == 21
    assert verdict.notes[-1] == "redacted 10 more"


def test_a_note_repeats_no_key_with_a_secret() -> None:
    result = {"structuredContent": {OWN: {"x": TOKEN}}}
    verdict = leaks.results(cases.answer(result), cases.context(needles=NEEDLES))
    assert isinstance(verdict, Rewrite)
    assert "redacted GitHub token at /structuredContent/[redacted: secret own]/x" in verdict.notes
    assert OWN not in str(verdict.notes)


def test_a_place_is_short_and_can_be_read() -> None:
    arguments = {"a/b~c\u202e\x1b": {"k" * 500: TOKEN}}
    why = cases.denial(leaks.arguments(cases.asked(arguments), cases.context())).why
    assert why.startswith("GitHub token at /arguments/a~1b~0c\ufffd\ufffd/kkk")
    assert len(why) == len("GitHub token at ") + 120


def test_keys_that_become_equal_lose_nothing() -> None:
    result = {"structuredContent": {OWN: 1, OWN.encode().hex(): 2, OWN[::-1]: 3}}
    made = cases.rewritten(leaks.results(cases.answer(result), cases.context(needles=NEEDLES)))
    assert sorted(made["structuredContent"].values()) == [1, 2, 3]


@pytest.mark.parametrize("text", [TOKEN, OWN])
def test_a_result_is_refused(text: str) -> None:
    error = cases.denial(leaks.results(cases.said(text), cases.context(needles=NEEDLES, secrets="refuse")))
    assert error.reason == "leak"
    assert error.what == "the answer to tools/call carries a secret"
    assert text not in str(error.data())


def test_what_passes() -> None:
    assert leaks.results(cases.said(TOKEN), cases.context(needles=NEEDLES, secrets="pass")) is ALLOW
    assert leaks.results(cases.said(TOKEN), cases.context(secrets="pass")) is ALLOW
    assert leaks.results(cases.said(TOKEN), cases.context("tools/list")) is ALLOW
    assert cases.texts(leaks.results(cases.said(OWN), cases.context(needles=NEEDLES, secrets="pass"))) == [
        "[redacted: secret own]"
    ]


@pytest.mark.parametrize("method", ["prompts/get", "resources/read", "completion/complete"])
def test_results_of_other_requests(method: str) -> None:
    assert isinstance(leaks.results(cases.said(TOKEN), cases.context(method)), Rewrite)


def test_the_rest_is_unchanged() -> None:
    rest = {"n": [1, 2.5, -0.0, 10**30, True, None, "é\u2028"], "o": {"": {}, "a": []}}
    verdict = leaks.results(cases.said(TOKEN, structuredContent=rest, isError=False), cases.context())
    made = cases.rewritten(verdict)
    assert json.dumps(made) == json.dumps(
        {"content": [{"type": "text", "text": "[redacted: github token]"}], "structuredContent": rest, "isError": False}
    )


_PIECES = [
    TOKEN,
    TOKEN[:20],
    OWN,
    OWN[:10],
    "eyJ",
    "://",
    " Bearer ",
    "AKIA",
    "%67%68%70%5f",
    "\u200b",
    "\u00e9",
    "a",
    "",
]
_TEXTS = st.lists(st.sampled_from(_PIECES), max_size=5).map("".join)
_KEYS = _TEXTS | st.sampled_from(["text", "data", "blob", "type"])
_JSON = st.recursive(
    _TEXTS | st.sampled_from([None, True, 1, 2.5, "image"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["content", "arguments", "structuredContent"]), _JSON))
def test_any_message_is_judged(body: dict[str, Any]) -> None:
    context = cases.context(needles=NEEDLES)
    verdict = leaks.results(cases.answer(body), context)
    if isinstance(verdict, Rewrite):
        made = json.dumps(cases.rewritten(verdict))
        assert OWN not in made
        assert TOKEN not in made
    else:
        assert verdict is ALLOW
        assert OWN not in json.dumps(body)
    frame = encode({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": body})
    leaks.arguments(parse(frame), context)
