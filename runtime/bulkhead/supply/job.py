"""A build container and the folder of files that it sees at /mnt, read-only.

Built things leave the container in two ways: as the container's file system (keep), or as its stdout. So nothing of
the host is ever writable in it. A container that is left by a crash is removed by Engine.reap; a folder that is left
by one is removed by the next build.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import anyio

from bulkhead.engines import seccomp
from bulkhead.engines.hardening import HOME, PATH, Bind, Plan, Tmpfs, tmpfs_inodes
from bulkhead.errors import StartError
from bulkhead.resources import seccomp_profile
from bulkhead.supply.host import JOB, Passed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path

    from anyio.abc import ByteReceiveStream

    from bulkhead.engines.base import Engine, Sandbox
    from bulkhead.supply.recipes import Recipe

UID = 65532  # the user "bulkhead" of our images
# What dpkg needs to unpack as root: owners, modes, and folders that belong to another user.
ROOT = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
DEADLINE = 900.0  # seconds for one container
_MEMORY = 2 * 2**30
_TMP = 2**30
_TAIL = 4000
_OUTPUT = 512 * 2**20
_WRITABLE = ("/tmp", "/dev/shm")  # noqa: S108 - of the container


@contextmanager
def folder(state: Path, recipe: Recipe, passed: Passed, given: Mapping[str, bytes] | None = None) -> Iterator[Path]:
    """A new job's folder: the recipe's folders by name, and files. The container's user can read all of it."""
    home = state / "building" / secrets.token_hex(6)
    home.mkdir(parents=True)
    try:
        for path in recipe.folders:
            shutil.copytree(path, home / path.name)
        for name, content in {**passed.files, **(given or {})}.items():
            (home / name).write_bytes(content)
        for path in (home, *home.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield home
    finally:
        shutil.rmtree(home)


@asynccontextmanager
async def built(
    engine: Engine, image: str, command: Sequence[str], files: Path, passed: Passed, *, root: bool = False
) -> AsyncIterator[tuple[Sandbox, bytes]]:
    """A build container whose command has ended well, and its stdout. It is removed afterwards.

    Raises StartError (reason "build") with the end of its stderr when the command fails, and EngineError.
    """
    sandbox = await engine.start(_plan(image, command, files, passed, root=root))
    try:
        yield sandbox, await _finished(sandbox, command)
    finally:
        with anyio.CancelScope(shield=True):
            await sandbox.stop(0)


async def _finished(sandbox: Sandbox, command: Sequence[str]) -> bytes:
    output, errors = bytearray(), bytearray()
    with anyio.move_on_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, sandbox.stdout, output, _OUTPUT)
            tasks.start_soon(_read_tail, sandbox.stderr, errors)
        ended = await sandbox.wait()
        if (ended.cause, ended.code) == ("exited", 0):
            return bytes(output)
        why = errors.decode(errors="replace").strip() or str(ended)
        raise StartError(f"the build step {command[1]} failed: {ended}", why=why, reason="build")
    raise StartError(f"the build step {command[1]} took over {DEADLINE:.0f} s", reason="build")


async def _read(stream: ByteReceiveStream, into: bytearray, limit: int) -> None:
    async for chunk in stream:
        if len(into) + len(chunk) > limit:
            raise StartError(f"a build printed over {limit} bytes", reason="build")
        into += chunk


async def _read_tail(stream: ByteReceiveStream, into: bytearray) -> None:
    async for chunk in stream:
        into += chunk
        del into[:-_TAIL]


def _plan(image: str, command: Sequence[str], files: Path, passed: Passed, *, root: bool) -> Plan:
    name = f"build-{secrets.token_hex(6)}"
    home = "/root" if root else HOME
    return Plan(
        id=name,
        server="build",
        image=image,
        command=tuple(command),
        env={"PATH": f"{PATH}:/usr/sbin:/sbin", "HOME": home, "LC_ALL": "C.UTF-8", **passed.env},
        working_dir="/",
        uid=0 if root else UID,
        gid=0 if root else UID,
        seccomp=seccomp.load(seccomp_profile("default")),
        cpus=float(os.cpu_count() or 1),
        memory=_MEMORY,
        pids=512,
        open_files=4096,
        tmpfs=tuple(Tmpfs(target, _TMP, tmpfs_inodes(_TMP), exec=True) for target in (*_WRITABLE, home)),
        binds=(Bind(str(files), JOB, write=False),),
        network="build",
        capabilities=ROOT if root else (),
        read_only=False,
    )
