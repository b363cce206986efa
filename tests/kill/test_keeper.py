"""keeper.py: a kill that comes while a sandbox starts ends that one too, and the next start is a new one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from bulkhead.errors import DeniedError
from bulkhead.keeper import Keeper
from bulkhead.serverlog import ServerLog
from bulkhead.wire.session import Session
from tests.unit.relay_session import Recorded, spec_of

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.engines.base import Sandbox
    from bulkhead.keeper import Status
    from bulkhead.pending import Pending


class Slow:
    """What comes up once it may."""

    def __init__(self) -> None:
        self.may, self.begun, self.stopped = anyio.Event(), anyio.Event(), False

    async def launch(self, *_: object) -> Sandbox:
        self.begun.set()
        await self.may.wait()
        return cast("Sandbox", SimpleNamespace(id="slow", containers=("c",), stop=self.stop))

    async def stop(self, grace: float) -> None:
        assert grace == 0
        self.stopped = True


def keeper_of(slow: Slow, folder: Path, statuses: list[Status]) -> Keeper:
    nobody: Any = None
    session: Session[Pending] = Session()
    log = ServerLog(folder / "test.log")
    of: dict[str, Any] = {"hear": nobody, "bury": nobody, "recorder": Recorded(folder), "log": log}
    keeper = Keeper(spec_of(), session, slow.launch, say=lambda _: None, publish=statuses.append, **of)
    keeper._tasks = nobody
    return keeper


def test_a_kill_during_a_start(tmp_path: Path) -> None:
    statuses: list[Status] = []
    error = DeniedError("test is killed", reason="killed")

    async def main() -> None:
        slow = Slow()
        keeper = keeper_of(slow, tmp_path, statuses)
        async with anyio.create_task_group() as tasks:

            async def start() -> None:
                with pytest.raises(DeniedError, match="test is killed"):
                    await keeper.revived(None)

            tasks.start_soon(start)
            await slow.begun.wait()
            await keeper.kill(error)
            slow.may.set()
        assert slow.stopped
        assert keeper.sandbox is None
        assert keeper.last_error is error

    anyio.run(main)
    assert [status.killed for status in statuses] == [True]
