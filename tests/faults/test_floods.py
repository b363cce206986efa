"""Floods of what a server starts by itself: the host still gets its answers, and the runner's memory stays bounded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.client import reason, said

if TYPE_CHECKING:
    from tests.conftest import OpenHost
    from tests.faults.client import Host

SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "x" * 500}}], "maxTokens": 1}
ELICIT = {"message": "x" * 500, "requestedSchema": {"type": "object", "properties": {}}}
NOTES = {
    "notifications/message": {"level": "info", "data": "x" * 200},
    "notifications/progress": {"progressToken": 1, "progress": 1},
    "notifications/tools/list_changed": {},
    "notifications/resources/updated": {"uri": "test://x"},
    "notifications/cancelled": {"requestId": "nobody"},
    "notifications/unheard-of": {},
}
ASKS = {"sampling/createMessage": SAMPLE, "elicitation/create": ELICIT, "roots/list": {}, "ping": {}}


@pytest.mark.parametrize("method", NOTES)
def test_notifications(host: Host, method: str) -> None:
    assert host.text("flood", method=method, params=NOTES[method], count=3000) == "flooded"
    assert host.peak_mib() < 120


@pytest.mark.parametrize("method", ASKS)
def test_requests(open_host: OpenHost, method: str) -> None:
    host = open_host()
    assert host.text("flood", method=method, params=ASKS[method], count=1000, ask=True) == "flooded"
    asked = [frame for frame in host.frames if frame.get("method") == method]
    assert 0 < len(asked) <= 64, "a server may not ask without end before it is answered"
    for frame in asked:
        host.send(id=frame["id"], result={})
    assert host.text("echo", text="on") == "on"
    assert host.peak_mib() < 120


@pytest.mark.parametrize("method", ["elicitation/create", "sampling/createMessage"])
def test_a_person_may_think_longer_than_a_call_may_take(open_host: OpenHost, method: str) -> None:
    host = open_host()
    asking = host.start("ask", method=method, params=ASKS[method])
    question = host.wait_for(lambda frame: frame.get("method") == method)
    assert host.text("sleep", seconds=3.5) == "slept", "no deadline (2 s here) runs while the person is asked"
    host.send(id=question["id"], result={"action": "accept"})
    assert '"accept"' in said(host.answer(asking))
    assert reason(host.call("hang")) == "timeout"


def test_a_host_that_does_not_listen_is_waited_for(open_host: OpenHost) -> None:
    """Back pressure: the server is held back; nothing piles up in the runner, and nothing is lost."""
    host = open_host(call="30s", start="30s")
    host.pause()
    note = {"level": "info", "data": "x" * 1000}
    flood = host.start("flood", method="notifications/message", params=note, count=30_000)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert host.peak_mib() < 120
        time.sleep(0.1)
    host.resume()
    assert said(host.answer(flood, 30)) == "flooded"
    assert sum(frame.get("method") == "notifications/message" for frame in host.frames) == 30_000
    assert host.peak_mib() < 120


def test_a_cancelled_call_is_answered_no_more(host: Host) -> None:
    call = host.start("sleep", seconds=0.5)
    host.send(method="notifications/cancelled", params={"requestId": call})
    assert host.text("sleep", seconds=0.8) == "slept"
    assert host.answers(call) == []


def test_a_cancelled_call_that_hangs_costs_no_other(open_host: OpenHost) -> None:
    host = open_host()
    call = host.start("hang")
    host.send(method="notifications/cancelled", params={"requestId": call})
    first = host.text("pid")
    with pytest.raises(AssertionError, match="nothing after"):
        host.answer(call, 3)
    assert host.text("pid") == first
    assert host.answers(call) == []
    assert reason(host.call("hang")) == "timeout"
