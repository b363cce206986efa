"""The ordered steps to a running sandbox: images -> seccomp -> mounts' owners -> secrets -> gate -> plan -> start.

What is slow or can be wrong is done once, in ready() or prepare(); start() only starts, so that a server which died is
back soon. A step that fails leaves nothing behind: the engine removes what it made of a container that did not start.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bulkhead.engines import seccomp
from bulkhead.engines.hardening import plan_for
from bulkhead.spec import Server
from bulkhead.supply.images import built_image, former_image, image_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anyio.abc import TaskGroup

    from bulkhead.credentials.leases import Handed, Leases
    from bulkhead.egress.authority import Authority
    from bulkhead.egress.beginning import BegunGate
    from bulkhead.egress.network import Journal
    from bulkhead.engines.base import Engine, Sandbox
    from bulkhead.engines.hardening import Plan
    from bulkhead.spec import ServerSpec
    from bulkhead.supply.images import BuiltImage

    Begun: TypeAlias = "BegunServer | BegunNetwork"

GATE = "bulkhead/gate"


@dataclass(frozen=True, slots=True)
class BegunServer:
    """A server's container that runs; started is for Engine.adopt()."""

    plan: Plan
    started: Any


@dataclass(frozen=True, slots=True)
class BegunNetwork:
    """A gate that runs, and what the server gets of its secrets once it joins it."""

    gate: BegunGate
    handed: Handed | None
    authority: Authority | None


@dataclass(frozen=True, slots=True)
class Launch:
    """A server that is ready to start, as often as it is needed."""

    spec: ServerSpec
    engine: Engine
    image: BuiltImage
    seccomp: str
    owners: Mapping[str, tuple[int, int]]
    gate: BuiltImage | None
    leases: Leases | None
    state: Path

    def plan(
        self, sandbox_id: str = "", gate: str = "", handed: Handed | None = None, authority: Authority | None = None
    ) -> Plan:
        """A fresh sandbox's. Raises UnenforceableError or ProfileError."""
        return plan_for(
            self.spec,
            sandbox_id=sandbox_id or _new_id(self.spec),
            image_digest=self.image.digest,
            image_command=self.image.command,
            seccomp=self.seccomp,
            owners=self.owners,
            gate=gate,
            handed=handed,
            trusted=_trusted(authority) if authority is not None else b"",
        )

    def begin(self) -> Begun:
        """The first part of start(), which blocks: in any thread, and before there is an event loop.

        The server's own container, or its gate's, where it has one. To be given to start(), or to discard().
        """
        handed = self.leases.hand() if self.leases is not None else None
        if self.gate is None:
            plan = self.plan(handed=handed)
            return BegunServer(plan, self.engine.begin(plan))
        from bulkhead.egress.beginning import begin_for  # noqa: PLC0415 - most servers have no network

        authority = self._authority()
        gate = begin_for(
            self.spec.egress,
            self.engine,
            sandbox_id=_new_id(self.spec),
            server=self.spec.name,
            image=self.gate.digest,
            seccomp=self.seccomp,
            state=self.state,
        )
        return BegunNetwork(gate, handed, authority)

    async def start(self, tasks: TaskGroup, journal: Journal, begun: Begun | None = None) -> Sandbox:
        """A fresh sandbox; tasks carry its network, if it has one, and journal is told of its connections.

        Raises EngineError, StartError, UnenforceableError or ProfileError.
        """
        if self.gate is None and self.leases is None and begun is None:
            return await self.engine.start(self.plan())
        from anyio import to_thread  # noqa: PLC0415 - a runner imports this before there is an event loop

        if begun is None:
            begun = await to_thread.run_sync(self.begin)
        if isinstance(begun, BegunServer):
            return self.engine.adopt(begun.plan, begun.started)
        return await self._join(begun, tasks, journal)

    def discard(self, begun: Begun) -> None:
        """Ends what begin() started, and start() was not given. Blocks."""
        if isinstance(begun, BegunServer):
            self.engine.discard(begun.started)
        else:
            begun.gate.discard(self.engine)

    async def _join(self, begun: BegunNetwork, tasks: TaskGroup, journal: Journal) -> Sandbox:
        from bulkhead.egress.network import Gated, finish_network  # noqa: PLC0415 - most servers have no network

        network = await finish_network(
            self.spec.egress,
            self.engine,
            begun.gate,
            journal,
            injectables=self.leases.injectables if self.leases is not None else (),
            authority=begun.authority,
        )
        try:
            plan = self.plan(begun.gate.sandbox_id, network.id, begun.handed, begun.authority)
            sandbox = Gated(await self.engine.start(plan), network)
        except BaseException:
            await network.close()
            raise
        tasks.start_soon(sandbox.carry)
        return sandbox

    def _authority(self) -> Authority | None:
        """Where secrets are injected: who vouches for their hosts, to this sandbox."""
        injectables = self.leases.injectables if self.leases is not None else ()
        if not injectables:
            return None
        from bulkhead.egress.authority import Authority  # noqa: PLC0415 - most servers have no secret

        return Authority(sorted({host for injectable in injectables for host in injectable.hosts}))


