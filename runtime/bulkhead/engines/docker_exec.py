"""Writes a secret into a running container: a shell of the sandbox's own user does it, and takes the value from a pipe.

Nothing else of Docker's reaches a tmpfs: its archive API writes below it, and refuses a read-only root.
"""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

from bulkhead.engines.hardening import SECRETS
from bulkhead.errors import EngineError

if TYPE_CHECKING:
    from bulkhead.engines.docker_client import Client

_WRITE = f'umask 377; cat >{SECRETS}/".$1" && mv -f {SECRETS}/".$1" {SECRETS}/"$1"'
_REMOVE = f'rm -f {SECRETS}/"$1"'


def write_secret(client: Client, container: str, name: str, value: bytes | None) -> None:
    """None removes it. Blocks. Raises EngineError."""
    body = {
        "AttachStdin": True,
        "AttachStderr": True,
        "Cmd": ["/bin/sh", "-c", _REMOVE if value is None else _WRITE, "sh", name],
    }
    begun = client.request("POST", f"/containers/{container}/exec", body)["Id"]
    with closing(client.raw(f"/exec/{begun}/start", body={"Detach": False, "Tty": False}, upgrade=True)) as stdio:
        stdio.sendall(value or b"")
        stdio.shutdown(socket.SHUT_WR)
        while stdio.recv(2**16):  # its stderr could repeat what it was given
            pass
    code = client.request("GET", f"/exec/{begun}/json")["ExitCode"]
    if code:
        raise EngineError(f"the secret {name} could not be written", why=f"the sandbox's shell ended with {code}")
