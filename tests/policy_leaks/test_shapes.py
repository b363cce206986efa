"""Each seeded credential is found, wherever it stands and in each form that is promised; nothing else is taken out."""

from __future__ import annotations

import pytest

from bulkhead.policy import leaks, shapes
from tests.policy_leaks import cases

SPLIT = ("cut by ' '", "cut by '\\n'", "cut by '\\u200b'", "cut by '\"'", "letter by letter", "tagged")
ENCODED = ("base64 at 0", "base64 at 1", "base64 at 2", "base64 in lines", "hex", "HEX", "percent, all of it")
# Too short a beginning to be told from chance in another encoding.
SHORT = {"OpenAI before", "Hugging Face", "SendGrid", "Twilio", "Discord"}


def found(text: str) -> str:
    verdict = leaks.results(cases.said("before", f"see {text} here", "after"), cases.context())
    before, between, after = cases.texts(verdict)
    assert (before, after) == ("before", "after")
    assert between.startswith("see ")
    assert between.endswith(" here")
    return between


@pytest.mark.parametrize("name", cases.TOKENS)
def test_a_token(name: str) -> None:
    between = found(cases.TOKENS[name])
    assert between.startswith("see [redacted: ")
    assert between.endswith("] here")


@pytest.mark.parametrize("name", cases.PHRASES)
def test_a_secret_in_a_phrase(name: str) -> None:
    text, secret = cases.PHRASES[name]
    between = found(text)
    assert "[redacted: " in between
    assert secret not in between


@pytest.mark.parametrize("form", SPLIT)
@pytest.mark.parametrize("name", cases.TOKENS)
def test_in_pieces(name: str, form: str) -> None:
    left = "".join(char for char in found(cases.disguises(cases.TOKENS[name])[form]) if char in cases.LETTERS)
    assert left.startswith("see[redacted:")
    assert not any(cases.TOKENS[name][at : at + 12] in left for at in range(20))


@pytest.mark.parametrize("form", ENCODED)
@pytest.mark.parametrize("name", [name for name in cases.TOKENS if name not in SHORT])
def test_encoded(name: str, form: str) -> None:
    assert "[redacted: " in found(cases.disguises(cases.TOKENS[name])[form])


def test_over_several_texts() -> None:
    token = cases.TOKENS["GitHub"]
    verdict = leaks.results(cases.said("x " + token[:9], token[9:20], token[20:] + " y"), cases.context())
    assert cases.texts(verdict) == ["x [redacted: github token]", "", " y"]


def test_every_shape_has_a_case() -> None:
    texts = [*cases.TOKENS.values(), *(text for text, _ in cases.PHRASES.values())]
    for shape in (*shapes.TOKENS, *shapes.PHRASES):
        assert any(start in text for start in shape.starts for text in texts), shape.kind


@pytest.mark.parametrize("start", ["a", "7", "Z"])
def test_within_a_word_it_is_none_if_it_begins_like_words(start: str) -> None:
    assert cases.passed(start + cases.TOKENS["OpenAI before"])
    assert not cases.passed(start + cases.TOKENS["npm"])


def test_one_behind_the_other() -> None:
    token = cases.TOKENS["GitHub"]
    assert token[-8:] not in found(token * 3)


def test_a_private_key_ends_where_it_ends() -> None:
    text, _ = cases.PHRASES["private key, encrypted"]
    verdict = leaks.results(cases.said(f"{text}\nis the key of this machine", "and this is no key"), cases.context())
    assert cases.texts(verdict)[1] == "and this is no key"
    assert cases.texts(verdict)[0].endswith("is the key of this machine")


def test_what_follows_stays() -> None:
    token = cases.TOKENS["GitHub"]
    verdict = leaks.results(cases.said(f"{token[:12]}\n{token[12:]} is the token of the build"), cases.context())
    assert cases.texts(verdict) == ["[redacted: github token] is the token of the build"]
