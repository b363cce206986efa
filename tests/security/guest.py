"""A server in a real sandbox that does what a test asks: started by the steps of `bulkhead run`, from a profile."""

from __future__ import annotations

import inspect
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from bulkhead.engines.docker import DockerEngine
from bulkhead.launch import prepare
from bulkhead.resources import seccomp_profile
from bulkhead.spec import Server, ServerSpec
from tests.security import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker
    from anyio.from_thread import BlockingPortal

    from bulkhead.engines.base import Exit, Sandbox, Usage
    from bulkhead.engines.hardening import Plan

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 60.0
PYTHON = "bulkhead/python"


class Engine(DockerEngine):
    """plans: what was started, by its id."""

    def __init__(self, endpoint: str, *, state: Path) -> None:
        super().__init__(endpoint, state=state)
        self.plans: dict[str, Plan] = {}

    async def start(self, plan: Plan) -> Sandbox:
        self.plans[plan.id] = plan
        return await super().start(plan)


@dataclass
class Guest:
    """One running sandbox. container is what the engine tells about it, pids are those that the host sees."""

    portal: BlockingPortal
    sandbox: Sandbox
    plan: Plan
    container: dict[str, Any]
    _answers: BufferedByteReceiveStream = field(init=False)

    def __post_init__(self) -> None:
        self._answers = BufferedByteReceiveStream(self.sandbox.stdout)

    def ask(self, function: Callable[P, T], *arguments: P.args, **_: P.kwargs) -> T:
        """What a function of inside.py returns in the sandbox."""
        answer = self.answer(function, *arguments)
        assert "value" in answer, (function.__name__, arguments, answer)
        value: T = answer["value"]
        return value

    def refused(self, function: Callable[P, object], *arguments: P.args, **_: P.kwargs) -> str:
        """The errno with which the kernel refuses it."""
        answer = self.answer(function, *arguments)
        assert "errno" in answer, (function.__name__, arguments, answer)
        return str(answer["errno"])

    def tell(self, function: Callable[P, object], *arguments: P.args, **_: P.kwargs) -> None:
        """Asks for what has no end."""
        self.portal.call(self._send, function, arguments)

    def answer(self, function: Callable[..., object], *arguments: Any) -> dict[str, Any]:
        """The value or the errno."""
        answer: dict[str, Any] = self.portal.call(self._asked, function, arguments)
        return answer

    async def _send(self, function: Callable[..., object], arguments: Any) -> None:
        await self.sandbox.stdin.send(json.dumps([function.__name__, *arguments]).encode() + b"\n")

    async def _asked(self, function: Callable[..., object], arguments: Any) -> Any:
        with anyio.fail_after(PATIENCE):
            await self._send(function, arguments)
            return json.loads(await self._answers.receive_until(b"\n", 2**24))

    @property
    def init_pid(self) -> int:
        return int(self.container["State"]["Pid"])

    @property
    def pids(self) -> list[int]:
        """The init's, and the server's own."""
        with open(f"/proc/{self.init_pid}/task/{self.init_pid}/children", encoding="ascii") as file:  # noqa: PTH123
            return [self.init_pid, *map(int, file.read().split())]

    def usage(self) -> Usage:
        return self.portal.call(self.sandbox.usage)

    def ended(self) -> Exit:
        """How it ended, within the test's patience."""

        async def wait() -> Exit:
            with anyio.fail_after(PATIENCE):
                return await self.sandbox.wait()

        return self.portal.call(wait)

    def stop(self, limit: str = "") -> Exit:
        async def stop() -> Exit:
            await self.sandbox.stop(0, limit=limit)
            return await self.sandbox.wait()

        return self.portal.call(stop)


@dataclass(frozen=True)
class Inn:
    """Opens guests."""

    portal: BlockingPortal
    engine: Engine
    daemon: docker.DockerClient
    state: Path

    @contextmanager
    def guest(self, name: str = "security", **spec: Any) -> Iterator[Guest]:
        """A guest whose profile has these other values; it is gone afterwards."""
        server = Server(image=PYTHON, command=("python3", "-I", "-c", inspect.getsource(inside)))
        sandbox = self.portal.call(self._launched, ServerSpec(name=name, server=server, **spec))
        try:
            yield self.known(sandbox)
        finally:
            self.portal.call(sandbox.stop, 0)

    @contextmanager
    def guest_of(self, plan: Plan) -> Iterator[Guest]:
        """A guest of a plan, where no profile leads to it."""
        sandbox = self.portal.call(self.engine.start, plan)
        try:
            yield self.known(sandbox)
        finally:
            self.portal.call(sandbox.stop, 0)

    def known(self, sandbox: Sandbox) -> Guest:
        """The guest in a sandbox that runs."""
        container = self.daemon.containers.get(f"bulkhead-{sandbox.id}")
        guest = Guest(self.portal, sandbox, self.engine.plans[sandbox.id], container.attrs)
        assert guest.ask(inside.echo, "ready") == "ready"
        return guest

    async def _launched(self, spec: ServerSpec) -> Sandbox:
        profile = seccomp_profile(spec.sandbox.seccomp)
        launch = await prepare(spec, self.engine, seccomp_profile=profile, state=self.state, say=print)
        return await self.engine.start(launch.plan())
