"""The part of opening a gate that blocks: in any thread, and before there is an event loop. opening.py does the rest.

A session with a network waits for two containers one after the other; so the first is started while the runner imports.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.egress import gate
from bulkhead.egress.allowlist import Allowlist
from bulkhead.engines.hardening import GATE_SOCKET, gate_plan, own_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bulkhead.engines.base import Engine
    from bulkhead.engines.hardening import Plan
    from bulkhead.spec import EgressRule

MOST = 256  # connections at once: what the gate's memory is enough for when it has to carry them itself
_GATE = "gate-"


@dataclass(frozen=True, slots=True)
class BegunGate:
    """A gate's container that runs. started is for Engine.adopt(); listener takes its sockets, None for mux alone."""

    plan: Plan
    started: Any
    listener: socket.socket | None
    ports: tuple[int, ...]
    connections: int
    closing: ExitStack

    @property
    def sandbox_id(self) -> str:
        """That of begin_for()."""
        return self.plan.id.removeprefix(_GATE)

    def discard(self, engine: Engine) -> None:
        """Ends one that nobody has opened."""
        self.closing.close()
        engine.discard(self.started)


def begin_for(
    rules: tuple[EgressRule, ...],
    engine: Engine,
    *,
    sandbox_id: str,
    server: str,
    image: str,
    seccomp: str,
    state: Path,
) -> BegunGate:
    """begin_gate() for the sandbox that will be sandbox_id, with what its rules need."""
    return begin_gate(
        engine,
        gate_id=f"{_GATE}{sandbox_id}",
        server=server,
        image_digest=image,
        seccomp=seccomp,
        ports=Allowlist(rules).ports,
        connections=MOST,  # more than the proxy takes at once: it refuses what is too much, and tells so
        state=state,
    )


def begin_gate(
    engine: Engine,
    *,
    gate_id: str,
    server: str,
    image_digest: str,
    seccomp: str,
    ports: Sequence[int],
    connections: int,
    state: Path,
    share: bool = True,
) -> BegunGate:
    """A gate for a server whose Plan joins gate_id. share False: never over a Unix socket, for the daemon is elsewhere.

    Raises ValueError for ports and connections that no gate can have, and EngineError, with nothing left.
    """
    uid, _ = own_user(gate_id)
    with ExitStack() as closing:
        listener, path = None, ""
        if share and sys.platform == "linux" and not engine.info().remote:
            listener, path = closing.enter_context(listening(state))
        plan = gate_plan(
            gate_id=gate_id,
            server=server,
            image_digest=image_digest,
            seccomp=seccomp,
            command=command(uid, ports, connections, shared=bool(path)),
            socket=path,
        )
        return BegunGate(plan, engine.begin(plan), listener, tuple(ports), connections, closing.pop_all())


def command(uid: int, ports: Sequence[int], connections: int, *, shared: bool) -> tuple[str, ...]:
    """What the gate's container runs: this very version of gate.py, so both sides always speak the same frames."""
    if gate.DNS in ports:
        raise ValueError(f"port {gate.DNS} is the gate's own: it answers DNS there")
    if not 0 < connections <= MOST:
        raise ValueError(f"{connections} connections at once are more than the gate's memory is enough for")
    source = Path(gate.__file__).read_text(encoding="utf-8")
    arguments = (uid, connections, GATE_SOCKET if shared else "", *sorted(ports))
    return ("python3", "-I", "-S", "-c", source, *map(str, arguments))


@contextmanager
def listening(state: Path) -> Iterator[tuple[socket.socket, str]]:
    """A Unix socket for one gate, and its path; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="gate-", dir=state))
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(f"/proc/self/fd/{handle}/socket")  # a path of its own may be longer than the 107 bytes there are
        (folder / "socket").chmod(0o666)  # the gate has another uid; who may get here is the folder's to say
        listener.setblocking(False)
        listener.listen(1)
        yield listener, str(folder / "socket")
    finally:
        listener.close()
        os.close(handle)
        shutil.rmtree(folder)
