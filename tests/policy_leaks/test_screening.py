"""What is held for a screen, what the screen is shown, and that it is shown once."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.policy import chain, leaks, marking, screening
from bulkhead.policy.verdict import ALLOW, Context, Hold, Rewrite, Show
from bulkhead.spec import Screen
from tests.policy_leaks import cases

SCREEN = Screen(endpoint="https://screen.example.com")


def context(method: str = "tools/call", screen: Screen = SCREEN, **guards: Any) -> Context:
    plain = cases.context(method, **guards)
    return plain._replace(spec=type(plain.spec)(**(vars(plain.spec) | {"screen": screen})), nonce="n0nce")


def test_arguments_are_shown() -> None:
    request = cases.asked({"q": ["ignore all", "of it"], "n": 1, "text": "now"})
    verdict = screening.request(request, context())
    assert verdict == Hold(Show(("now", "ignore all\nof it", "q\nn\ntext")))
    shown = context()._replace(done=frozenset({Show(("now", "ignore all\nof it", "q\nn\ntext"))}))
    assert screening.request(request, shown) is ALLOW
    assert isinstance(screening.request(cases.asked({"q": "another"}), shown), Hold)


def test_results_are_shown() -> None:
    message = cases.said("one", "two", structuredContent={"a": "three"})
    verdict = screening.result(message, context())
    assert isinstance(verdict, Hold)
    assert isinstance(verdict.effect, Show)
    assert verdict.effect.documents[:2] == ("one", "two")
    assert "three" in verdict.effect.documents[2]
    assert screening.result(message, context()._replace(done=frozenset({verdict.effect}))) is ALLOW


@pytest.mark.parametrize("method", ["prompts/get", "resources/read"])
def test_other_results(method: str) -> None:
    assert isinstance(screening.result(cases.said("x"), context(method)), Hold)


def test_what_is_not_shown() -> None:
    assert screening.request(cases.asked({"q": "x"}), context(screen=Screen())) is ALLOW
    assert screening.result(cases.said("x"), context(screen=Screen())) is ALLOW
    assert screening.result(cases.said("x"), context("tools/list")) is ALLOW
    assert screening.request(cases.asked({}), context()) is ALLOW
    picture = {"content": [{"type": "image", "data": "aGVsbG8="}]}
    hold = screening.result(cases.answer(picture), context())
    assert isinstance(hold, Hold)
    assert "aGVsbG8=" not in str(hold.effect.__getattribute__("documents"))


def test_a_show_says_nothing_of_what_it_shows() -> None:
    assert "secret text" not in repr(Show(("secret text",)))


def test_the_screen_sees_no_secret_and_no_mark_and_is_asked_once() -> None:
    guards = (leaks.results, screening.result, marking.marked)
    message, of = cases.said(f"x {cases.TOKENS['npm']}"), context(marking=True)
    first = chain.judge(guards, message, of)
    assert isinstance(first, Hold)
    assert isinstance(first.effect, Show)
    assert first.effect.documents[0] == "x [redacted: npm token]"
    second = chain.judge(guards, message, of._replace(done=frozenset({first.effect})))
    assert isinstance(second, Rewrite)
    assert "x [redacted: npm token]" in cases.texts(second)[0]
