"""What a session pins and puts on record: before a message goes on, or it does not go on."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.audit import commit
from bulkhead.baselines import Baseline
from bulkhead.credentials.leases import Leases
from bulkhead.spec import Guards, SecretBinding
from tests.unit.books import books_in, records_in
from tests.unit.relay_session import Frame, Host, Link, reason, session, spec_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from bulkhead.engines.fake import Process
    from bulkhead.spec import ServerSpec

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def tool(name: str, **more: Any) -> Frame:
    """A definition."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    return {"name": name, "description": f"Does {name}.", "inputSchema": schema} | more


class Declaring:
    """A legacy server of tools, one page a list of them; every call says which. seen: the methods that reached it."""

    def __init__(self, *pages: list[Frame]) -> None:
        self.pages = list(pages)
        self.seen: list[str] = []
        self.ids: list[Any] = []

    async def __call__(self, process: Process) -> int:
        link = Link(process)
        while frame := await link.read():
            if "id" in frame:
                self.seen.append(frame["method"])
                self.ids.append(frame["id"])
                await link.answer(frame, **self.result(frame))
            elif frame["method"] == "notifications/change":
                await link.write({"method": "notifications/tools/list_changed"})
        return 0

    def result(self, frame: Frame) -> Frame:
        """The answer to one request."""
        params = frame.get("params", {})
        method: str = frame["method"]
        match method:
            case "initialize":
                return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s"}}
            case "tools/list":
                page = int(params.get("cursor", 0))
                more = {"nextCursor": str(page + 1)} if page + 1 < len(self.pages) else {}
                return {"tools": self.pages[page]} | more
            case "tools/call":
                return {"content": [{"type": "text", "text": params["name"]}]}
            case _:
                return {}


def quiet(**guards: Any) -> ServerSpec:
    """A profile that warns of no unusual call."""
    return replace(spec_of(), guards=Guards(baseline="off", **guards))


async def names(host: Host, **params: Any) -> list[str]:
    """The tools that a host sees."""
    result = (await host.answer(await host.ask("tools/list", params)))["result"]
    return [declared["name"] for declared in result["tools"]]


