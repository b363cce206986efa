"""What a sandbox has of this machine's files beside its mounts, where the daemon is on this machine.

Each sandbox has a folder in the state, named by its runner and its id, for as long as it runs.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from bulkhead.engines.docker_pipes import FOLDER, Pipes, make_pipes
from bulkhead.engines.hardening import HOME, TRUSTED, Bind
from bulkhead.errors import UnenforceableError

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.engines.hardening import Plan

_HOSTS = "127.0.0.1 localhost bulkhead\n::1 localhost ip6-localhost ip6-loopback\n"
# A uid without an account is one that OpenSSH, psql, whoami and Node's os.userInfo() refuse to run for.
_ACCOUNTS = "root:x:0:0:root:/root:/usr/sbin/nologin\nbulkhead:x:{uid}:{gid}::{home}:/bin/sh\n"
_ACCOUNTS += "nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"


class OwnFiles(NamedTuple):
    """What is to be mounted, and the pipes for a server's stdio, if it has some. Nothing where the daemon is not."""

    binds: tuple[Bind, ...] = ()
    pipes: Pipes | None = None


def make_own_files(state: Path, runner: str, plan: Plan, *, shell: bool) -> OwnFiles:
    """shell: plan's image has one. Builds and gates are root's, and have an image's accounts and Docker's stdio.

    Raises UnenforceableError for secrets that have no way into the sandbox.
    """
    hosts = Bind(_hosts(state), "/etc/hosts", write=False)
    if plan.uid == 0 or not plan.read_only:
        return OwnFiles((hosts,))
    folder = _folder(state) / f"{runner}.{plan.id}"
    folder.mkdir(parents=True, mode=0o700)
    account = _ACCOUNTS.format(uid=plan.uid, gid=plan.gid, home=HOME).encode()
    binds = [hosts, _written(folder / "passwd", account, "/etc/passwd")]
    if plan.trusted:
        binds.append(_written(folder / "trusted.pem", plan.trusted, TRUSTED))
    if not shell:
        refuse_secrets(plan, "its image was not made by bulkhead images build, and may have no shell")
        return OwnFiles(tuple(binds))
    binds.append(Bind(str(folder / "stdio"), FOLDER, write=False))
    return OwnFiles(tuple(binds), make_pipes(folder / "stdio", plan))


def refuse_secrets(plan: Plan, why: str) -> None:
    """Raises UnenforceableError if plan has secrets that would have to be in the container."""
    for name in (*plan.variables, *plan.files):
        raise UnenforceableError(
            f"the secret {name} cannot be handed to the sandbox unseen", why=why, hint='use = "inject" needs no way in'
        )


def remove_own_files(state: Path, runner: str, sandbox_id: str = "*") -> None:
    """Those of one sandbox, or of all that a runner had. Files that are gone are no error."""
    for folder in _folder(state).glob(f"{runner}.{sandbox_id}"):
        shutil.rmtree(folder, ignore_errors=True)


def _written(path: Path, content: bytes, target: str) -> Bind:
    path.write_bytes(content)
    return Bind(str(path), target, write=False)


def _folder(state: Path) -> Path:
    return state / "sandboxes"


def _hosts(state: Path) -> str:
    """One file for all sandboxes."""
    path = state / "hosts"
    if not path.exists():
        new = state / f"hosts.{os.getpid()}"
        new.write_text(_HOSTS)
        new.replace(path)
    return str(path)