def ready(spec: ServerSpec, engine: Engine, *, seccomp_profile: Path, state: Path, image: str = "") -> Launch | None:
    """Everything before the start of a server whose images are there; None where not. Blocks for milliseconds.

    image: the digest of a former one that is to run in the place of the server's. Raises ProfileError, StartError
    (reason ``build``), IntegrityError (reason ``pin``) or EngineError.
    """
    images = [built_image(server, engine, state=state) for server in _needed(spec)]
    found = [image for image in images if image is not None]
    if len(found) < len(images):
        return None
    return _launch(spec, engine, _with(image, found, spec, engine), seccomp_profile, state)


async def prepare(
    spec: ServerSpec,
    engine: Engine,
    *,
    seccomp_profile: Path,
    state: Path,
    say: Callable[[str], None],
    image: str = "",
) -> Launch:
    """As ready(); an image that is not there is built or pulled."""
    images = [await image_for(server, engine, state=state, say=say) for server in _needed(spec)]
    return _launch(spec, engine, _with(image, images, spec, engine), seccomp_profile, state)


def _needed(spec: ServerSpec) -> list[Server]:
    """What has to have an image: the server, and the gate of one that has a network."""
    return [spec.server, Server(image=GATE)] if spec.egress else [spec.server]


def _with(former: str, images: Sequence[BuiltImage], spec: ServerSpec, engine: Engine) -> Sequence[BuiltImage]:
    return [former_image(spec.server, engine, former), *images[1:]] if former else images


def _launch(
    spec: ServerSpec, engine: Engine, images: Sequence[BuiltImage], seccomp_profile: Path, state: Path
) -> Launch:
    owners = {mount.source: _owner(mount.source) for mount in spec.mounts}
    image, gate = images[0], images[1] if len(images) > 1 else None
    leases = _leases(spec) if spec.secrets else None
    return Launch(spec, engine, image, seccomp.load(seccomp_profile), owners, gate, leases, state)


def _leases(spec: ServerSpec) -> Leases:
    from bulkhead.credentials.leases import Leases  # noqa: PLC0415 - most servers have no secret

    return Leases(spec.secrets)


def _trusted(authority: Authority) -> bytes:
    """What the host trusts, and the authority."""
    from bulkhead.supply.host import ca_bundle  # noqa: PLC0415 - most servers have no secret

    bundle = ca_bundle()
    return (bundle.read_bytes() if bundle is not None else b"") + authority.pem


def _new_id(spec: ServerSpec) -> str:
    return f"{spec.name}-{secrets.token_hex(4)}"


def _owner(source: str) -> tuple[int, int]:
    stat = Path(source).stat()
    return stat.st_uid, stat.st_gid
