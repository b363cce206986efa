"""Frames that are no messages, from the server: dropped, told, and the call that they meant to answer fails at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ids
from tests.faults.client import reason, said, why
from tests.servers import broken

if TYPE_CHECKING:
    from tests.conftest import OpenHost
    from tests.faults.client import Host

HUNDRED_MB = 100 * 2**20


@pytest.mark.parametrize("kind", broken.ANSWERS, ids=ids(list(broken.ANSWERS)))
def test_a_broken_answer_fails_its_call_at_once(host: Host, kind: str) -> None:
    begun = time.monotonic()
    answer = host.call("frame", kind=kind, live=True)
    assert reason(answer) == "malformed"
    assert time.monotonic() - begun < 5, "not at once, but at the call's deadline"


@pytest.mark.parametrize("kind", broken.STRAYS, ids=ids(list(broken.STRAYS)))
def test_a_stray_frame_is_dropped(host: Host, kind: str) -> None:
    heard = len(host.frames)
    assert host.text("frame", kind=kind) == "and a proper answer"
    assert len(host.frames) == heard + 1, host.frames[heard:]


def test_a_log_line_that_says_a_live_id_is_no_answer(host: Host) -> None:
    assert host.text("log_line") == "logged"


@pytest.mark.parametrize("prefix", ["Ready", "Listening on {stdio} ", "\x1b[32mok\x1b[0m", "[info] {not json} "])
def test_a_frame_behind_text_without_newline_is_found(host: Host, prefix: str) -> None:
    assert host.text("prefix", text=prefix) == "behind a prefix"


@pytest.mark.parametrize("order", ["first", "last"])
def test_a_100_mb_answer_fails_its_call(host: Host, order: str) -> None:
    answer = host.call("long_line", size=HUNDRED_MB, order=order, live=True)
    assert reason(answer) == "message"
    assert "limit" in why(answer)
    assert host.peak_mib() < 120


def test_a_100_mb_line_of_nobodys_is_dropped(host: Host) -> None:
    assert host.text("long_line", size=HUNDRED_MB) == "and a proper answer"
    assert host.peak_mib() < 120


def test_a_100_mb_line_without_an_end(open_host: OpenHost) -> None:
    host = open_host()
    answer = host.call("long_line", within=30, size=HUNDRED_MB, newline=False, live=True)
    assert reason(answer) in ("timeout", "message")
    assert host.peak_mib() < 120
    assert host.text("echo", text="again") == "again"


def test_a_slow_drip_is_an_answer(host: Host) -> None:
    assert host.text("drip", seconds=0.5) == "drip"


def test_a_drip_over_the_deadline_is_none(open_host: OpenHost) -> None:
    host = open_host()
    assert reason(host.call("drip", seconds=60)) == "timeout"
    assert host.text("echo", text="again") == "again"


def test_the_second_answer_is_dropped(host: Host) -> None:
    assert host.text("twice") == "first"
    assert host.text("echo", text="a") == "a"
    assert host.strays() == []


def test_an_answer_before_its_question_is_not_kept(host: Host) -> None:
    following = host.start("echo", text="warm up") + 2
    assert host.text("unasked", id=following) == "asked"
    call = host.start("echo", text="the real one")
    assert call == following
    assert said(host.answer(call)) == "the real one"


@pytest.mark.parametrize("unasked", [0, -1, "", "1", 10**9, "x" * 10000, None, True, 1.5])
def test_an_answer_to_an_id_that_nobody_asked(host: Host, unasked: object) -> None:
    assert host.text("unasked", id=unasked) == "asked"
    assert host.strays() == []


def test_a_broken_answer_leaves_other_calls_alone(host: Host) -> None:
    slow = host.start("sleep", seconds=0.7)
    assert reason(host.call("frame", kind="nan", live=True)) == "malformed"
    assert said(host.answer(slow)) == "slept"


def test_a_broken_answer_that_holds_another_live_id(host: Host) -> None:
    slow = host.start("sleep", seconds=0.7)
    broken_one = host.start("beside", other=slow)
    assert reason(host.answer(broken_one)) == "malformed"
    assert said(host.answer(slow)) == "slept"


def test_answers_out_of_order_reach_their_calls(host: Host) -> None:
    calls = [(host.start("sleep", seconds=0.4 - 0.1 * n), host.start("echo", text=str(n))) for n in range(4)]
    for number, (slept, echoed) in enumerate(calls):
        assert said(host.answer(slept)) == "slept"
        assert said(host.answer(echoed)) == str(number)


@pytest.mark.parametrize("how", ["banner", "garbage", "slow:1"])
def test_a_start_with_noise(open_host: OpenHost, how: str) -> None:
    host = open_host(f"--start={how}")
    assert host.text("echo", text="up") == "up"
