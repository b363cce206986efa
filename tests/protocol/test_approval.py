"""A call that needs a yes, from the official client in both eras: its person is shown the question, and decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.conftest import run_command
from tests.protocol.test_clients_python import Person, connected
from tests.servers.profiles import write_profile

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """asyncio, as everywhere here."""
    return "asyncio"


class Deciding(Person):
    """Says what it was told to say, to every question."""

    def __init__(self, action: Any, content: dict[str, Any] | None) -> None:
        super().__init__()
        self._answer = types.ElicitResult(action=action, content=content)

    async def elicit(self, context: Any, params: Any) -> types.ElicitResult:
        """See Person."""
        del context
        self.asked.append(params)
        return self._answer


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@pytest.mark.parametrize(
    ("action", "content", "runs"),
    [("accept", {"allow": True}, True), ("accept", {"allow": False}, False), ("decline", None, False)],
    ids=["yes", "no", "declined"],
)
async def test_the_clients_person_decides(
    tmp_path: Path, mode: str, action: str, content: dict[str, Any] | None, runs: bool
) -> None:
    profile = write_profile(tmp_path, "fixture")
    profile.write_text(profile.read_text() + '\n[tools]\napprove = ["test_simple_*"]\n', encoding="utf-8")
    person = Deciding(action, content)
    async with connected(run_command(profile), mode, person, tmp_path / "stderr") as client:
        if runs:
            assert not (await client.call_tool("test_simple_text")).is_error
        else:
            with pytest.raises(MCPError, match="was not allowed") as denied:
                await client.call_tool("test_simple_text")
            assert denied.value.error.data["reason"] == "approval"
    (question,) = person.asked
    assert "test_simple_text" in question.message
