"""The official Python client behind `bulkhead run`: official servers in every mode, and all that passes both ways."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import mcp
import mcp_types as types
import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from tests.conftest import BULKHEAD, run_command
from tests.servers.profiles import write_profile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [
    pytest.mark.anyio,
    # The SDK says of every legacy method that the modern era has it no more.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
META = "example.org/trace"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """asyncio, as everywhere here."""
    return "asyncio"


class Person:
    """The client's side: answers what it is asked, and remembers it and all notifications."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.heard: list[Any] = []
        self.news = anyio.Event()

    async def elicit(self, context: Any, params: Any) -> types.ElicitResult:
        """The same answer to every form."""
        del context
        self.asked.append(params)
        return types.ElicitResult(action="accept", content={"name": "Ada", "color": "green", "ok": True})

    async def sample(self, context: Any, params: Any) -> types.CreateMessageResult:
        """The same answer to every prompt."""
        del context
        self.asked.append(params)
        said = types.TextContent(type="text", text="Paris")
        return types.CreateMessageResult(role="assistant", content=said, model="none")

    async def roots(self, context: Any) -> types.ListRootsResult:
        """One folder."""
        del context
        root = types.Root(uri="file:///notes", name="notes")  # type: ignore[arg-type]
        return types.ListRootsResult(roots=[root])

    async def hear(self, message: Any) -> None:
        """Every notification."""
        self.heard.append(message)
        self.news.set()

    async def wait_for(self, wanted: str) -> Any:
        """The first notification whose method is wanted."""
        with anyio.fail_after(15):
            while True:
                for message in self.heard:
                    if getattr(message, "method", "") == wanted:
                        return message
                self.news = anyio.Event()
                await self.news.wait()


@asynccontextmanager
async def connected(command: list[str], mode: str, person: Person, log: Path) -> AsyncIterator[mcp.Client]:
    """An SDK client of a command."""
    server = StdioServerParameters(command=command[0], args=command[1:])
    with log.open("w") as errors:
        async with mcp.Client(
            stdio_client(server, errors),
            mode=mode,
            elicitation_callback=person.elicit,
            sampling_callback=person.sample,
            list_roots_callback=person.roots,
            message_handler=person.hear,
            read_timeout_seconds=60,
        ) as client:
            yield client


def _text(result: types.CallToolResult) -> str:
    assert not result.is_error, result
    block = result.content[0]
    assert isinstance(block, types.TextContent)
    return block.text


CALLS: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    "everything": [("echo", {"message": "through the wall"}, "through the wall")],
    "memory": [
        (
            "create_entities",
            {"entities": [{"name": "Ada", "entityType": "person", "observations": ["wrote programs"]}]},
            "Ada",
        ),
        ("read_graph", {}, "wrote programs"),
    ],
    "time": [("get_current_time", {"timezone": "Etc/UTC"}, "UTC")],
}
MODES = {
    "everything": ("auto", "legacy"),
    "memory": ("auto", "legacy"),
    "time": ("auto", "legacy", "2026-07-28"),
}


@pytest.mark.parametrize(("server", "mode"), [(name, mode) for name, modes in MODES.items() for mode in modes])
async def test_official_servers(server: str, mode: str, tmp_path: Path) -> None:
    async with connected([*BULKHEAD, "run", server], mode, Person(), tmp_path / "log") as client:
        assert {tool for tool, _, _ in CALLS[server]} <= {tool.name for tool in (await client.list_tools()).tools}
        for tool, arguments, expected in CALLS[server]:
            assert expected in _text(await client.call_tool(tool, arguments))


@pytest.fixture
def person() -> Person:
    """A person at the client."""
    return Person()


@pytest.fixture
async def legacy(person: Person, tmp_path: Path) -> AsyncIterator[mcp.Client]:
    """A legacy client of the fixture."""
    command = run_command(write_profile(tmp_path, "fixture"))
    async with connected(command, "legacy", person, tmp_path / "log") as client:
        yield client


@pytest.fixture
async def modern(person: Person, tmp_path: Path) -> AsyncIterator[mcp.Client]:
    """A modern client of the fixture."""
    command = run_command(write_profile(tmp_path, "fixture"))
    async with connected(command, "2026-07-28", person, tmp_path / "log") as client:
        yield client


async def test_auto_finds_the_modern_era(person: Person, tmp_path: Path) -> None:
    command = run_command(write_profile(tmp_path, "fixture"))
    async with connected(command, "auto", person, tmp_path / "log") as client:
        assert client.protocol_version == "2026-07-28"


