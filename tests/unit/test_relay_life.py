"""Starts, deaths, restarts and ends: whatever happens, each request is answered once and nothing goes on running."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bulkhead import keeper
from bulkhead.engines.fake import OutOfMemoryError
from bulkhead.errors import BulkheadError, EngineError
from bulkhead.keeper import GRACE, LEAVE
from tests.unit.relay_session import INITIALIZE, Frame, Link, encoded, hang, reason, server, session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from bulkhead.engines.base import Sandbox
    from bulkhead.engines.fake import Process

pytestmark = pytest.mark.anyio
ROOM = 0.5  # seconds that a busy machine may add


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def die(link: Link, frame: Frame) -> None:
    """A tool that ends its server with code 3, or as it is told."""
    how = frame["params"]["arguments"].get("how", "exit")
    await link.process.send(b"first line\nthe \x1b[31mlast words\n", stderr=True)
    link.end(3, OutOfMemoryError() if how == "oom" else None)


def recorded(lines: list[list[bytes]], **tools: Any) -> Callable[[Process], Awaitable[int]]:
    """A server that keeps what each life of it was sent first."""

    async def run(process: Process) -> int:
        received: list[bytes] = []
        lines.append(received)
        receive = process.receive

        async def keep(max_bytes: int = 65536) -> bytes:
            data = await receive(max_bytes)
            received.extend(data.splitlines())
            return data

        process.receive = keep  # type: ignore[method-assign]
        return await server(**tools)(process)

    return run


# Deaths and restarts


async def test_a_server_that_dies_takes_its_calls_along_and_is_started_again(tmp_path: Path) -> None:
    async with session(tmp_path, server(die=die, hang=hang)) as host:
        calls = [await host.start("hang"), await host.start("die")]
        for call in calls:
            answer = await host.answer(call)
            assert (reason(answer), answer["error"]["code"]) == ("exited", -31005)
            why = answer["error"]["data"]["why"]
            assert why == "test exited 3; its last words: first line | the \\x1b[31mlast words"
            assert host.span(call).error_type == "exited"
        assert "result" in await host.call("echo")
        assert host.said == ["test: started again after: exited 3"]
        assert [status.starts for status in host.statuses] == [1, 1, 2]


async def test_out_of_memory_is_named(tmp_path: Path) -> None:
    async with session(tmp_path, server(die=die)) as host:
        answer = await host.call("die", how="oom")
        assert (reason(answer), answer["error"]["code"]) == ("oom", -31006)
        assert "512 MiB" in answer["error"]["data"]["why"]


async def test_the_handshake_is_given_again(tmp_path: Path) -> None:
    lives: list[list[bytes]] = []
    async with session(tmp_path, recorded(lives, die=die)) as host:
        await host.shake()
        await host.call("die")
        assert "result" in await host.call("echo")
        await host.call("echo")
    first, second = lives
    assert second[0] == encoded(id="bulkhead/initialize", method="initialize", params=INITIALIZE).replace(
        b": ", b":"
    ).replace(b", ", b",")
    assert second[1] == first[1] == encoded(method="notifications/initialized")
    assert [frame for frame in host.frames if str(frame.get("id")).startswith("bulkhead/")] == []


async def test_a_host_that_shakes_hands_again_itself(tmp_path: Path) -> None:
    lives: list[list[bytes]] = []
    async with session(tmp_path, recorded(lives, die=die)) as host:
        await host.shake()
        await host.call("die")
        await host.shake()
        assert "result" in await host.call("echo")
    assert sum(b'"initialize"' in line for line in lives[1]) == 1


async def test_a_modern_server_is_given_no_handshake(tmp_path: Path) -> None:
    lives: list[list[bytes]] = []
    async with session(tmp_path, recorded(lives, die=die)) as host:
        await host.call("die")
        await host.call("echo")
    assert [len(life) for life in lives] == [1, 1]


@pytest.mark.parametrize(
    ("replayed", "word", "why"),
    [
        ("error", "exited", "no more of that"),
        ("silence", "timeout", ""),
        ("exit", "exited", "test exited 9"),
        ("garbage", "exited", ""),
    ],
)
async def test_a_server_that_takes_no_second_handshake(tmp_path: Path, replayed: str, word: str, why: str) -> None:
    lives = 0

    async def run(process: Process) -> int:
        nonlocal lives
        lives += 1
        if lives != 2:
            return await server(die=die)(process)
        link = Link(process)
        asked = await link.read()
        if replayed == "error":
            await link.write({"id": asked["id"], "error": {"code": 1, "message": "no more of that" + "x" * 9999}})
        elif replayed == "garbage":
            await link.write(encoded(id=asked["id"], result=[]))
        elif replayed == "exit":
            return 9
        return len(await link.line())

    async with session(tmp_path, run, start=0.5 if replayed == "silence" else 60.0) as host:
        await host.shake()
        await host.call("die")
        answer = await host.call("echo")
        assert reason(answer) == word
        assert why in answer["error"]["data"].get("why", "")
        assert len(answer["error"]["data"].get("why", "")) < 500
        assert "result" in await host.call("echo"), "the next request starts it again"


async def test_a_request_behind_one_that_met_a_bad_handshake(tmp_path: Path) -> None:
    """It is not sent to the sandbox that goes, but starts the next one."""
    lives = 0

    async def run(process: Process) -> int:
        nonlocal lives
        lives += 1
        if lives != 2:
            return await server(die=die)(process)
        link = Link(process)
        asked = await link.read()
        await link.write({"id": asked["id"], "error": {"code": 1, "message": "no"}})
        return len(await link.line())

    async with session(tmp_path, run) as host:
        await host.shake()
        await host.call("die")
        host.asked += ["a", "b"]
        await host.raw(b"".join(encoded(id=i, method="ping") + b"\n" for i in ("a", "b")))
        assert reason(await host.answer("a")) == "exited"
        assert "result" in await host.answer("b")
        assert lives == 3


async def test_three_restarts_a_minute_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(tmp_path, server(die=die)) as host:
        for _ in range(4):
            assert reason(await host.call("die")) == "exited"
        refused = await host.call("echo")
        assert (reason(refused), refused["error"]["code"]) == ("restarts", -31006)
        assert refused["error"]["data"]["why"] == "3 restarts in the last minute; last: exited 3"
        assert reason(await host.call("echo")) == "restarts"
        assert host.statuses[-1].starts == 4
        # A minute later: three again, and no fourth for the one that was the first start.
        monkeypatch.setattr(keeper, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 61))
        reasons = [reason(await host.call("die")) for _ in range(4)]
        assert reasons == ["exited"] * 3 + ["restarts"]


async def test_what_the_server_asked_is_cancelled_when_it_dies(tmp_path: Path) -> None:
    async def ask(link: Link, frame: Frame) -> None:
        await link.write({"id": 0, "method": "sampling/createMessage"})

    async with session(tmp_path, server(ask=ask, die=die)) as host:
        await host.start("ask")
        await host.heard(lambda frame: frame.get("method") == "sampling/createMessage")
        await host.call("die")
        note = await host.heard(lambda frame: frame.get("method") == "notifications/cancelled")
        assert note["params"] == {"requestId": 0, "reason": "the server ended: exited 3"}
        await host.start("ask")
        del host.frames[:]
        await host.heard(lambda frame: frame.get("method") == "sampling/createMessage" and frame["id"] == 0)


async def test_a_dead_servers_questions_are_not_mixed_up_with_the_next_ones(tmp_path: Path) -> None:
    """The host reads nothing while the first server's end is told, and the second one asks meanwhile."""

    async def ask(link: Link, frame: Frame) -> None:
        await link.write({"id": frame["params"]["arguments"]["ask"], "method": "roots/list"})

    async with session(
        tmp_path, server(ask=ask, die=die, hang=hang), concurrent_calls=4096, calls_per_minute=9999, call=20.0
    ) as host:
        hanging = [await host.start("hang", pad="x") for _ in range(2000)]
        await host.start("ask", ask="first")
        await host.start("die")
        await anyio.wait_all_tasks_blocked()
        await host.start("ask", ask="second")
        for call in hanging:
            assert reason(await host.answer(call)) == "exited"
        await host.heard(lambda frame: frame.get("id") == "second")
        await host.call("echo")
        cancelled = [frame["params"]["requestId"] for frame in host.frames if "params" in frame]
        assert cancelled == ["first"]


