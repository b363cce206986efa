"""Work is bounded: a text of hints is refused before it is searched to its end, and ordinary texts are not."""

from __future__ import annotations

import time
from base64 import b64encode

import pytest

from bulkhead.policy import leaks, search
from bulkhead.policy.leaks import Needles
from tests.policy_leaks import cases

NEEDLES = Needles({"OWN": b"a-secret-of-the-session"})
_BASE64 = b64encode(b"ghp_" * 3).decode()
HOSTILE = {
    "prefixes": "sk-",
    "words": " sk-",
    "tokens without an end": "eyJ",
    "tokens with pieces": " eyJ" + "a" * 9 + ".eyJ",
    "encoded": _BASE64[:6],
    "hexadecimal": (b"ghp_").hex(),
    "URLs": " ://a:bcdefgh",
    "headers": " Bearer " + "a" * 15,
    "keys": "-----BEGIN PRIVATE KEY-----",
    "digits": "MTA",
    "spread": "s k -",
    "wide": "\u200bgh" + "p_",
    "half known": "a-secret-of-",
    "secrets": " " + cases.TOKENS["GitHub"],
    "keys with a body": "-----BEGIN PRIVATE KEY-----" + "A" * 40,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_text_of_hints_is_refused_soon(name: str) -> None:
    piece = HOSTILE[name]
    message = cases.said(piece * (2**22 // len(piece.encode())))
    begun = time.process_time()
    error = cases.denial(leaks.results(message, cases.context(needles=NEEDLES)))
    assert time.process_time() - begun < 5  # about 0.5 s at most, alone on a slow machine
    assert error.reason == "leak"
    assert error.why == "more places that look like secrets than can be looked at"


def test_so_are_arguments() -> None:
    error = cases.denial(leaks.arguments(cases.asked({"x": "sk-" * 200_000}), cases.context()))
    assert error.reason == "leak"


def test_as_many_as_can_be_looked_at_are() -> None:
    texts = [f"{cases.TOKENS['npm']}." for _ in range(search.MOST_FOUND)]
    made = cases.texts(leaks.results(cases.said(*texts), cases.context()))
    assert set(made) == {"[redacted: npm token]."}
    error = cases.denial(leaks.results(cases.said(*texts, texts[0]), cases.context()))
    assert error.reason == "leak"


@pytest.mark.parametrize("padding", [0, 2**18 - 30, 2**18 - 5, 2**18, 2**19 - 1])
def test_a_secret_at_any_place_of_a_long_text(padding: int) -> None:
    token = cases.TOKENS["GitHub"]
    (made,) = cases.texts(leaks.results(cases.said("." * padding + token + "." * 2**18), cases.context()))
    assert made == "." * padding + "[redacted: github token]" + "." * 2**18
