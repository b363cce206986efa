"""What is invisible, what is not because it does honest work, and how it is shown."""

from __future__ import annotations

import time

import pytest

from bulkhead.policy.visible import bare, exact, has_invisible, shown
from tests.scan.attacks import selectors, tags


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u200bb", "a\\u{200B}b"),
        ("\x1b[31mred", "\\u{1B}[31mred"),
        ("a\u202eb", "a\\u{202E}b"),
        ("a\x00\x7f\x9b", "a\\u{0}\\u{7F}\\u{9B}"),
        ("a\u200eb", "a\\u{200E}b"),
        ("a\ufeff", "a\\u{FEFF}"),
        ("a\u2800\u2800b", "a\\u{2800}\\u{2800}b"),
        ("a\u3164", "a\\u{3164}"),
        ("a\xad b\xad1", "a\xad b\\u{AD}1"),
        ("a\u200d\u200cb", "a\\u{200D}\\u{200C}b"),
        ("a\ufe0f", "a\\u{FE0F}"),
        ("x" + tags("hi"), "x\\u{E0068}\\u{E0069}[spells 'hi']"),
        ("x" + selectors("hi"), "x\\u{E0158}\\u{E0159}[spells 'hi']"),
        ("\U0001f3f4" + tags("ab") + "\U000e007f", "\U0001f3f4\\u{E0061}\\u{E0062}\\u{E007F}[spells 'ab']"),
        ("\u05d0\u200f\u200f", "\u05d0\\u{200F}\\u{200F}"),
    ],
)
def test_what_is_invisible_is_shown(text: str, expected: str) -> None:
    assert has_invisible(text)
    assert shown(text) == expected
    assert not has_invisible(shown(text))


@pytest.mark.parametrize(
    "text",
    [
        "plain, with\ttabs\r\nand lines\f",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f 1\ufe0f\u20e3 ",
        "\U0001f3f3\ufe0f\u200d\U0001f308 \u2764\ufe0f\u200d\U0001f525",
        "\U0001f3f4" + tags("gbeng") + "\U000e007f",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "\u05e9\u05dc\u05d5\u05dd (C++\u200e)\u200f!",
        "\ufeff# Title",
        "Do\xadnau\xaddampf\xad\nschiff",
        "\u845b\U000e0100",
        "\u2801\u2800\u2803",
    ],
)
def test_what_does_honest_work_stays(text: str) -> None:
    assert not has_invisible(text)
    assert shown(text) == text


def test_exact_shows_what_stays_elsewhere() -> None:
    assert exact("\u2764\ufe0f\xad") == "\u2764\\u{FE0F}\\u{AD}"
    assert bare("i\u200bg\U000e0041n\xadore") == "ignore"


def test_a_long_run_is_cut() -> None:
    assert shown("\u200b" * 1000) == "\\u{200B}" * 64 + "[and 936 more]"


def test_plain_text_is_told_at_once() -> None:
    text = "hello world, this is plain text.\n" * 32768
    taken = []
    for _ in range(5):
        begin = time.process_time()
        assert not has_invisible(text)
        taken.append(time.process_time() - begin)
    assert min(taken) < 0.003


def test_what_is_hostile_takes_time_in_proportion() -> None:
    def taken(text: str) -> float:
        begin = time.process_time()
        shown(text)
        return time.process_time() - begin

    for part in ("a\u200b", "\u2800", "\u05d0\u200f", "\U0001f468\u200d", "\u200e"):
        assert taken(part * 32_000) < 64 * taken(part * 2_000) + 0.2
