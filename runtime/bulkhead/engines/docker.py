"""Sandboxes as containers of a Docker daemon.

docker_plan.py says what a container is, docker_sandbox.py leads it from start to removal, docker_stream.py carries its
stdio, docker_usage.py reads what it uses, docker_api.py calls the daemon. Containers are known by their labels: STATE
is the id of the state folder, RUNNER that of the process that started them. What has another STATE is never touched.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from bulkhead.engines.base import SandboxInfo, refuse_plan
from bulkhead.engines.docker_api import Api, remove_container
from bulkhead.engines.docker_images import DockerImages
from bulkhead.engines.docker_info import engine_info
from bulkhead.engines.docker_sandbox import DockerSandbox, start_container
from bulkhead.engines.runners import RUNNER, SANDBOX, SERVER, STATE, forget, hold, is_dead, known, note, state_id
from bulkhead.errors import ConflictError, GoneError

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.engines.base import EngineInfo, ImageStore, Sandbox
    from bulkhead.engines.hardening import Plan

Rows = list[dict[str, Any]]
Ids = list[str]  # within the class, list is a method


class DockerEngine:
    """The containers of one runner on one daemon.

    state is Bulkhead's state folder, runner the id of its lock; without one the engine holds a lock of its own.
    """

    def __init__(self, endpoint: str, *, state: Path, runner: str = "") -> None:
        self._api = Api(endpoint)
        self._state = state
        self._own_runner = None if runner else hold(state)
        self._runner = self._own_runner.id if self._own_runner else runner
        note(state, self._runner, endpoint)
        self._labels = {STATE: state_id(state), RUNNER: self._runner}
        self._info: EngineInfo | None = None
        self._open: set[DockerSandbox] = set()
        self.images: ImageStore = DockerImages(self._api, self._labels)

    async def probe(self) -> EngineInfo:
        self._info = await self._api.call(lambda client: engine_info(client.info(), self._api.endpoint))
        return self._info

    async def start(self, plan: Plan) -> Sandbox:
        refuse_plan(plan, self._info or await self.probe())
        labels = self._labels | {SERVER: plan.server, SANDBOX: plan.id}
        started = await self._api.call(partial(start_container, plan=plan, labels=labels))
        sandbox = DockerSandbox(self._api, plan, started)
        self._open = {other for other in self._open if not other.gone} | {sandbox}
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            await sandbox.stop(0)
            raise
        return sandbox

    async def list(self) -> list[SandboxInfo]:
        return [_sandbox_info(container) for container in await self._containers()]

    async def remove(self, sandbox_id: str) -> None:
        await self._remove(await self._containers(f"{SANDBOX}={sandbox_id}"))

    async def reap(self) -> Ids:
        containers = await self._containers()
        runners = {_label(container, RUNNER) for container in containers} | known(self._state)
        dead = {runner for runner in runners - {self._runner} if is_dead(self._state, runner)}
        left = [container for container in containers if _label(container, RUNNER) in dead]
        await self._remove(left)
        for runner in dead:
            forget(self._state, runner)
        return [_label(container, SANDBOX) for container in left]

    async def close(self) -> None:
        """Ends what this engine started and nobody stopped, and lets the daemon go."""
        with anyio.CancelScope(shield=True):
            for sandbox in self._open:
                if not sandbox.gone:
                    await sandbox.stop(0)
        self._api.close()
        if self._own_runner is not None:
            self._own_runner.release()
            self._own_runner = None

    async def _containers(self, *labels: str) -> Rows:
        filters = {"label": [f"{STATE}={self._labels[STATE]}", *labels]}
        return await self._api.call(lambda client: client.containers(all=True, filters=filters))

    async def _remove(self, containers: Rows) -> None:
        for container in containers:
            with suppress(GoneError, ConflictError):
                await self._api.call(partial(remove_container, container=container["Id"]))


def _label(container: dict[str, Any], name: str) -> str:
    return str(container["Labels"].get(name, ""))


def _sandbox_info(container: dict[str, Any]) -> SandboxInfo:
    return SandboxInfo(
        id=_label(container, SANDBOX),
        server=_label(container, SERVER),
        runner=_label(container, RUNNER),
        image=container["ImageID"],
        started=float(container["Created"]),
        running=container["State"] in ("running", "paused"),
    )
