"""One step of a build: a container, and the folder of files that it sees at /mnt, read-only.

A step has no network, or that of a gate, where it reaches registries alone: scripts of strangers run in some. What is
built leaves the container in two ways, as the container's file system or as its stdout, so nothing of the host is ever
writable in it. A container that is left by a crash is removed by Engine.reap; a folder that is left by one, by the next
build.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio

from bulkhead import telemetry
from bulkhead.egress.connection import REASONS
from bulkhead.egress.network import open_network
from bulkhead.engines import seccomp
from bulkhead.engines.hardening import HOME, PATH, Bind, Plan, Tmpfs, tmpfs_inodes
from bulkhead.errors import StartError
from bulkhead.resources import seccomp_profile
from bulkhead.supply.host import JOB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from anyio.abc import ByteReceiveStream

    from bulkhead.egress.connection import Connection
    from bulkhead.egress.network import Network
    from bulkhead.engines.base import Engine, Exit, Sandbox
    from bulkhead.spec import EgressRule
    from bulkhead.supply.host import Passed
    from bulkhead.supply.recipes import Recipe

UID = 65532  # the user "bulkhead" of our images
# What dpkg needs to unpack as root: owners, modes, and folders that belong to another user.
ROOT = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
DEADLINE = 900.0  # seconds for one step
_MEMORY = 2 * 2**30
_TMP = 2**30
_TEMPORARY = ("/tmp", "/dev/shm")  # noqa: S108 - of the container
_OUTPUT = 512 * 2**20
_TAIL = 4000
_MAX_TOLD = 16


@dataclass(frozen=True, slots=True)
class Outside:
    """What a step may reach, and the digest of the gate's image."""

    gate: str
    rules: tuple[EgressRule, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One step. what says it to the user; script is a file of the recipe's folders, such as "node/lock.sh".

    passed is its environment, and files beside the recipe's folders. outside None: no network. root is for what unpacks
    Debian packages.
    """

    what: str
    image: str
    recipe: Recipe
    script: str
    arguments: tuple[str, ...]
    passed: Passed
    outside: Outside | None = None
    root: bool = False


@asynccontextmanager
async def done(
    job: Job, engine: Engine, *, state: Path, say: Callable[[str], None]
) -> AsyncIterator[tuple[Sandbox, bytes]]:
    """The build container after its script has ended well, and the script's stdout. It is removed afterwards.

    say() is told what it might not reach. Raises StartError (reason "build") with the end of its stderr when the script
    fails, and EngineError.
    """
    async with AsyncExitStack() as closing:
        files = closing.enter_context(folder(state))
        _fill(files, job)
        plan = _plan(job, files)
        network = await _network(job, plan, engine, state=state, say=say)
        if network:
            closing.push_async_callback(network.close)
            plan = replace(plan, joins=network.id)
        sandbox = await engine.start(plan)
        closing.push_async_callback(sandbox.stop, 0)
        yield sandbox, await _finished(job, sandbox, network)


async def output_of(job: Job, engine: Engine, *, state: Path, say: Callable[[str], None]) -> bytes:
    """What the script printed. Raises as done() does."""
    async with done(job, engine, state=state, say=say) as (_, output):
        return output


class Refusals:
    """The Journal of one step (see egress.network): each target that was refused is told once."""

    def __init__(self, what: str, say: Callable[[str], None]) -> None:
        self._what = what
        self._say = say
        self._told: set[str] = set()

    def begun(self) -> Callable[[Connection], None]:
        return self.report

    def report(self, connection: Connection) -> None:
        target = connection.name or connection.address
        target = f"{target}:{connection.port}" if connection.port else target
        if connection.decision == "deny" and target not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(target)
            why = f"{REASONS[connection.reason]} ({connection.reason})"
            self._say(f"{self._what}: refused to reach {telemetry.clean(target)}: {why}")


@contextmanager
def folder(state: Path) -> Iterator[Path]:
    """A new folder for one step."""
    home = state / "building" / secrets.token_hex(6)
    home.mkdir(parents=True)
    try:
        yield home
    finally:
        shutil.rmtree(home)


def clear(state: Path) -> None:
    """Removes the folders that crashes have left. Nobody else may be building."""
    shutil.rmtree(state / "building", ignore_errors=True)


def _fill(files: Path, job: Job) -> None:
    """The container's user can read all of it, whatever the modes of a checkout are."""
    for path in job.recipe.folders:
        shutil.copytree(path, files / path.name)
    for name, content in job.passed.files.items():
        (files / name).write_bytes(content)
    for path in (files, *files.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


async def _network(job: Job, plan: Plan, engine: Engine, *, state: Path, say: Callable[[str], None]) -> Network | None:
    if job.outside is None:
        return None
    return await open_network(
        job.outside.rules,
        engine,
        sandbox_id=plan.id,
        server=plan.server,
        image=job.outside.gate,
        seccomp=plan.seccomp,
        state=state,
        journal=Refusals(job.what, say),
    )


async def _finished(job: Job, sandbox: Sandbox, network: Network | None) -> bytes:
    output, errors = bytearray(), bytearray()
    with anyio.move_on_after(DEADLINE):
        ended = await _ended(sandbox, network, output, errors)
        if (ended.cause, ended.code) == ("exited", 0) and len(output) <= _OUTPUT:
            return bytes(output)
        raise StartError(f"{job.what} failed", why=_last_lines(errors) or str(ended), reason="build")
    raise StartError(f"{job.what} was stopped", why=f"it took over {DEADLINE:.0f} s", reason="build")


async def _ended(sandbox: Sandbox, network: Network | None, output: bytearray, errors: bytearray) -> Exit:
    async with anyio.create_task_group() as serving:
        if network:
            serving.start_soon(_serve, network, sandbox)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, sandbox.stdout, output)
            tasks.start_soon(_read_tail, sandbox.stderr, errors)
        serving.cancel_scope.cancel()
    return await sandbox.wait()


async def _serve(network: Network, sandbox: Sandbox) -> None:
    """A step whose gate is gone is stopped, for it would wait for ever."""
    await network.serve()
    await sandbox.stop(0, limit="gate")


async def _read(stream: ByteReceiveStream, into: bytearray) -> None:
    async for chunk in stream:
        if len(into) <= _OUTPUT:
            into += chunk


async def _read_tail(stream: ByteReceiveStream, into: bytearray) -> None:
    async for chunk in stream:
        into += chunk
        del into[:-_TAIL]


def _last_lines(errors: bytearray) -> str:
    """The end of what a client said; what a terminal could take for an order is left out."""
    lines = errors.decode(errors="replace").splitlines()
    return "\n".join("".join(char for char in line if char.isprintable()) for line in lines).strip()


def _plan(job: Job, files: Path) -> Plan:
    # A home in memory would lie over one of the image's, which the steps of root set up and clean.
    home, writable = (_TEMPORARY[0], _TEMPORARY) if job.root else (HOME, (*_TEMPORARY, HOME))
    return Plan(
        id=f"build-{secrets.token_hex(6)}",
        server="build",
        image=job.image,
        command=("sh", f"{JOB}/{job.script}", *job.arguments),
        env={"PATH": f"{PATH}:/usr/sbin:/sbin", "HOME": home, "LC_ALL": "C.UTF-8", **job.passed.env},
        working_dir="/",
        uid=0 if job.root else UID,
        gid=0 if job.root else UID,
        seccomp=seccomp.load(seccomp_profile("default")),
        cpus=float(os.cpu_count() or 1),
        memory=_MEMORY,
        pids=512,
        open_files=4096,
        tmpfs=tuple(Tmpfs(target, _TMP, tmpfs_inodes(_TMP), exec=True) for target in writable),
        binds=(Bind(str(files), JOB, write=False),),
        capabilities=ROOT if job.root else (),
        read_only=False,
    )
