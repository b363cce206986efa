"""The ordered steps to a running sandbox: image -> seccomp -> owners of the mounts -> plan -> start.

What is slow or can be wrong is done once, in ready() or prepare(); start() only starts, so that a server which died is
back soon. A step that fails leaves nothing behind: the engine removes what it made of a container that did not start.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.engines import seccomp
from bulkhead.engines.hardening import plan_for
from bulkhead.supply.images import built_image, image_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bulkhead.engines.base import Engine, Sandbox
    from bulkhead.engines.hardening import Plan
    from bulkhead.spec import ServerSpec
    from bulkhead.supply.images import BuiltImage


@dataclass(frozen=True, slots=True)
class Launch:
    """A server that is ready to start, as often as it is needed."""

    spec: ServerSpec
    engine: Engine
    image: BuiltImage
    seccomp: str
    owners: Mapping[str, tuple[int, int]]

    def plan(self) -> Plan:
        """A fresh sandbox's. Raises UnenforceableError or ProfileError."""
        return plan_for(
            self.spec,
            sandbox_id=f"{self.spec.name}-{secrets.token_hex(4)}",
            image_digest=self.image.digest,
            image_command=self.image.command,
            seccomp=self.seccomp,
            owners=self.owners,
        )

    async def start(self) -> Sandbox:
        """A fresh sandbox. Raises EngineError, UnenforceableError or ProfileError."""
        return await self.engine.start(self.plan())


def ready(spec: ServerSpec, engine: Engine, *, seccomp_profile: Path, state: Path) -> Launch | None:
    """Everything before the start of a server whose image is there; None where it is not. Blocks for milliseconds.

    Raises ProfileError, StartError (reason ``build``) or EngineError.
    """
    image = built_image(spec.server, engine, state=state)
    return _launch(spec, engine, image, seccomp_profile) if image else None


async def prepare(
    spec: ServerSpec, engine: Engine, *, seccomp_profile: Path, state: Path, say: Callable[[str], None]
) -> Launch:
    """As ready(); an image that is not there is built or pulled."""
    image = await image_for(spec.server, engine, state=state, say=say)
    return _launch(spec, engine, image, seccomp_profile)


def _launch(spec: ServerSpec, engine: Engine, image: BuiltImage, seccomp_profile: Path) -> Launch:
    owners = {mount.source: _owner(mount.source) for mount in spec.mounts}
    return Launch(spec, engine, image, seccomp.load(seccomp_profile), owners)


def _owner(source: str) -> tuple[int, int]:
    stat = Path(source).stat()
    return stat.st_uid, stat.st_gid