async def test_a_server_that_reads_nothing_cannot_hold_the_session(tmp_path: Path) -> None:
    lives = 0

    async def run(process: Process) -> int:
        nonlocal lives
        lives += 1
        if lives > 1:
            return await server()(process)
        await anyio.sleep_forever()
        return 0

    async with session(tmp_path, run, start=0.3) as host:
        calls: list[int] = []

        async def ask() -> None:
            calls.extend([await host.start("echo", text="x" * 200_000) for _ in range(8)])
            calls.append(await host.start("echo"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            refused = await host.heard(lambda frame: "error" in frame)
            assert reason(refused) == "timeout"
        assert "result" in await host.answer(calls[-1])
        for call in calls:
            await host.answer(call)


async def test_closed_output_is_the_end(tmp_path: Path) -> None:
    async def close(link: Link, frame: Frame) -> None:
        await link.process.pipes[1].aclose()
        await anyio.sleep_forever()

    async with session(tmp_path, server(close=close)) as host:
        answer = await host.call("close")
        assert reason(answer) == "lost"
        assert "result" in await host.call("echo")


# Starts that fail


async def failing(start: Callable[[], Awaitable[Sandbox]]) -> Sandbox:
    raise EngineError("the engine does not answer", why="no socket", hint="start it")


async def test_a_start_that_fails_is_told_to_every_request(tmp_path: Path) -> None:
    async with session(tmp_path, server(), launch=failing) as host:
        began = time.monotonic()
        for _ in range(3):
            answer = await host.call("echo")
            assert (reason(answer), answer["error"]["code"]) == ("engine", -31004)
            assert answer["error"]["data"] == {"reason": "engine", "why": "no socket", "hint": "start it"}
        await host.over.wait()
        assert time.monotonic() - began < 2 * LEAVE + ROOM
    assert isinstance(host.result, EngineError)
    assert host.statuses == []


async def test_an_engine_that_fails_at_a_restart(tmp_path: Path) -> None:
    starts = 0

    async def second_fails(start: Callable[[], Awaitable[Sandbox]]) -> Sandbox:
        nonlocal starts
        starts += 1
        return await (failing if starts == 2 else lambda start: start())(start)

    async with session(tmp_path, server(die=die), launch=second_fails) as host:
        await host.call("die")
        # The end of a server is what its calls are told first: wait until the next start is due.
        assert reason(await host.call("echo")) == "engine"
        assert "result" in await host.call("echo")
    assert host.result is None


async def test_a_server_that_exits_at_once(tmp_path: Path) -> None:
    async def exits(process: Process) -> int:
        await process.send(b"no such option\n", stderr=True)
        return 2

    async with session(tmp_path, exits) as host:
        answer = await host.answer(await host.ask("initialize"))
        assert reason(answer) == "exited"
        assert answer["error"]["data"]["why"] == "test exited 2; its last words: no such option"
    assert isinstance(host.result, BulkheadError)
    assert (host.result.exit_code, host.result.reason) == (5, "exited")


async def test_requests_that_come_while_it_starts_are_answered(tmp_path: Path) -> None:
    go = anyio.Event()

    async def slow(start: Callable[[], Awaitable[Sandbox]]) -> Sandbox:
        await go.wait()
        return await start()

    async with session(tmp_path, server(), launch=slow) as host:
        calls = [await host.start("echo") for _ in range(5)]
        await anyio.wait_all_tasks_blocked()
        go.set()
        assert ["result" in await host.answer(call) for call in calls] == [True] * 5
        assert host.statuses[-1].starts == 1


# Ends


@pytest.mark.parametrize("end", ["eof", "stop"])
@pytest.mark.parametrize("stubborn", [False, True])
async def test_the_end_comes_in_time(tmp_path: Path, end: str, stubborn: bool) -> None:
    async def run(process: Process) -> int:
        process.ignores_sigterm = stubborn
        code = await server(hang=hang)(process)
        if stubborn:
            await anyio.sleep_forever()
        return code

    async with session(tmp_path, run, call=60.0) as host:
        await host.shake()
        await host.start("hang")
        began = time.monotonic()
        if end == "stop":
            host.stop.set()
        else:
            await host.stdin.aclose()
        await host.over.wait()
        assert time.monotonic() - began < (LEAVE + GRACE + ROOM if stubborn else ROOM)
    assert host.result is None


async def test_a_call_in_flight_at_the_end_may_still_be_answered(tmp_path: Path) -> None:
    """A server that answers at the end of its input, and exits: no byte of the answer is lost."""

    async def run(process: Process) -> int:
        link = Link(process)
        asked = await link.read()
        await link.line()
        await link.answer(asked, content=["x" * 2_000_000])
        return 0

    async with session(tmp_path, run) as host:
        call = await host.start("slow")
        await host.stdin.aclose()
        await anyio.wait_all_tasks_blocked()
        assert len((await host.answer(call))["result"]["content"][0]) == 2_000_000


async def test_a_host_that_hears_no_more(tmp_path: Path) -> None:
    async with session(tmp_path, server()) as host:
        await host.call("echo")
        await host.stdout.aclose()
        await host.start("echo")
        with anyio.fail_after(LEAVE):
            await host.over.wait()


async def test_a_host_that_reads_no_more_and_leaves(tmp_path: Path) -> None:
    async def flood(link: Link, frame: Frame) -> None:
        while True:
            await link.write({"method": "notifications/message", "params": {"data": "x" * 1000}})

    async with session(tmp_path, server(flood=flood), call=60.0) as host:
        await host.start("flood")
        await anyio.wait_all_tasks_blocked()
        began = time.monotonic()
        await host.stdin.aclose()
        await host.over.wait()
        assert time.monotonic() - began < LEAVE + GRACE + ROOM


async def test_a_session_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with session(tmp_path, server(hang=hang), call=60.0) as host:
            await host.call("echo")
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_stderr_is_drained_however_much_comes(tmp_path: Path) -> None:
    async def loud(link: Link, frame: Frame) -> None:
        for number in range(300):
            await link.process.send(b"%05d " % number + b"x" * 10_000 + b"\n", stderr=True)
        await link.answer(frame, content=[])

    async with session(tmp_path, server(loud=loud)) as host:
        assert "result" in await host.call("loud")
        assert len(host.frames) == 1
    logs = list((tmp_path / "logs").iterdir())
    assert sum(log.stat().st_size for log in logs) < 2.5 * 2**20
