"""Makes the image of a server: of a package, of a registry's image, or of a recipe. One build at a time.

A second builder waits for the first, and then finds its image. An image gets its name when it is complete, so one
that was interrupted is never found.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import anyio
import anyio.to_thread

from bulkhead.errors import IntegrityError, StartError
from bulkhead.supply import host, job, locks, registries
from bulkhead.supply.bases import base, gate
from bulkhead.supply.images import (
    BASE,
    COMMAND,
    LOCK,
    PACKAGE,
    RECIPE,
    SOURCE,
    copy_name,
    find,
    find_package,
    remember_built,
    sha256,
)
from bulkhead.supply.names import Package, image_name, lock_path, parse
from bulkhead.supply.recipes import recipe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bulkhead.engines.base import Engine, ImageInfo
    from bulkhead.spec import Server

_CLIENTS = {"npm": host.npm, "pypi": host.pip}
_LOCKS = {"npm": locks.npm_lock, "pypi": locks.pypi_lock}
_POLL = 0.2  # seconds between two looks at another's lock


async def build(server: Server, engine: Engine, *, state: Path, say: Callable[[str], None]) -> ImageInfo:
    """The image of a server, made if nobody else made it meanwhile. Raises as image_for does."""
    async with alone(state, say):
        if found := find(server, engine, state=state):
            return found
        if server.package:
            made = await _package(parse(server.package), engine, state=state, say=say)
        elif "@sha256:" in server.image:
            made = await _copy(server.image, engine, say=say)
        else:
            made = await base(engine, server.image, state=state, say=say)
        remember_built(state, made.digest)
        return made


async def newest(registry: str, name: str, engine: Engine, *, state: Path, say: Callable[[str], None]) -> str:
    """The newest version of a package of "npm" or "pypi". Raises StartError (reason "build") and EngineError."""
    package = Package(registry, name, "")
    async with alone(state, say):
        image = await base(engine, package.recipe, state=state, say=say)
        say(f"{registry}:{name}: looking for the newest version")
        steps = await _steps(package, image, engine, state=state, say=say)
        step = steps(f"looking for {registry}:{name}", "newest", name)
        output = await job.output_of(step, engine, state=state, say=say)
    return parse(f"{registry}:{name}@{output.decode(errors='replace').strip()}").version


async def _package(package: Package, engine: Engine, *, state: Path, say: Callable[[str], None]) -> ImageInfo:
    image = await base(engine, package.recipe, state=state, say=say)
    steps = await _steps(package, image, engine, state=state, say=say)
    lock = await _lock(package, steps, engine, state=state, say=say)
    if found := find_package(engine, package, lock):
        return found
    say(f"building {package}: installing")
    step = steps(f"installing {package}", "install", package.name, lock=lock)
    try:
        async with job.done(step, engine, state=state, say=say) as (sandbox, output):
            say(f"building {package}: saving")
            name, labels = image_name(package, step.recipe.digest, lock), _labels(package, image, lock)
            command = {COMMAND: json.dumps(locks.command_of(package, output))}
            return await engine.images.commit(sandbox, name, labels | command)
    except StartError as error:
        if not locks.is_mismatch(error.why):
            raise
        what, hint = f"{package}: a file is not the one that was locked", f"the lock is {lock_path(state, package)}"
        raise IntegrityError(what, why=error.why, hint=hint, reason="lock") from error


def _labels(package: Package, image: ImageInfo, lock: str) -> dict[str, str]:
    return {RECIPE: image.labels[RECIPE], BASE: image.digest, PACKAGE: str(package), LOCK: sha256(lock)}


async def _lock(package: Package, steps: Steps, engine: Engine, *, state: Path, say: Callable[[str], None]) -> str:
    """The recorded lock; else a new one, which is recorded."""
    path = lock_path(state, package)
    if path.exists():
        return path.read_text(encoding="utf-8")
    say(f"building {package}: resolving")
    step = steps(f"resolving {package}", "lock", package.name, package.version)
    lock = _LOCKS[package.registry](package, await job.output_of(step, engine, state=state, say=say))
    write(path, lock)
    return lock


class Steps(Protocol):
    """Makes the steps of one package in its registry's image, without any privilege, the registry within reach."""

    def __call__(self, what: str, script: str, *arguments: str, lock: str = "") -> job.Job: ...


async def _steps(
    package: Package, image: ImageInfo, engine: Engine, *, state: Path, say: Callable[[str], None]
) -> Steps:
    passed = host.network() | await anyio.to_thread.run_sync(_CLIENTS[package.registry])
    made = recipe(package.recipe)
    asking = job.Job(f"looking for the registry of {package}", image.digest, made, f"{made.short}/urls.sh", (), passed)
    outside = await registries.outside(
        asking, package.name, await gate(engine, state=state, say=say), engine, state=state, say=say
    )

    def step(what: str, script: str, *arguments: str, lock: str = "") -> job.Job:
        files = passed | host.Passed(locks.files(package, lock))
        return job.Job(what, image.digest, made, f"{made.short}/{script}.sh", arguments, files, outside)

    return step


async def _copy(reference: str, engine: Engine, *, say: Callable[[str], None]) -> ImageInfo:
    """A registry's image without its configuration: no volume, variable, health check or entry point is left."""
    say(f"pulling {reference}")
    pulled = await engine.images.pull(reference)
    say(f"copying {reference}, without its settings")
    return await engine.images.load(copy_name(reference), engine.images.export(pulled.digest), {SOURCE: reference})


@asynccontextmanager
async def alone(state: Path, say: Callable[[str], None]) -> AsyncIterator[None]:
    """One builder at a time for a state folder; the kernel lets a dead one's lock go."""
    fd = _opened(state)
    try:
        if not _taken(fd):
            say("waiting for another build")
            while not _taken(fd):  # noqa: ASYNC110 - another process tells no event
                await anyio.sleep(_POLL)
        job.clear(state)
        yield
    finally:
        os.close(fd)


def _opened(state: Path) -> int:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(state / "building.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write(path: Path, text: str) -> None:
    """All of the file or nothing of it, whenever we are killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
