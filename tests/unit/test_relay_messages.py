"""The relay's messages: bytes as they came, ids both ways, and frames that are none."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.unit.relay_session import INITIALIZE, Frame, Link, encoded, hang, reason, server, session

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.engines.fake import Process

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_both_ways_the_bytes_are_the_same(tmp_path: Path) -> None:
    asked = b'{ "id":"\\u00e9" , "x":[1.50,1E5], "jsonrpc":"2.0","method":"odd/one","params":{"z":"\xc3\xa9"} }'
    answered = b'{"result":{"n":0.1000,"_meta":{"later":true}},"more":1,  "id":"\xc3\xa9","jsonrpc":"2.0"}'
    noted = b'{"method":"notifications/odd","jsonrpc":"2.0","params":{"x":-0}}'
    seen = []

    async def run(process: Process) -> int:
        link = Link(process)
        seen.append(await link.line())
        await link.write(noted)
        await link.write(answered)
        seen.append(await link.line())
        await link.write({"method": "notifications/seen"})
        return len(await link.line())

    async with session(tmp_path, run) as host:
        await host.raw(asked + b"\n")
        await host.answer("é")
        await host.raw(noted + b"\n")
        await host.heard(lambda frame: frame.get("method") == "notifications/seen")
        assert host.lines[:2] == [noted, answered]
    assert seen == [asked, noted]


async def test_the_handshake_passes_byte_for_byte(tmp_path: Path) -> None:
    lines: list[bytes] = []

    async def run(process: Process) -> int:
        link = Link(process)
        lines.append(await link.line())
        await link.write({"id": 0, "result": {"protocolVersion": "2025-11-25"}})
        lines.append(await link.line())
        await link.write({"method": "notifications/ready"})
        return len(await link.line())

    shake = encoded(id=0, method="initialize", params=INITIALIZE), encoded(method="notifications/initialized")
    async with session(tmp_path, run) as host:
        await host.raw(shake[0] + b"\n")
        await host.answer(0)
        await host.raw(shake[1] + b"\n")
        await host.heard(lambda frame: frame.get("method") == "notifications/ready")
    assert tuple(lines) == shake
    assert host.result is None


async def test_a_server_asks_the_host(tmp_path: Path) -> None:
    async def sample(link: Link, frame: Frame) -> None:
        # The id is one of the host's too: the directions must not be mixed up.
        await link.write({"id": frame["id"], "method": "sampling/createMessage", "params": {"n": 1.50}})
        answer = await link.read()
        await link.answer(frame, content=[], heard=answer)

    async def run(process: Process) -> int:
        link = Link(process)
        await sample(link, await link.read())
        return len(await link.line())

    async with session(tmp_path, run) as host:
        call = await host.start("sample")
        asked = await host.heard(lambda frame: frame.get("method") == "sampling/createMessage")
        assert asked == {"jsonrpc": "2.0", "id": call, "method": "sampling/createMessage", "params": {"n": 1.5}}
        await host.send(id=call, result={"text": "yes"})
        assert (await host.answer(call))["result"]["heard"] == {"jsonrpc": "2.0", "id": call, "result": {"text": "yes"}}


async def test_answers_that_the_server_did_not_ask_for(tmp_path: Path) -> None:
    async with session(tmp_path, server()) as host:
        await host.shake()
        await host.send(id="s1", result={})
        refusal = await host.heard(lambda frame: "error" in frame)
        assert (refusal["id"], reason(refusal)) == (None, "malformed")
        assert "which was not asked or is answered already" in refusal["error"]["data"]["why"]
        assert "result" in await host.call("echo")


async def test_a_server_that_cancels_its_own_request(tmp_path: Path) -> None:
    async def ask(link: Link, frame: Frame) -> None:
        await link.write({"id": "s", "method": "elicitation/create", "params": {}})
        await link.write({"method": "notifications/cancelled", "params": {"requestId": "s"}})
        await link.answer(frame, content=[])

    async with session(tmp_path, server(ask=ask)) as host:
        await host.call("ask")
        await host.send(id="s", result={"late": True})
        assert "result" in await host.call("echo")
        assert not [frame for frame in host.frames if "error" in frame]


async def test_a_cancelled_call_gets_no_answer_and_spoils_none(tmp_path: Path) -> None:
    late = anyio.Event()

    async def slow(link: Link, frame: Frame) -> None:
        await late.wait()
        await link.answer(frame, content=["late"])
        await link.answer(frame, content=["later still"])

    async with session(tmp_path, server(slow=slow)) as host:
        call = await host.start("slow")
        await host.send(method="notifications/cancelled", params={"requestId": call})
        await host.call("echo")
        late.set()
        await host.call("echo")
        assert [frame["id"] for frame in host.frames] == [2, 3]
        assert host.span(call).error_type == "cancelled"


async def test_an_id_in_flight_cannot_be_asked_again(tmp_path: Path) -> None:
    go = anyio.Event()

    async def slow(link: Link, frame: Frame) -> None:
        await go.wait()
        await link.answer(frame, content=["first"])

    async with session(tmp_path, server(slow=slow)) as host:
        call = await host.start("slow")
        await host.send(id=call, method="tools/call", params={"name": "echo"})
        refusal = await host.heard(lambda frame: "error" in frame)
        assert (refusal["id"], reason(refusal)) == (None, "malformed")
        assert refusal["error"]["data"]["why"] == "the host's frame is id 1 is in flight already"
        go.set()
        assert (await host.answer(call))["result"]["content"] == ["first"]


async def test_an_id_of_our_own_is_refused(tmp_path: Path) -> None:
    async with session(tmp_path, server()) as host:
        await host.send(id="bulkhead/initialize", method="ping")
        assert reason(await host.answer("bulkhead/initialize")) == "malformed"
        assert "result" in await host.call("echo")


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ('{"jsonrpc":"2.0","id":ID,"result":{"x":NaN}}', "a line that is NaN is not JSON"),
        ('{"jsonrpc":"2.0","id":ID,"result":{},"Result":{}}', "a line that is key 'Result' in another case"),
        ('{"jsonrpc":"2.0","id":ID,"result":{}', "a line that is not JSON"),
        ('{"id":ID,"result":{"method":"GET"}}', 'a line that is no "jsonrpc": "2.0"'),
        ('{"jsonrpc":"2.0","id":"ID","result":{}}', "an answer to id 'ID', which was not asked"),
        ('{"jsonrpc":"2.0","id":ID.0,"result":{}}', "a line that is id is not a string or an integer"),
        ('Ready {"jsonrpc":"2.0","id":ID,"result":[]}', "a line that is result is not an object"),
    ],
)
async def test_a_malformed_answer_fails_its_call_at_once(tmp_path: Path, broken: str, why: str) -> None:
    async def bad(link: Link, frame: Frame) -> None:
        await link.write(broken.replace("ID", str(frame["id"])).encode())

    async with session(tmp_path, server(bad=bad, hang=hang)) as host:
        await host.start("hang")
        call = await host.start("bad")
        answer = await host.answer(call)
        assert reason(answer) == "malformed"
        assert answer["error"]["data"]["why"].startswith(why.replace("ID", str(call)))
        assert host.span(call).error_type == "malformed"
        assert "result" in await host.call("echo")


@pytest.mark.parametrize(
    "stray",
    [
        b"Server listening on stdio",
        b'{"level":"info","id":1,"msg":"working on it"}',
        b'{"jsonrpc":"2.0","id":99,"result":{}}',
        b'{"jsonrpc":"2.0","id":"99","error":{"code":1,"message":""}}',
        b'{"jsonrpc":"2.0","id":null,"method":"roots/list"}',
        b'{"jsonrpc":"2.0","id":1,"method":"roots/list","params":[]}',
        b"\x00\xff" * 100,
        b"",
    ],
)
async def test_what_is_no_answer_is_dropped_and_told(tmp_path: Path, stray: bytes) -> None:
    async def noisy(link: Link, frame: Frame) -> None:
        await link.write(stray)
        await link.answer(frame, content=[])

    async with session(tmp_path, server(noisy=noisy)) as host:
        assert "result" in await host.call("noisy")
        assert len(host.frames) == 1
        assert len(host.said) == bool(stray)
        assert all(line.startswith("test: dropped from the server's output: ") for line in host.said)


async def test_what_is_told_is_bounded(tmp_path: Path) -> None:
    async def noisy(link: Link, frame: Frame) -> None:
        for _ in range(50):
            await link.write(encoded(id="x" * 1000, result={}))
            await link.write(encoded(**{"id": 1, "method": "m", "PARAMS": {}}))
        await link.answer(frame, content=[])

    async with session(tmp_path, server(noisy=noisy)) as host:
        await host.call("noisy")
        assert len(host.said) == 10
        assert host.said[-1].endswith("(no more of these are told)")
        assert max(map(len, host.said)) < 300


async def test_a_message_behind_other_text_is_found(tmp_path: Path) -> None:
    async def prefix(link: Link, frame: Frame) -> None:
        await link.process.send(b"Listening on {stdio} ")
        await link.answer(frame, content=["behind"])

    async with session(tmp_path, server(prefix=prefix)) as host:
        assert (await host.call("prefix"))["result"]["content"] == ["behind"]
        assert host.said == ["test: dropped from the server's output: text before a message"]


@pytest.mark.parametrize("last", [False, True])
async def test_an_overlong_answer_fails_its_call(tmp_path: Path, last: bool) -> None:
    async def huge(link: Link, frame: Frame) -> None:
        result = {"result": {"text": "x" * 10_000, "id": 1}}
        await link.write({"id": frame["id"]} | result if not last else result | {"id": frame["id"]})

    async with session(tmp_path, server(huge=huge, hang=hang), message=4096) as host:
        await host.start("hang")
        answer = await host.call("huge")
        assert (reason(answer), answer["error"]["code"]) == ("message", -31006)
        assert "the limit is 4096" in answer["error"]["data"]["why"]
        assert "result" in await host.call("echo")


@pytest.mark.parametrize("order", ["id first", "id last"])
async def test_an_overlong_request_is_refused_with_its_own_id(tmp_path: Path, order: str) -> None:
    own: Frame = {"id": "mine"}
    body = {"method": "tools/call", "params": {"name": "echo", "arguments": {"id": 1, "x": "x" * 10_000, "id2": 1}}}
    async with session(tmp_path, server(hang=hang), message=4096) as host:
        await host.start("hang")
        await host.raw(json.dumps(own | body if order == "id first" else body | own).encode() + b"\n")
        refusal = await host.answer("mine")
        assert (reason(refusal), refusal["error"]["code"]) == ("message", -31006)
        assert "result" in await host.call("echo")


async def test_a_malformed_request_is_refused_with_its_own_id(tmp_path: Path) -> None:
    async with session(tmp_path, server(hang=hang)) as host:
        call = await host.start("hang")
        await host.raw(b'{"jsonrpc":"2.0","id":"mine","method":"tools/call","params":{"x":NaN}}\n')
        refusal = await host.answer("mine")
        assert reason(refusal) == "malformed"
        assert refusal["error"]["data"]["why"] == "the host's frame is NaN is not JSON"
        # An id in flight must not be answered by the refusal of another frame.
        await host.raw(b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"x":NaN}}\n' % call)
        refusal = await host.heard(lambda frame: "error" in frame and frame["id"] != "mine")
        assert (refusal["id"], reason(refusal)) == (None, "malformed")


@pytest.mark.parametrize("bad", [b"garbage", b"[]", b'{"jsonrpc":"2.0","id":null,"method":"ping"}', b"\xff"])
async def test_a_frame_without_an_id_is_refused_without_one(tmp_path: Path, bad: bytes) -> None:
    async with session(tmp_path, server()) as host:
        await host.raw(b"\n\n" + bad + b"\n")
        refusal = await host.heard(lambda frame: "error" in frame)
        assert (refusal["id"], reason(refusal)) == (None, "malformed")
        assert "result" in await host.call("echo")


async def test_the_span_goes_with_the_message(tmp_path: Path) -> None:
    theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    lines: list[Any] = []

    async def look(link: Link, frame: Frame) -> None:
        lines.append(frame["params"]["_meta"])
        await link.answer(frame, content=[])

    async with session(tmp_path, server(look=look)) as host:
        meta = {"traceparent": theirs, "baggage": "secret=1", "progressToken": 7}
        call = await host.ask("tools/call", {"name": "look", "_meta": meta})
        await host.answer(call)
        span = host.span(call)
    assert lines == [{"traceparent": span.traceparent, "progressToken": 7}]
    assert (span.trace_id, span.parent_id) == (theirs[3:35], theirs[36:52])
    assert span.attributes["bulkhead.bytes.out"] == len(host.lines[0])


async def test_what_waits_for_an_answer_keeps_no_bytes(tmp_path: Path) -> None:
    """A host may have many calls in flight, and a server many questions, each as large as a message may be."""
    asked = 0

    async def ask(link: Link, frame: Frame) -> None:
        nonlocal asked
        for number in range(32):
            await link.write({"id": number, "method": "sampling/createMessage", "params": {"x": "y" * 500_000}})
            asked += 1

    async with session(tmp_path, server(ask=ask, hang=hang), concurrent_calls=64) as host:
        tracemalloc.start()
        try:
            for _ in range(32):
                await host.start("hang", x="y" * 500_000)
            await host.start("ask")
            while asked < 32 or len(host.frames) < 32:
                await host.hear()
                host.lines.clear()
                host.frames = [{"method": ""} for _ in host.frames]
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert held < 8 * 2**20


async def test_a_large_message_both_ways(tmp_path: Path) -> None:
    async with session(tmp_path, server()) as host:
        text = "\u00e9," * 2**20
        call = await host.ask("tools/call", {"name": "echo", "arguments": {"x": 1}})
        await host.answer(call)

        async def ask() -> None:
            await host.ask("tools/call", {"name": "echo", "arguments": {"x": text}})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            answer = await host.answer(2)
        assert reason(answer) == "output"
