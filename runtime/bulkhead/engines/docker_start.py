"""Starts a container, in any thread and before there is an event loop, while the runner imports the rest. Rules:

- attached, and waited for, before it is started: no byte and no exit can be missed.
- removed by us, not by AutoRemove: the cause of the end is read from the ended container.
- on any failure nothing is left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bulkhead.engines.docker_plan import container_config
from bulkhead.errors import UnenforceableError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from bulkhead.engines.docker_client import Client
    from bulkhead.engines.docker_pipes import Pipes
    from bulkhead.engines.hardening import Plan
    from bulkhead.engines.own_files import OwnFiles

REMOVED = {"force": True, "v": True}  # killed, if it runs, and nothing of it left, volumes included
_STDIO = dict.fromkeys(("stdin", "stdout", "stderr", "stream"), True)


class Started(NamedTuple):
    """A running container: its sandbox's id and its own, its init's pid as the daemon sees it, and two sockets and the
    pipes, which are ours to close.
    """

    sandbox: str
    id: str
    pid: int
    stdio: socket.socket
    ended: socket.socket
    pipes: Pipes | None


def start_container(client: Client, plan: Plan, labels: Mapping[str, str], files: OwnFiles) -> Started:
    """Blocks until plan's container runs. Raises UnenforceableError or EngineError, with nothing left but the files."""
    body = container_config(plan, labels, files.binds, piped=files.pipes is not None)
    created = client.request("POST", "/containers/create", body, name=f"bulkhead-{plan.id}")
    path = f"/containers/{created['Id']}"
    sockets: list[socket.socket] = []
    try:
        _refuse_warnings(created.get("Warnings") or ())
        sockets.append(client.raw(f"{path}/attach", upgrade=True, **_STDIO))
        # Becomes readable when the container ends: the daemon sends the answer's head at once, and the rest then.
        sockets.append(client.raw(f"{path}/wait", condition="next-exit"))
        client.request("POST", f"{path}/start")
        pid = client.request("GET", f"{path}/json")["State"]["Pid"]
    except BaseException:
        for sock in sockets:
            sock.close()
        client.request("DELETE", path, **REMOVED)
        raise
    return Started(plan.id, created["Id"], pid, sockets[0], sockets[1], files.pipes)


def discard(client: Client, started: Started) -> None:
    """Ends a container that nobody has taken."""
    started.stdio.close()
    started.ended.close()
    if started.pipes is not None:
        started.pipes.close()
    client.request("DELETE", f"/containers/{started.id}", **REMOVED)


def _refuse_warnings(warnings: Mapping[str, Any] | list[str] | tuple[()]) -> None:
    """Docker warns where it leaves out a limit that the kernel does not have, and goes on."""
    if warnings:
        raise UnenforceableError("the engine cannot enforce all of the sandbox", why="; ".join(warnings))
