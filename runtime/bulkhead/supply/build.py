"""Makes the image of a server: of a package, of a registry's image, or of a recipe. One build at a time.

A second builder waits for the first, and then finds its image. An image gets its name when it is complete, so one
that was interrupted is never found.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bulkhead.errors import IntegrityError, StartError
from bulkhead.supply import host, job, locks
from bulkhead.supply.bases import base
from bulkhead.supply.images import BASE, COMMAND, LOCK, PACKAGE, RECIPE, SOURCE, copy_name, find, find_package, sha256
from bulkhead.supply.names import RECIPES, Package, image_name, lock_path, parse
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
        if found := await find(server, engine, state=state):
            return found
        if server.package:
            return await _package(parse(server.package), engine, state=state, say=say)
        if "@sha256:" in server.image:
            return await _copy(server.image, engine, say=say)
        return await base(engine, server.image, state=state, say=say)


async def newest(registry: str, name: str, engine: Engine, *, state: Path, say: Callable[[str], None]) -> str:
    """The newest version of a package of "npm" or "pypi". Raises StartError (reason "build") and EngineError."""
    async with alone(state, say):
        say(f"{registry}:{name}: looking for the newest version")
        image = await base(engine, RECIPES[registry], state=state, say=say)
        output = await _run(Package(registry, name, ""), "newest", (name,), image, engine, state=state)
    version = output.decode(errors="replace").strip()
    return parse(f"{registry}:{name}@{version}").version


async def _package(package: Package, engine: Engine, *, state: Path, say: Callable[[str], None]) -> ImageInfo:
    image = await base(engine, package.recipe, state=state, say=say)
    lock = await _lock(package, image, engine, state=state, say=say)
    if found := await find_package(engine, package, lock):
        return found
    say(f"building {package}: installing")
    passed = await _passed(package)
    with job.folder(state, recipe(package.recipe), passed, locks.files(package, lock)) as files:
        command = _script(package, "install", package.name)
        try:
            async with job.built(engine, image.digest, command, files, passed) as (sandbox, output):
                say(f"building {package}: saving")
                labels = {
                    RECIPE: recipe(package.recipe).digest,
                    BASE: image.digest,
                    PACKAGE: str(package),
                    LOCK: sha256(lock),
                    COMMAND: json.dumps(locks.command_of(package, output)),
                }
                name = image_name(package, recipe(package.recipe).digest, lock)
                return await engine.images.commit(sandbox, name, labels)
        except StartError as error:
            raise _told(error, package, state) from error


async def _lock(package: Package, image: ImageInfo, engine: Engine, *, state: Path, say: Callable[[str], None]) -> str:
    """The recorded lock; else a new one, which is recorded."""
    path = lock_path(state, package)
    if path.exists():
        return path.read_text(encoding="utf-8")
    say(f"building {package}: resolving")
    output = await _run(package, "lock", (package.name, package.version), image, engine, state=state)
    lock = _LOCKS[package.registry](package, output)
    write(path, lock)
    return lock


async def _run(
    package: Package, script: str, arguments: tuple[str, ...], image: ImageInfo, engine: Engine, *, state: Path
) -> bytes:
    passed = await _passed(package)
    with job.folder(state, recipe(package.recipe), passed, {"package.json": locks.package_json(package)}) as files:
        command = _script(package, script, *arguments)
        async with job.built(engine, image.digest, command, files, passed) as (_, output):
            return output


async def _passed(package: Package) -> host.Passed:
    return host.network() | await anyio.to_thread.run_sync(_CLIENTS[package.registry])


def _script(package: Package, script: str, *arguments: str) -> tuple[str, ...]:
    return ("sh", f"{host.JOB}/{package.recipe.rpartition('/')[2]}/{script}.sh", *arguments)


def _told(error: StartError, package: Package, state: Path) -> StartError | IntegrityError:
    """A file that is not the locked one is a matter of integrity, not of building."""
    if not any(check in error.why for check in locks.CHECKS):
        return error
    hint = f"if the lock is to blame, remove {lock_path(state, package)}"
    return IntegrityError(f"{package}: a file is not the one that was locked", why=error.why, hint=hint, reason="lock")


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
        shutil.rmtree(state / "building", ignore_errors=True)
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
