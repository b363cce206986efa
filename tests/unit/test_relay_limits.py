"""The relay's limits: each refuses or kills, and names itself to everybody who waits."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bulkhead.spec import Tools
from tests.unit.relay_session import Frame, Link, encoded, hang, reason, server, session, spec_of

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.engines.fake import Process

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def answered_late(link: Link, frame: Frame) -> None:
    await anyio.sleep(1.5)
    await link.answer(frame, content=[])


async def test_a_denied_tool_never_reaches_the_server(tmp_path: Path) -> None:
    spec = replace(spec_of(), tools=Tools(deny=("delete_*",)))
    async with session(tmp_path, server(delete_all=hang), spec=spec) as host:
        answer = await host.call("delete_all")
        assert (reason(answer), answer["error"]["code"]) == ("denied", -31003)
        assert host.span(1).attributes["bulkhead.decision"] == "deny"
        assert host.span(1).error_type == "denied"
        assert "result" in await host.call("read")


async def test_a_result_over_the_output_limit(tmp_path: Path) -> None:
    async def large(link: Link, frame: Frame) -> None:
        await link.answer(frame, content=["x" * 2000])

    async with session(tmp_path, server(large=large), output=1024) as host:
        answer = await host.call("large")
        assert (reason(answer), answer["error"]["code"]) == ("output", -31006)
        assert host.span(1).attributes["bulkhead.limit"] == "output"
        assert "result" in await host.call("echo")


async def test_more_calls_than_a_minute_may_have(tmp_path: Path) -> None:
    async with session(tmp_path, server(), calls_per_minute=3) as host:
        answers = [await host.call("echo") for _ in range(5)]
        assert ["result" in answer for answer in answers] == [True] * 3 + [False] * 2
        assert {reason(answer) for answer in answers[3:]} == {"rate"}
        assert "result" in await host.answer(await host.ask("ping"))


async def test_more_calls_at_once_than_there_may_be(tmp_path: Path) -> None:
    go = anyio.Event()

    async def wait(link: Link, frame: Frame) -> None:
        await go.wait()
        await link.answer(frame, content=[])

    async with session(tmp_path, server(wait=wait), concurrent_calls=2) as host:
        calls = [await host.start("wait") for _ in range(3)]
        assert reason(await host.answer(calls[2])) == "concurrency"
        go.set()
        assert all(["result" in await host.answer(call) for call in calls[:2]])
        assert "result" in await host.call("echo")


async def test_a_failed_call_of_a_server_without_its_network(tmp_path: Path) -> None:
    async def fetch(link: Link, frame: Frame) -> None:
        await link.answer(frame, content=[{"type": "text", "text": "getaddrinfo ENOTFOUND"}], isError=True)

    async with session(tmp_path, server(fetch=fetch)) as host:
        assert reason(await host.call("fetch")) == "denied"
        assert "result" in await host.call("echo")


async def test_a_call_over_its_deadline_ends_the_server_and_all_that_wait(tmp_path: Path) -> None:
    async with session(tmp_path, server(hang=hang), call=0.2, start=5.0) as host:
        await host.shake()
        began = time.monotonic()
        calls = [await host.start("hang"), await host.start("hang")]
        for call in calls:
            answer = await host.answer(call)
            assert (reason(answer), answer["error"]["code"]) == ("timeout", -31006)
            assert answer["error"]["data"]["why"] == "test: a call ran over its deadline"
            assert "limits.call" in answer["error"]["data"]["hint"]
            assert host.span(call).attributes["bulkhead.limit"] == "timeout"
        assert time.monotonic() - began < 1.5
        assert host.statuses[-1].last_end == "timeout"
        assert "result" in await host.call("echo")
        assert host.statuses[-1].starts == 2


async def test_no_answer_before_the_start_deadline(tmp_path: Path) -> None:
    async def mute(process: Process) -> int:
        return len([None async for _ in _input(process)])

    async with session(tmp_path, mute, start=0.2, call=60.0) as host:
        answer = await host.answer(await host.ask("initialize"))
        assert reason(answer) == "timeout"
        assert answer["error"]["data"]["why"] == "test: no answer came before its start deadline"
        assert "limits.start" in answer["error"]["data"]["hint"]
    assert host.result is not None
    assert host.result.reason == "timeout"


async def _input(process: Process) -> Any:
    while data := await process.receive():
        yield data


async def test_the_start_deadline_holds_only_to_the_first_answer(tmp_path: Path) -> None:
    async with session(tmp_path, server(slow=answered_late), start=0.3, call=5.0) as host:
        call = await host.start("slow")
        await host.answer(await host.ask("ping"))
        assert "result" in await host.answer(call), "what was asked before the first answer has limits.call too"


async def test_a_restarted_server_has_its_start_deadline_again(tmp_path: Path) -> None:
    starts = 0

    async def mute_at_first(process: Process) -> int:
        nonlocal starts
        starts += 1
        return await server(die=die)(process) if starts == 1 else len([None async for _ in _input(process)])

    async with session(tmp_path, mute_at_first, start=0.2, call=60.0) as host:
        await host.call("echo")
        await host.call("die")
        answer = await host.call("echo")
        assert answer["error"]["data"]["why"] == "test: no answer came before its start deadline"


async def die(link: Link, frame: Frame) -> None:
    link.end(3)


@pytest.mark.parametrize("method", ["subscriptions/listen", "tasks/result"])
async def test_requests_that_last_have_no_deadline(tmp_path: Path, method: str) -> None:
    async def run(process: Process) -> int:
        link = Link(process)
        lasting = await link.read()
        asked = await link.read()
        await link.answer(asked)
        await anyio.sleep(0.6)
        await link.answer(lasting)
        return len(await link.line())

    async with session(tmp_path, run, call=0.1, start=0.2) as host:
        lasting = await host.ask(method)
        await host.answer(await host.ask("ping"))
        assert "result" in await host.answer(lasting)


@pytest.mark.parametrize(
    ("used", "named"),
    [({"oom_kills": 1}, "oom"), ({"pids_refused": 1}, "pids"), ({"full": ("/tmp",)}, "tmp")],  # noqa: S108
)
async def test_a_limit_that_the_cgroup_tells(tmp_path: Path, used: dict[str, Any], named: str) -> None:
    async def greedy(link: Link, frame: Frame) -> None:
        link.process.usage = replace(link.process.usage, **used)

    async with session(tmp_path, server(greedy=greedy, hang=hang)) as host:
        other = await host.start("hang")
        for answer in (await host.call("greedy"), await host.answer(other)):
            assert (reason(answer), answer["error"]["code"]) == (named, -31006)
            assert "limits." in answer["error"]["data"]["hint"]
        assert host.span(other).attributes["bulkhead.limit"] == named
        assert host.statuses[-1].last_end == named
        assert "result" in await host.call("echo")


async def test_a_flood_of_notifications_waits_for_the_host(tmp_path: Path) -> None:
    sent = 0
    note = encoded(method="notifications/message", params={"data": "x" * 1000})

    async def flood(link: Link, frame: Frame) -> None:
        nonlocal sent
        for _ in range(8_000):
            await link.write(note)
            sent += 1
        await link.answer(frame, content=[])

    async with session(tmp_path, server(flood=flood), call=20.0) as host:
        call = await host.start("flood")
        await host.hear()
        before = -1
        while before != sent:
            before = sent
            await anyio.wait_all_tasks_blocked()
        assert sent < 4000, "the server goes on although nobody reads"
        assert "result" in await host.answer(call)
        assert len(host.frames) == 8_001


async def test_a_server_may_not_ask_without_end(tmp_path: Path) -> None:
    async def nosy(link: Link, frame: Frame) -> None:
        for number in range(100):
            await link.write({"id": f"s{number}", "method": "roots/list"})
        await link.answer(frame, content=[])

    async with session(tmp_path, server(nosy=nosy)) as host:
        assert "result" in await host.call("nosy")
        assert sum(frame.get("method") == "roots/list" for frame in host.frames) == 64
        assert "more than 64 requests without an answer" in host.said[0]
