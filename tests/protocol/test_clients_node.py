"""The official TypeScript client and the inspector's command line behind `bulkhead run`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import BULKHEAD, run_command
from tests.protocol.npm import node
from tests.servers.profiles import write_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCRIPT = Path(__file__).with_name("client.mjs")


@pytest.fixture(scope="module")
def typescript(npm: Callable[[str], Path]) -> Callable[[Sequence[str], list[Any]], dict[str, Any]]:
    """Runs steps of client.mjs against a command; what it got."""
    modules = npm("sdk")

    def run(command: Sequence[str], steps: list[Any]) -> dict[str, Any]:
        line = [node(modules), str(SCRIPT), str(modules.parent), *command]
        done = subprocess.run(line, input=json.dumps(steps), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        got: dict[str, Any] = json.loads(done.stdout)
        return got

    return run


@pytest.mark.parametrize(
    ("server", "step", "expected"),
    [
        ("everything", ["call", "echo", {"message": "through the wall"}], "through the wall"),
        ("memory", ["call", "read_graph", {}], "entities"),
        ("time", ["call", "get_current_time", {"timezone": "Etc/UTC"}], "UTC"),
    ],
)
def test_typescript_and_official_servers(typescript: Any, server: str, step: list[Any], expected: str) -> None:
    listed, called = typescript([*BULKHEAD, "run", server], [["list", "tools"], step])["results"]
    assert step[1] in {tool["name"] for tool in listed["tools"]}
    assert expected in json.dumps(called)
    assert not called.get("isError", False)


def test_typescript_and_everything_that_passes_both_ways(typescript: Any, tmp_path: Path) -> None:
    steps: list[Any] = [
        ["call", "test_sampling", {"prompt": "capital?"}],
        ["call", "test_elicitation", {"message": "who?"}],
        ["call", "test_input_required_result_list_roots", {}],
        ["call", "test_tool_with_progress", {}],
        ["subscribe", "test://watched-resource"],
        ["call", "test_list_changed", {}],
        ["cancelled", "test_until_cancelled"],
        ["raw", "example.org/unknown", {"_meta": {"example.org/x": 1}, "odd": [1.5]}],
        ["raw", "example.org/nowhere", {}],
        ["read", "test://static-binary"],
        ["prompt", "test_prompt_with_arguments", {"arg1": "a", "arg2": "b"}],
    ]
    got = typescript(run_command(write_profile(tmp_path, "fixture")), steps)
    sampled, elicited, roots, _, _, _, cancelled, unknown, nowhere, read, prompt = got["results"]
    assert "Paris" in json.dumps(sampled)
    assert "ada@example.org" in json.dumps(elicited)
    assert "file:///notes" in json.dumps(roots)
    assert got["asked"] == ["sampling/createMessage", "elicitation/create", "roots/list"]
    assert got["progress"] == [0, 50, 100]
    assert "enough" in cancelled["aborted"]
    arrived = json.loads(unknown["content"][0]["text"])
    assert arrived["params"] == {"_meta": {"example.org/x": 1}, "odd": [1.5]}
    assert unknown["example.org/member"] == {"a": 1.5}
    assert nowhere["code"] == -32601
    assert read["contents"][0]["mimeType"] == "image/png"
    assert "arg2='b'" in json.dumps(prompt)
    notes = [note["method"] for note in got["heard"]]
    assert {"notifications/tools/list_changed", "notifications/resources/updated"} <= set(notes)
    assert any(note["params"].get("data") == "cancelled" for note in got["heard"])


@pytest.mark.parametrize(
    ("server", "arguments", "expected"),
    [
        ("everything", ["--method", "tools/list"], '"echo"'),
        ("everything", ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=hi"], "Echo: hi"),
        ("everything", ["--method", "resources/list"], "uri"),
        ("everything", ["--method", "prompts/list"], "simple"),
        ("time", ["--method", "tools/call", "--tool-name", "get_current_time", "--tool-arg", "timezone=UTC"], "UTC"),
    ],
    ids=["list", "call", "resources", "prompts", "time"],
)
def test_the_inspector(npm: Callable[[str], Path], server: str, arguments: list[str], expected: str) -> None:
    modules = npm("inspector")
    line = ["node", str(modules / ".bin" / "mcp-inspector"), "--cli", *BULKHEAD, "run", server, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
