"""Calls that wait for the person: through the host in both eras, through `bulkhead approve`, and the deadline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bulkhead import approvals
from bulkhead.spec import Guards, Tools
from tests.unit.books import books_in, records_in
from tests.unit.relay_session import INITIALIZE, Frame, Host, reason, server, session, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkhead.spec import ServerSpec
    from tests.unit.relay_session import Link

pytestmark = pytest.mark.anyio
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}
ARGUMENTS = {"path": "/notes/a\u202etxt", "text": "x"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def asking(**limits: Any) -> ServerSpec:
    """A profile of which the tool `danger` is asked for."""
    return replace(spec_of(**limits), tools=Tools(approve=("danger",)), guards=Guards(arguments=False, baseline="off"))


class Ran:
    """A tool that counts how often it ran, and with what."""

    def __init__(self) -> None:
        self.params: list[Frame] = []

    async def __call__(self, link: Link, frame: Frame) -> None:
        self.params.append(frame["params"])
        await link.answer(frame, content=[], ran=len(self.params))


async def shaken(host: Host, **capabilities: Any) -> None:
    """A legacy host with these capabilities."""
    await host.answer(await host.ask("initialize", INITIALIZE | {"capabilities": capabilities}))
    await host.send(method="notifications/initialized")


async def asked(host: Host) -> Frame:
    """The elicitation that the host gets."""
    return await host.heard(lambda frame: frame.get("method") == "elicitation/create")


async def test_a_legacy_host_asks_its_person(tmp_path: Path) -> None:
    ran = Ran()
    async with session(tmp_path, server(danger=ran), spec=asking(), books=books_in(tmp_path)) as host:
        await shaken(host, elicitation={})
        call = await host.start("danger", **ARGUMENTS)
        question = await asked(host)
        assert ran.params == []
        message = question["params"]["message"]
        assert "danger" in message
        assert "/notes/a\\u202etxt" in message, "what cannot be seen is shown"
        assert question["params"]["requestedSchema"]["required"] == ["allow"]
        await host.send(id=question["id"], result={"action": "accept", "content": {"allow": True}})
        assert (await host.answer(call))["result"]["ran"] == 1
    assert ran.params[0]["arguments"] == ARGUMENTS
    decisions = [(record["event"], record["decision"]) for record in records_in(tmp_path) if record.get("tool")]
    assert decisions == [("approval", "hold"), ("approval", "allow"), ("request", "allow"), ("result", "allow")]


@pytest.mark.parametrize(
    "answer",
    [
        {"action": "decline"},
        {"action": "cancel"},
        {"action": "accept"},
        {"action": "accept", "content": {}},
        {"action": "accept", "content": {"allow": "true"}},
        {"action": "accept", "content": {"allow": 1}},
        {"action": "accept", "content": {"allow": False}},
        {"action": "decline", "content": {"allow": True}},
    ],
)
async def test_all_but_a_plain_yes_is_a_no(tmp_path: Path, answer: Frame) -> None:
    ran = Ran()
    async with session(tmp_path, server(danger=ran), spec=asking(), books=books_in(tmp_path)) as host:
        await shaken(host, elicitation={"form": {}})
        call = await host.start("danger")
        await host.send(id=(await asked(host))["id"], result=answer)
        denied = await host.answer(call)
        assert reason(denied) == "approval"
        assert "did not allow it" in denied["error"]["data"]["why"]
    assert ran.params == []


@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {"url": {}}}, {"elicitation": True}])
@pytest.mark.parametrize("allow", [True, False])
async def test_who_cannot_be_asked_is_waited_for(tmp_path: Path, capabilities: Frame, allow: bool) -> None:
    ran = Ran()
    async with session(tmp_path, server(danger=ran, safe=Ran()), spec=asking(), books=books_in(tmp_path)) as host:
        await shaken(host, **capabilities)
        call = await host.start("danger", **ARGUMENTS)
        assert (await host.call("safe"))["result"]["ran"] == 1, "other messages go on"
        (waits,) = await until(lambda: list(approvals.all_waiting(tmp_path)))
        assert (waits.tool, waits.arguments, waits.server) == ("danger", ARGUMENTS, "test")
        assert any(waits.id in line for line in host.said)
        approvals.decide(tmp_path, waits, allow=allow, actor="ada@here")
        answer = await host.answer(call)
        assert ("result" in answer) is allow
        if not allow:
            assert answer["error"]["data"]["why"] == "ada@here did not allow it"
        assert not [frame for frame in host.frames if frame.get("method") == "elicitation/create"]
    assert len(ran.params) == allow
    assert list((tmp_path / "approvals").iterdir()) == []


async def test_a_decision_for_another_call_is_none(tmp_path: Path) -> None:
    ran = Ran()
    async with session(tmp_path, server(danger=ran), spec=asking(approval=0.8), books=books_in(tmp_path)) as host:
        await shaken(host)
        call = await host.start("danger", path="/notes/b")
        (waits,) = await until(lambda: list(approvals.all_waiting(tmp_path)))
        approvals.decide(tmp_path, replace(waits, digest="sha256:" + "0" * 64), allow=True, actor="eve")
        denied = await host.answer(call)
        assert denied["error"]["data"]["why"] == "nobody answered within 0.8 s"
    assert ran.params == []


async def test_a_cancelled_call_waits_no_longer(tmp_path: Path) -> None:
    ran = Ran()
    async with session(tmp_path, server(danger=ran, safe=Ran()), spec=asking(), books=books_in(tmp_path)) as host:
        await shaken(host)
        call = await host.start("danger")
        (waits,) = await until(lambda: list(approvals.all_waiting(tmp_path)))
        await host.send(method="notifications/cancelled", params={"requestId": call})
        await until(lambda: not list(approvals.all_waiting(tmp_path)))
        await host.call("safe")
    assert ran.params == []
    assert waits.tool == "danger"


async def test_a_patient_host_hears_what_it_waits_for(tmp_path: Path) -> None:
    async with session(tmp_path, server(danger=Ran()), spec=asking(), books=books_in(tmp_path)) as host:
        await shaken(host)
        call = await host.ask("tools/call", {"name": "danger", "_meta": {"progressToken": "p"}})
        progress = await host.heard(lambda frame: frame.get("method") == "notifications/progress")
        (waits,) = approvals.all_waiting(tmp_path)
        assert progress["params"]["progressToken"] == "p"
        assert f"bulkhead approve --call {waits.id}" in progress["params"]["message"]
        approvals.decide(tmp_path, waits, allow=True, actor="ada")
        await host.answer(call)


async def modern_call(host: Host, **more: Any) -> Frame:
    """A call in the modern era, and its answer."""
    params = {"name": "danger", "arguments": ARGUMENTS, "_meta": MODERN} | more
    return await host.answer(await host.ask("tools/call", params))


def answered(result: Frame, **answer: Any) -> Frame:
    """What a modern client adds to its second call."""
    (key,) = result["inputRequests"]
    return {"inputResponses": {key: answer}, "requestState": result["requestState"]}


YES = {"action": "accept", "content": {"allow": True}}


async def test_a_modern_host_is_told_to_ask(tmp_path: Path) -> None:
    ran = Ran()
    async with session(tmp_path, server(danger=ran), spec=asking(), books=books_in(tmp_path)) as host:
        result = (await modern_call(host))["result"]
        assert result["resultType"] == "input_required"
        (question,) = result["inputRequests"].values()
        assert question["method"] == "elicitation/create"
        assert "danger" in question["params"]["message"]
        assert ran.params == []
        assert (await modern_call(host, **answered(result, **YES)))["result"]["ran"] == 1
    assert set(ran.params[0]) == {"name", "arguments", "_meta"}, "the server does not see the answer to our question"


async def test_a_modern_no(tmp_path: Path) -> None:
    ran = Ran()
    async with session(tmp_path, server(danger=ran), spec=asking(), books=books_in(tmp_path)) as host:
        result = (await modern_call(host))["result"]
        assert reason(await modern_call(host, **answered(result, action="decline"))) == "approval"
    assert ran.params == []


@pytest.mark.parametrize(
    "change",
    [{"arguments": ARGUMENTS | {"text": "y"}}, {"name": "danger2"}, {"requestState": "0" * 32}],
    ids=["other arguments", "another tool", "a token of nobody's"],
)
async def test_an_answer_is_for_exactly_the_call_that_was_shown(tmp_path: Path, change: Frame) -> None:
    ran = Ran()
    spec = replace(asking(), tools=Tools(approve=("danger*",)))
    async with session(tmp_path, server(danger=ran, danger2=ran), spec=spec, books=books_in(tmp_path)) as host:
        result = (await modern_call(host))["result"]
        again = (await modern_call(host, **answered(result, **YES) | change))["result"]
        assert again["resultType"] == "input_required", "it is asked again"
    assert ran.params == []


async def test_an_answer_is_good_once(tmp_path: Path) -> None:
    ran = Ran()
    async with session(tmp_path, server(danger=ran), spec=asking(), books=books_in(tmp_path)) as host:
        result = (await modern_call(host))["result"]
        await modern_call(host, **answered(result, **YES))
        assert (await modern_call(host, **answered(result, **YES)))["result"]["resultType"] == "input_required"
    assert len(ran.params) == 1


async def test_the_rounds_of_an_allowed_call_are_one_call(tmp_path: Path) -> None:
    seen: list[Frame] = []

    async def rounds(link: Link, frame: Frame) -> None:
        seen.append(frame["params"])
        if len(seen) == 1:
            asks = {"who": {"method": "elicitation/create", "params": {"message": "?", "requestedSchema": {}}}}
            await link.answer(frame, resultType="input_required", inputRequests=asks, requestState="theirs")
        else:
            await link.answer(frame, content=[])

    async with session(tmp_path, server(danger=rounds), spec=asking(), books=books_in(tmp_path)) as host:
        result = (await modern_call(host))["result"]
        theirs = (await modern_call(host, **answered(result, **YES)))["result"]
        assert theirs["requestState"] == "theirs"
        last = await modern_call(host, inputResponses={"who": {"action": "accept"}}, requestState="theirs")
        assert last["result"]["content"] == []
        again = await modern_call(host, inputResponses={"who": {"action": "accept"}}, requestState="theirs")
        assert again["result"]["resultType"] == "input_required", "once"
    assert seen[1]["requestState"] == "theirs"
    assert seen[1]["inputResponses"] == {"who": {"action": "accept"}}


async def until(found: Callable[[], Any]) -> Any:
    """What found() finds, once it does."""
    with anyio.fail_after(5):
        while not (result := found()):  # noqa: ASYNC110 - files tell no event
            await anyio.sleep(0.01)
    return result
