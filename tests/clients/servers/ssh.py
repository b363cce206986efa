"""An SSH server that runs what a client with its key asks for: no system's sshd, which would serve all its accounts."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncssh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.clients.box import Place

USER = "tester"


@dataclass(frozen=True)
class Shell:
    """key and known are texts for the clients; root is the folder in which commands run, and no prison."""

    place: Place
    key: str
    known: str
    root: Path
    alias = "shell"

    @property
    def settings(self) -> dict[str, str]:
        """The files of ~/.ssh with which the server is called alias."""
        lines = (f"Host {self.alias}", f"HostName {self.place.name}", f"Port {self.place.ports[0]}", f"User {USER}")
        config = "\n".join((*lines, "BatchMode yes", ""))
        return {"config": config, "known_hosts": self.known, "id_ed25519": self.key}


class _Server(asyncssh.SSHServer):
    def connection_requested(self, *_: object) -> bool:
        """Forwarding, from there to wherever this machine reaches."""
        return True


@asynccontextmanager
async def serving(place: Place, root: Path) -> AsyncIterator[Shell]:
    """Exec, scp, SFTP and forwarding."""
    client, host = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))

    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.exit(await _run(process, root))

    acceptor = await asyncssh.listen(
        place.address,
        place.ports[0],
        server_factory=_Server,
        server_host_keys=[host],
        authorized_client_keys=asyncssh.import_authorized_keys(client.export_public_key().decode()),
        process_factory=run,
        sftp_factory=True,
        allow_scp=True,
        encoding=None,
    )
    known = f"[{place.name}]:{place.ports[0]} {host.export_public_key().decode()}"
    try:
        yield Shell(place, client.export_private_key().decode(), known, root)
    finally:
        acceptor.close()
        await acceptor.wait_closed()


async def _run(process: asyncssh.SSHServerProcess[bytes], root: Path) -> int:
    """Runs a command in a shell, as sshd does."""
    pipe = subprocess.PIPE
    env = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    command = ("sh", "-c", process.command or "false")
    child = await asyncio.create_subprocess_exec(*command, cwd=root, env=env, stdin=pipe, stdout=pipe, stderr=pipe)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    feeding = asyncio.create_task(_carry(process.stdin, child.stdin))
    await asyncio.gather(_carry(child.stdout, process.stdout), _carry(child.stderr, process.stderr))
    feeding.cancel()
    return await child.wait()


async def _carry(source: Any, target: Any) -> None:
    """Until the source's end, which is passed on to a program."""
    with suppress(OSError, asyncssh.Error):
        while data := await source.read(2**16):
            target.write(data)
            await target.drain()
        if isinstance(target, asyncio.StreamWriter):
            target.close()
