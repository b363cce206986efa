"""The files of /etc that a sandbox has in the place of its image's, where the daemon sees this machine's files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bulkhead.engines.hardening import HOME, Bind

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.engines.hardening import Plan

_HOSTS = "127.0.0.1 localhost bulkhead\n::1 localhost ip6-localhost ip6-loopback\n"
# A uid without an account is one that OpenSSH, psql, whoami and Node's os.userInfo() refuse to run for.
_ACCOUNTS = "root:x:0:0:root:/root:/usr/sbin/nologin\nbulkhead:x:{uid}:{gid}::{home}:/bin/sh\n"
_ACCOUNTS += "nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"


def write_own_files(state: Path, runner: str, plan: Plan) -> tuple[Bind, ...]:
    """What is to be mounted over plan's image: its hosts and, where it runs as a user of its own, the accounts."""
    hosts = Bind(_hosts(state), "/etc/hosts", write=False)
    if plan.uid == 0 or not plan.read_only:
        return (hosts,)
    path = _accounts(state) / f"{runner}.{plan.id}"
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.write_text(_ACCOUNTS.format(uid=plan.uid, gid=plan.gid, home=HOME))
    return hosts, Bind(str(path), "/etc/passwd", write=False)


def remove_own_files(state: Path, runner: str, sandbox_id: str = "*") -> None:
    """Those of one sandbox, or of all that a runner had. Files that are gone are no error."""
    for path in _accounts(state).glob(f"{runner}.{sandbox_id}"):
        path.unlink(missing_ok=True)


def _accounts(state: Path) -> Path:
    return state / "accounts"


def _hosts(state: Path) -> str:
    """One file for all sandboxes."""
    path = state / "hosts"
    if not path.exists():
        new = state / f"hosts.{os.getpid()}"
        new.write_text(_HOSTS)
        new.replace(path)
    return str(path)
