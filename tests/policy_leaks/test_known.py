"""The values of the session's own secrets are found in all forms, and nothing that holds them shows them."""

from __future__ import annotations

import base64
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.policy import leaks
from bulkhead.policy.leaks import Needles
from tests.policy_leaks import cases

VALUE = 'pa$$ w0rd/with+all&é"x'
PLAIN = "correcthorsebatterystaple"
NEEDLES = Needles({"ODD": VALUE.encode(), "PLAIN": PLAIN.encode()})


@pytest.mark.parametrize("form", cases.disguises(VALUE))
@pytest.mark.parametrize("value", [VALUE, PLAIN])
@pytest.mark.parametrize("mode", ["redact", "pass"])
def test_in_every_form(value: str, form: str, mode: str) -> None:
    text = cases.disguises(value)[form]
    verdict = leaks.results(cases.said(f"see {text} here"), cases.context(needles=NEEDLES, secrets=mode))
    (left,) = cases.texts(verdict)
    assert text not in left
    assert f"[redacted: secret {'odd' if value == VALUE else 'plain'}]" in left
    assert left.startswith("see ")
    assert left.endswith(" here")


@given(value=st.text(min_size=8, max_size=40), form=st.sampled_from(sorted(cases.disguises(VALUE))))
def test_any_value(value: str, form: str) -> None:
    squeezed = "".join(value.split()).strip("\0'\"`")
    if len(squeezed.encode()) < 8 or len(set(squeezed)) < 3:
        return
    text = cases.disguises(value)[form]
    verdict = leaks.results(cases.said("-" + text + "-"), cases.context(needles=Needles({"ANY": value.encode()})))
    assert text not in cases.texts(verdict)[0]


@pytest.mark.parametrize(
    "result",
    [
        {"structuredContent": {"a": [{"b": VALUE}], "c": 1}},
        {"structuredContent": {"a": {VALUE: "b"}}},
        {"content": [{"type": "resource", "resource": {"uri": "x://y", "text": VALUE}}]},
        {"content": [{"type": "resource_link", "uri": f"x://{VALUE}", "name": "x"}]},
        {"content": [{"type": "text", "text": "x", "annotations": {"title": VALUE}}]},
        {"content": [], "_meta": {"x": VALUE}},
        {"messages": [{"role": "user", "content": {"type": "text", "text": VALUE}}]},
        {"contents": [{"uri": "x://y", "text": VALUE}]},
    ],
)
def test_wherever_it_stands(result: dict[str, Any]) -> None:
    verdict = leaks.results(cases.answer(result), cases.context(needles=NEEDLES))
    made = cases.rewritten(verdict)
    assert VALUE not in str(made)
    assert str(made).replace("[redacted: secret odd]", VALUE) == str(result)


@pytest.mark.parametrize("item", [{"type": "image", "mimeType": "image/png"}, {"type": "resource", "resource": {}}])
def test_within_binary_data(item: dict[str, Any]) -> None:
    data = base64.b64encode(b"\x89PNG\xff\xfe" + VALUE.encode().hex().encode() + b"\0\xff").decode()
    whole: dict[str, Any] = item | ({"resource": {"blob": data}} if "resource" in item else {"data": data})
    made = cases.rewritten(leaks.results(cases.answer({"content": [whole]}), cases.context(needles=NEEDLES)))
    (left,) = made["content"]
    cut = base64.b64decode(left.get("data") or left["resource"]["blob"])
    assert cut == b"\x89PNG\xff\xfe[redacted: secret odd]\0\xff"


def test_what_claims_to_be_binary_and_is_not_is_a_text() -> None:
    result = {"content": [{"type": "image", "data": "see " + cases.TOKENS["GitHub"]}]}
    made = cases.rewritten(leaks.results(cases.answer(result), cases.context()))
    assert made["content"][0]["data"] == "see [redacted: github token]"


def test_letters_over_many_texts() -> None:
    verdict = leaks.results(cases.said(*PLAIN), cases.context(needles=NEEDLES))
    assert cases.texts(verdict) == ["[redacted: secret plain]", *[""] * (len(PLAIN) - 1)]


def test_short_values_only_as_they_are() -> None:
    needles = Needles({"PIN": b"8261", "TINY": b"abc"})
    verdict = leaks.results(cases.said("pin 8261, 82 61, abc"), cases.context(needles=needles))
    assert cases.texts(verdict) == ["pin [redacted: secret pin], 82 61, abc"]


def test_two_that_overlap_leave_nothing() -> None:
    needles = Needles({"ONE": b"firstsecondpart", "TWO": b"secondpartthird"})
    verdict = leaks.results(cases.said("x firstsecondpartthird y"), cases.context(needles=needles))
    assert cases.texts(verdict) == ["x [redacted: secret one] y"]


def test_a_known_one_is_named_before_its_shape() -> None:
    token = cases.TOKENS["GitHub"]
    verdict = leaks.results(cases.said(token), cases.context(needles=Needles({"TOKEN": token.encode()})))
    assert cases.texts(verdict) == ["[redacted: secret token]"]


def test_nothing_shows_a_value() -> None:
    context = cases.context(needles=NEEDLES)
    assert PLAIN not in repr(NEEDLES) + repr(context) + str(vars(NEEDLES))
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(context.needles)


@pytest.mark.parametrize("value", [b"", b"   ", b"\n", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7", b"x" * 65536])
def test_any_bytes_are_a_value(value: bytes) -> None:
    needles = Needles({"ODD": value})
    assert cases.passed("text that has none", needles)
    hexadecimal = value.hex()
    assert cases.passed(f"see {hexadecimal}", needles) is (len(value.strip()) < 4)