async def test_legacy_sampling_and_elicitation(legacy: mcp.Client, person: Person) -> None:
    assert "Paris" in _text(await legacy.call_tool("test_sampling", {"prompt": "What is the capital?"}))
    assert "action=accept" in _text(await legacy.call_tool("test_elicitation", {"message": "Who?"}))
    sampled, elicited = person.asked
    assert sampled.messages[0].content.text == "What is the capital?"
    assert elicited.message == "Who?"


async def test_legacy_roots_and_their_change(legacy: mcp.Client, person: Person) -> None:
    assert "file:///notes" in _text(await legacy.call_tool("test_input_required_result_list_roots"))
    await legacy.send_roots_list_changed()
    assert "file:///notes" in (await person.wait_for("notifications/message")).params.data


async def test_legacy_progress(legacy: mcp.Client) -> None:
    told: list[float] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    await legacy.call_tool("test_tool_with_progress", progress_callback=progress)
    assert told == [0, 50, 100]


async def test_legacy_cancellation_reaches_the_server(legacy: mcp.Client, person: Person) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(legacy.call_tool, "test_until_cancelled")
        await person.wait_for("notifications/message")
        tasks.cancel_scope.cancel()
    person.heard.clear()
    assert (await person.wait_for("notifications/message")).params.data == "cancelled"
    assert "text response" in _text(await legacy.call_tool("test_simple_text"))


async def test_legacy_changes_and_subscriptions(legacy: mcp.Client, person: Person) -> None:
    await legacy.subscribe_resource("test://watched-resource")
    await legacy.call_tool("test_list_changed")
    for kind in ("tools", "prompts", "resources"):
        await person.wait_for(f"notifications/{kind}/list_changed")
    updated = await person.wait_for("notifications/resources/updated")
    assert str(updated.params.uri) == "test://watched-resource"
    await legacy.unsubscribe_resource("test://watched-resource")
    person.heard.clear()
    await legacy.call_tool("test_list_changed")
    await person.wait_for("notifications/resources/list_changed")
    assert not [message for message in person.heard if message.method == "notifications/resources/updated"]


async def test_legacy_prompts_resources_and_completion(legacy: mcp.Client) -> None:
    prompt = await legacy.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
    assert "arg1='a'" in prompt.messages[0].content.text  # type: ignore[union-attr]
    read = await legacy.read_resource("test://template/42/data")
    assert '"42"' in read.contents[0].text  # type: ignore[union-attr]
    ref = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
    completed = await legacy.complete(ref, {"name": "arg1", "value": "pa"})
    assert "paris" in completed.completion.values
    with pytest.raises(MCPError, match="Resource not found"):
        await legacy.read_resource("test://nowhere")


async def test_meta_goes_both_ways(legacy: mcp.Client) -> None:
    result = await legacy.call_tool("reflect", {"a": [1, 2.5, None]}, meta={META: {"x": 1}})  # type: ignore[arg-type]
    seen = json.loads(_text(result))
    assert seen["params"]["_meta"][META] == {"x": 1}
    assert seen["params"]["arguments"] == {"a": [1, 2.5, None]}
    assert result.meta is not None
    assert result.meta["example.org/kept"] == [1, None]


async def test_modern_input_required(modern: mcp.Client, person: Person) -> None:
    assert "Ada" in _text(await modern.call_tool("test_input_required_result_elicitation"))
    assert "Paris" in _text(await modern.call_tool("test_input_required_result_sampling"))
    assert "file:///notes" in _text(await modern.call_tool("test_input_required_result_list_roots"))
    assert len(person.asked) == 2


async def test_modern_request_state_comes_back_unaltered(modern: mcp.Client, person: Person) -> None:
    assert "state-ok" in _text(await modern.call_tool("test_input_required_result_request_state"))
    assert "green" in _text(await modern.call_tool("test_input_required_result_multi_round"))
    assert [asked.message for asked in person.asked[1:]] == [
        "Step 1: What is your name?",
        "Step 2: What is your favorite color?",
    ]


async def test_modern_subscriptions(modern: mcp.Client) -> None:
    with anyio.fail_after(20):
        async with modern.listen(tools_list_changed=True, resource_subscriptions=["test://watched-resource"]) as events:
            await modern.call_tool("test_list_changed")
            heard = {type(await anext(events)).__name__ for _ in range(2)}
    assert heard == {"ToolsListChanged", "ResourceUpdated"}


async def test_modern_progress_and_lists(modern: mcp.Client) -> None:
    told: list[float] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    await modern.call_tool("test_tool_with_progress", progress_callback=progress)
    assert told == [0, 50, 100]
    assert {tool.name for tool in (await modern.list_tools()).tools} >= {"test_simple_text", "json_schema_2020_12_tool"}
    assert len((await modern.list_resources()).resources) == 3
    assert len((await modern.list_prompts()).prompts) == 4
