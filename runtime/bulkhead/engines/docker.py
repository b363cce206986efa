"""Sandboxes as containers of a Docker daemon.

docker_plan.py says what a container is, docker_start.py starts it, docker_sandbox.py leads it to its removal,
docker_stream.py carries its stdio, docker_usage.py reads what it uses, docker_client.py calls the daemon. Containers
are known by their labels: STATE is the id of the state folder, RUNNER that of the process that started them. What has
another STATE is never touched. Nothing that needs an event loop is imported before there is one: see begin().
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bulkhead.engines.base import SandboxInfo, refuse_plan
from bulkhead.engines.docker_api import Api
from bulkhead.engines.docker_client import Client
from bulkhead.engines.docker_images import DockerImages
from bulkhead.engines.docker_info import engine_info
from bulkhead.engines.docker_plan import refuse_image
from bulkhead.engines.docker_start import REMOVED, discard, start_container
from bulkhead.engines.own_files import OwnFiles, make_own_files, refuse_secrets, remove_own_files
from bulkhead.engines.runners import GATE, RUNNER, SANDBOX, SERVER, STATE, forget, hold, is_dead, known, note, state_id
from bulkhead.errors import ConflictError, GoneError, UnenforceableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkhead.engines.base import EngineInfo, ImageStore, Sandbox
    from bulkhead.engines.docker_sandbox import DockerSandbox
    from bulkhead.engines.docker_start import Started
    from bulkhead.engines.hardening import Plan

# The label of images that come of a recipe of ours, all of which have a shell.
RECIPE = "bulkhead.recipe"

T = TypeVar("T")
Rows = list[dict[str, Any]]
Ids = list[str]  # within the class, list is a method


class DockerEngine:
    """The containers of one runner on one daemon.

    state is Bulkhead's state folder, runner the id of its lock; without one the engine holds a lock of its own.
    """

    def __init__(self, endpoint: str, *, state: Path, runner: str = "") -> None:
        self._client = Client(endpoint)
        self._api = Api(self._client)
        self._state = state
        self._own_runner = None if runner else hold(state)
        self._runner = self._own_runner.id if self._own_runner else runner
        note(state, self._runner, endpoint)
        self._labels = {STATE: state_id(state), RUNNER: self._runner}
        self._info: EngineInfo | None = None
        self._open: set[DockerSandbox] = set()
        self.images: ImageStore = DockerImages(self._client, self._api, self._labels)

    async def probe(self) -> EngineInfo:
        return await self._thread(self.info)

    def info(self) -> EngineInfo:
        if self._info is None:
            told = self._client.request("GET", "/info")
            self._info = engine_info(told, self._client.endpoint, os.uname().release)
        return self._info

    async def start(self, plan: Plan) -> Sandbox:
        from anyio.lowlevel import checkpoint_if_cancelled  # noqa: PLC0415 - see the module's rule

        sandbox = self.adopt(plan, await self._thread(self.begin, plan))
        try:
            await checkpoint_if_cancelled()
        except BaseException:
            await sandbox.stop(0)
            raise
        return sandbox

    def begin(self, plan: Plan) -> Started:
        info = self.info()
        refuse_plan(plan, info)
        image = self._client.request("GET", f"/images/{plan.image}/json").get("Config") or {}
        refuse_image(plan, image)
        shell = RECIPE in (image.get("Labels") or {})
        own = {SERVER: plan.server, SANDBOX: plan.id} | ({GATE: "yes"} if plan.network == "gate" else {})
        files = OwnFiles()
        try:
            files = self._files(plan, remote=info.remote, shell=shell)
            return start_container(self._client, plan, self._labels | own, files)
        except BaseException:
            if files.pipes is not None:
                files.pipes.close()
            self._forget(plan.id)
            raise

    def adopt(self, plan: Plan, begun: Started) -> Sandbox:
        from bulkhead.engines.docker_sandbox import DockerSandbox  # noqa: PLC0415 - see the module's rule

        sandbox = DockerSandbox(self._client, plan, begun, removed=partial(self._forget, plan.id))
        self._open = {other for other in self._open if not other.gone} | {sandbox}
        return sandbox

    def discard(self, begun: Started) -> None:
        discard(self._client, begun)
        self._forget(begun.sandbox)

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
            remove_own_files(self._state, runner)
            forget(self._state, runner)
        return [_label(container, SANDBOX) for container in left]

    async def close(self) -> None:
        """Ends what this engine started and nobody stopped, and lets the daemon go."""
        from anyio import CancelScope  # noqa: PLC0415 - see the module's rule

        with CancelScope(shield=True):
            for sandbox in self._open:
                if not sandbox.gone:
                    await sandbox.stop(0)
        self._api.close()
        if self._own_runner is not None:
            self._own_runner.release()
            self._own_runner = None

    def _files(self, plan: Plan, *, remote: bool, shell: bool) -> OwnFiles:
        if not remote:
            return make_own_files(self._state, self._runner, plan, shell=shell)
        refuse_secrets(plan, "the container engine is on another machine")
        if plan.trusted:
            raise UnenforceableError(
                "certificates cannot be put into the sandbox", why="the container engine is on another machine"
            )
        return OwnFiles()

    def _forget(self, sandbox_id: str) -> None:
        remove_own_files(self._state, self._runner, sandbox_id)

    async def _containers(self, *labels: str) -> Rows:
        filters = {"label": [f"{STATE}={self._labels[STATE]}", *labels]}
        rows: Rows = await self._client.call("GET", "/containers/json", all=True, filters=filters)
        return rows

    async def _remove(self, containers: Rows) -> None:
        for container in containers:
            with suppress(GoneError, ConflictError):
                await self._client.call("DELETE", f"/containers/{container['Id']}", **REMOVED)

    async def _thread(self, function: Callable[..., T], *args: Any) -> T:
        """To its end, even if the caller is cancelled meanwhile."""
        from anyio import to_thread  # noqa: PLC0415 - see the module's rule

        return await to_thread.run_sync(function, *args)


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
        gate=bool(_label(container, GATE)),
    )