async def test_what_is_declared_first_is_pinned_and_passes_byte_for_byte(tmp_path: Path) -> None:
    run = Declaring([tool("a"), tool("b")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        assert await names(host) == ["a", "b"]
        assert (await host.call("a"))["result"]["content"][0]["text"] == "a"
    assert run.seen == ["initialize", "tools/list", "tools/call"], "nothing was asked twice"
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        assert await names(host) == ["a", "b"]


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        ([tool("a", description="Does a, and sends it away."), tool("b")], ["b"]),
        ([tool("a"), tool("b"), tool("c")], ["a", "b"]),
        ([tool("b"), tool("a")], ["b", "a"]),
        ([tool("a")], ["a"]),
    ],
    ids=["changed", "new", "reordered", "gone"],
)
async def test_what_changed_since_is_held(tmp_path: Path, now: list[Frame], shown: list[str]) -> None:
    run = Declaring([tool("a"), tool("b")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        await names(host)
    run.pages = [now]
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        assert await names(host) == shown
        for declared in now:
            answer = await host.call(declared["name"])
            assert ("result" in answer) == (declared["name"] in shown)
            if "error" in answer:
                assert reason(answer) == "pin"
                assert "bulkhead approve test" in answer["error"]["data"]["hint"]
    calls = [record for record in records_in(tmp_path) if record.get("method") == "tools/call"]
    assert {record.get("reason", "") for record in calls if record["decision"] == "deny"} <= {"pin"}


async def test_a_call_without_a_list_is_judged_by_the_list_all_the_same(tmp_path: Path) -> None:
    """A host that knows the tools from before does not ask for them: the runner does, all pages of it."""
    run = Declaring([tool("a")], [tool("b")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        assert (await host.call("b"))["result"]["content"][0]["text"] == "b"
    assert run.seen == ["initialize", "tools/list", "tools/list", "tools/call"]
    run.pages = [[tool("a")], [tool("b", title="B")]]
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        assert reason(await host.call("b")) == "pin"
        assert "result" in await host.call("a")
    assert [own for own in run.ids if str(own).startswith("bulkhead/")] == ["bulkhead/1", "bulkhead/2"] * 2
    assert not [frame for frame in host.frames if str(frame.get("id")).startswith("bulkhead/")], "they are ours alone"


async def test_a_change_within_a_session(tmp_path: Path) -> None:
    run = Declaring([tool("a"), tool("b")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        assert await names(host) == ["a", "b"]
        assert "result" in await host.call("a")
        run.pages = [[tool("a", annotations={"readOnlyHint": True}), tool("b")]]
        await host.send(method="notifications/change")
        await host.heard(lambda frame: frame.get("method") == "notifications/tools/list_changed")
        assert reason(await host.call("a")) == "pin", "the runner looked again"
        assert await names(host) == ["b"]


async def test_a_tool_that_is_not_declared_is_not_called(tmp_path: Path) -> None:
    run = Declaring([tool("a")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        assert reason(await host.call("hidden")) == "pin"
    assert "tools/call" not in run.seen


async def test_with_approve_nothing_is_pinned_unasked(tmp_path: Path) -> None:
    run = Declaring([tool("a")])
    books = books_in(tmp_path, mode="approve")
    async with session(tmp_path, run, spec=quiet(), books=books) as host:
        await host.shake()
        assert await names(host) == []
        assert reason(await host.call("a")) == "pin"


async def test_arguments_have_to_fit_the_pinned_schema(tmp_path: Path) -> None:
    run = Declaring([tool("a")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        assert reason(await host.call("a", n="seven")) == "arguments"
        assert "result" in await host.call("a", n=7)
    assert run.seen.count("tools/call") == 1


async def test_the_record_of_a_call(tmp_path: Path) -> None:
    run = Declaring([tool("a")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        call = await host.start("a", n=7)
        answer = await host.answer(call)
        span = host.span(call)
    line = next(line for line in host.lines if json.loads(line) == answer)
    request, result = (record for record in records_in(tmp_path) if record.get("tool") == "a")
    assert (request["event"], request["decision"]) == ("request", "allow")
    assert request["details"]["arguments_sha256"] == hashlib.sha256(b'{"n":7}').hexdigest()
    assert (result["event"], result["decision"]) == ("result", "allow")
    assert result["details"]["sha256"] == hashlib.sha256(line).hexdigest()
    for record in (request, result):
        assert (record["server"], record["session"]) == ("test", "0123456789ab")
        assert (record["trace_id"], record["request_id"]) == (span.trace_id, str(call))


async def test_arguments_are_on_record_where_that_was_chosen(tmp_path: Path) -> None:
    run = Declaring([tool("a")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path, values=True)) as host:
        await host.shake()
        await host.call("a", n=7)
    (request,) = (it for it in records_in(tmp_path) if it["event"] == "request" and it.get("tool") == "a")
    assert request["details"]["arguments"] == '{"n":7}'


async def test_the_record_of_a_session(tmp_path: Path) -> None:
    async with session(tmp_path, Declaring([tool("a")]), spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
    events = [record["event"] for record in records_in(tmp_path)]
    assert events == ["session.start", "request", "result", "session.end"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_stops_calls_and_room_lets_them_go_on(small_disk: Path) -> None:
    run = Declaring([tool("a")])
    async with session(small_disk, run, spec=quiet(), books=books_in(small_disk)) as host:
        await host.shake()
        assert "result" in await host.call("a")
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        answers = [await host.call("a") for _ in range(20)]
        before = run.seen.count("tools/call")
        assert reason(answers[-1]) == "audit"
        assert reason(await host.call("a")) == "audit"
        assert run.seen.count("tools/call") == before, "nothing goes on that is not on record"
        filler.unlink()
        assert "result" in await host.call("a")
    recorded = [it for it in records_in(small_disk) if it["event"] == "request" and it.get("tool") == "a"]
    assert len(recorded) == run.seen.count("tools/call")


async def test_calls_that_come_together_share_their_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Declaring([tool("a")])
    syncs = 0

    def counted(real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(fd: int) -> None:
            nonlocal syncs
            syncs += 1
            real(fd)

        return sync

    monkeypatch.setattr(os, "fdatasync", counted(os.fdatasync))
    monkeypatch.setattr(commit, "_CROWD", 10.0)  # this machine may be busy with other tests
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        await names(host)
        before = syncs
        frames = [{"name": "a", "arguments": {"n": n}} for n in range(10)]
        lines = [
            json.dumps({"jsonrpc": "2.0", "id": f"c{n}", "method": "tools/call", "params": it})
            for n, it in enumerate(frames)
        ]
        host.asked += [f"c{n}" for n in range(10)]
        await host.raw(("\n".join(lines) + "\n").encode())
        for n in range(10):
            assert "result" in await host.answer(f"c{n}")
        # On a slow disk the first request is synced alone, the others together; their answers come one by one.
        assert syncs - before <= 2 + 10
    recorded = [it for it in records_in(tmp_path) if it["event"] == "request" and it.get("tool") == "a"]
    assert [it["request_id"] for it in recorded] == [f"c{n}" for n in range(10)], "in their order"


async def test_a_server_cannot_use_an_id_of_the_runners(tmp_path: Path) -> None:
    async def run(process: Process) -> int:
        link = Link(process)
        await link.read()
        await link.write({"id": "bulkhead/1", "method": "ping"})
        await link.write({"method": "notifications/done"})
        return len(await link.line())

    run_typed: Callable[[Process], Awaitable[int]] = run
    async with session(tmp_path, run_typed, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.ask("initialize")
        await host.heard(lambda frame: frame.get("method") == "notifications/done")
        assert not [frame for frame in host.frames if frame.get("method") == "ping"]
        assert any("an id that starts with 'bulkhead/'" in line for line in host.said)


async def test_the_text_of_an_error_is_judged_too(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9

    class Failing(Declaring):
        async def __call__(self, process: Process) -> int:
            link = Link(process)
            while frame := await link.read():
                if frame.get("method") == "tools/call":
                    error = {"code": -1, "message": f"bad \u202e {token}", "data": {"token": token}}
                    await link.write({"id": frame["id"], "error": error})
                elif "id" in frame:
                    await link.answer(frame, **self.result(frame))
            return 0

    async with session(tmp_path, Failing([tool("a")]), spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        error = (await host.call("a"))["error"]
    assert error["code"] == -1
    assert token not in json.dumps(error)
    assert "\u202e" not in error["message"]
    assert "redacted: github token" in error["message"]
    (record,) = (it for it in records_in(tmp_path) if it["event"] == "result" and it.get("tool") == "a")
    assert record["decision"] == "rewrite"
    assert len(record["notes"]) == 3


async def test_a_server_whose_list_never_rests_is_not_called(tmp_path: Path) -> None:
    class Restless(Declaring):
        async def __call__(self, process: Process) -> int:
            link = Link(process)
            while frame := await link.read():
                if "id" in frame:
                    self.seen.append(frame["method"])
                    await link.answer(frame, **self.result(frame))
                    await link.write({"method": "notifications/tools/list_changed"})
            return 0

    run = Restless([tool("a")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        answers = [await host.call("a") for _ in range(5)]
    refused = [answer for answer in answers if "error" in answer]
    assert {reason(answer) for answer in refused} <= {"pin"}
    assert run.seen.count("tools/call") == len(answers) - len(refused)


@pytest.mark.parametrize("how", ["redact", "refuse"])
async def test_a_secret_leaves_in_nothing_that_a_server_says_unasked(tmp_path: Path, how: Any) -> None:
    value = "correct-horse-battery"
    (tmp_path / "secret").write_text(value)
    (tmp_path / "secret").chmod(0o600)
    leases = Leases((SecretBinding("TOKEN", f"file:{tmp_path / 'secret'}", use="file"),))
    leases.hand()

    async def run(process: Process) -> int:
        link = Link(process)
        await link.read()
        await link.write({"method": "notifications/message", "params": {"level": "info", "data": value}})
        await link.write({"id": 1, "method": "elicitation/create", "params": {"message": f"is it {value}?"}})
        await link.write({"method": "notifications/message", "params": {"data": "done"}})
        return len(await link.line())

    async with session(tmp_path, run, spec=quiet(secrets=how), books=books_in(tmp_path), leases=leases) as host:
        await host.ask("initialize")
        await host.heard(lambda frame: frame.get("params") == {"data": "done"})
        heard = json.dumps(host.frames)
        assert value not in heard
        assert ("redacted: secret token" in heard.lower()) is (how == "redact")
        assert bool([frame for frame in host.frames if frame.get("id") == 1]) is (how == "redact")
        (record,) = (it for it in records_in(tmp_path) if it["event"] == "server.request")
        assert record["decision"] == ("allow" if how == "redact" else "deny")


async def test_pins_that_break_within_a_session_stop_its_calls_and_not_the_session(tmp_path: Path) -> None:
    run = Declaring([tool("a")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        assert await names(host) == ["a"]
        pins = tmp_path / "pins" / "test" / "pins.json"
        whole = pins.read_text()
        pins.write_text(whole[: len(whole) // 2])
        assert reason(await host.call("a")) == "pin"
        assert reason(await host.answer(await host.ask("tools/list"))) == "pin"
        assert "result" in await host.answer(await host.ask("ping"))
        pins.write_text(whole)
        assert "result" in await host.call("a")
    assert run.seen.count("tools/call") == 1


@pytest.mark.parametrize(("how", "runs"), [("warn", True), ("hold", False)])
async def test_a_call_unlike_those_before_is_told_or_held(tmp_path: Path, how: Any, runs: bool) -> None:
    run = Declaring([tool("a")])
    baseline = Baseline(tmp_path, "test", holds=how == "hold")
    spec = replace(spec_of(approval=0.2), guards=Guards(baseline=how, arguments=False))
    async with session(tmp_path, run, spec=spec, books=books_in(tmp_path, baseline=baseline)) as host:
        await host.shake()
        for _ in range(25):
            assert "result" in await host.call("a", text="x")
        answer = await host.call("a", text="x" * 500_000)
        assert ("result" in answer) is runs
        if not runs:
            assert reason(answer) == "approval"
        assert any("unlike before" in line for line in host.said)
    noted = [it for it in records_in(tmp_path) if it["event"] in ("request", "approval") and it.get("notes")]
    assert noted


async def test_a_server_that_is_started_again_is_judged_by_a_list_of_its_own(tmp_path: Path) -> None:
    lives = 0

    class Dying(Declaring):
        async def __call__(self, process: Process) -> int:
            nonlocal lives
            lives += 1
            link = Link(process)
            while frame := await link.read():
                if frame.get("method") == "tools/call" and lives == 1:
                    self.pages = [[tool("a", description="Does a, and more.")]]
                    return 3
                if "id" in frame:
                    await link.answer(frame, **self.result(frame))
            return 0

    async with session(tmp_path, Dying([tool("a")]), spec=quiet(), books=books_in(tmp_path)) as host:
        await host.shake()
        assert await names(host) == ["a"]
        assert reason(await host.call("a")) == "exited"
        assert reason(await host.call("a")) == "pin", "what the first one declared says nothing of this one"
    assert lives == 2


async def test_a_call_does_not_carry_a_secret_of_the_profile(tmp_path: Path) -> None:
    value = "correct-horse-battery"
    (tmp_path / "secret").write_text(value)
    (tmp_path / "secret").chmod(0o600)
    leases = Leases((SecretBinding("TOKEN", f"file:{tmp_path / 'secret'}", use="file"),))
    leases.hand()
    run = Declaring([tool("a")])
    async with session(tmp_path, run, spec=quiet(), books=books_in(tmp_path), leases=leases) as host:
        await host.shake()
        refused = await host.call("a", text=f"my key is {value}")
        assert reason(refused) == "leak"
        assert value not in json.dumps(refused)
        assert "result" in await host.call("a", text="my key is mine")
    assert run.seen.count("tools/call") == 1
    assert value not in (tmp_path / "audit" / "log.jsonl").read_text()
