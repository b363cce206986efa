"""The images of our own recipes: base from a root file system, the others from their parent.

They are found by name, and are good while their label `bulkhead.recipe` is the recipe's digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bulkhead.errors import EngineError
from bulkhead.supply import apt, host, job
from bulkhead.supply.host import Passed
from bulkhead.supply.images import RECIPE, RELEASE, find_base
from bulkhead.supply.recipes import recipe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bulkhead.engines.base import Engine, ImageInfo
    from bulkhead.supply.recipes import Recipe


async def base(engine: Engine, name: str, *, state: Path, say: Callable[[str], None]) -> ImageInfo:
    """The image of "bulkhead/NAME", built if there is none, with all that it needs. The caller holds the build lock.

    Raises UsageError for an unknown name, StartError (reason "build") and EngineError.
    """
    if found := find_base(engine, name):
        return found
    made = recipe(name)
    if made.parent:
        parent = await base(engine, made.parent, state=state, say=say)
        release = parent.labels[RELEASE]
        return await _build(engine, made, parent.digest, release, f"{name}:latest", state=state, say=say)
    return await _from_root(engine, made, state=state, say=say)


async def _from_root(engine: Engine, made: Recipe, *, state: Path, say: Callable[[str], None]) -> ImageInfo:
    """In one layer: what the steps have removed would stay in the root's, where it can be read."""
    root, release = await _root(engine, made, state=state, say=say)
    temporary = [root.name]
    try:
        set_up = await _build(engine, made, root.digest, release, f"{root.name}-set-up", state=state, say=say)
        temporary.insert(0, set_up.name)
        labels = {RECIPE: made.digest, RELEASE: release}
        return await engine.images.load(f"{made.name}:latest", engine.images.export(set_up.digest), labels)
    finally:
        with anyio.CancelScope(shield=True):
            for name in temporary:
                await engine.images.remove(name)


async def _build(
    engine: Engine, made: Recipe, parent: str, release: str, name: str, *, state: Path, say: Callable[[str], None]
) -> ImageInfo:
    fetched = await _fetched(engine, made, state=state, say=say)
    say(f"building {made.name}: installing {' '.join(made.packages)}")
    passed = host.network() | await anyio.to_thread.run_sync(apt.passed, release) | fetched
    arguments = (made.short, *made.packages)
    step = job.Job(f"building {made.name}", parent, made, "base/build.sh", arguments, passed, root=True)
    async with job.done(step, engine, state=state) as (sandbox, _):
        say(f"building {made.name}: saving")
        return await engine.images.commit(sandbox, name, {RECIPE: made.digest, RELEASE: release})


async def _fetched(engine: Engine, made: Recipe, *, state: Path, say: Callable[[str], None]) -> Passed:
    """The file "input": what the recipe's fetch.sh prints in the image that it asks for."""
    if not made.fetch:
        return Passed()
    image = await base(engine, made.fetch, state=state, say=say)
    say(f"building {made.name}: downloading")
    passed = host.network() | await anyio.to_thread.run_sync(host.pip)
    step = job.Job(f"downloading for {made.name}", image.digest, made, f"{made.short}/fetch.sh", (), passed)
    return Passed({"input": await job.output_of(step, engine, state=state)})


async def _root(engine: Engine, made: Recipe, *, state: Path, say: Callable[[str], None]) -> tuple[ImageInfo, str]:
    """A root file system as an image without configuration, and its release: a registry's, else from packages."""
    name = f"bulkhead/root:{made.digest[:12]}"
    try:
        say(f"building {made.name}: pulling {made.root}")
        pulled = await engine.images.pull(made.root)
    except EngineError as error:
        say(f"building {made.name}: from Debian packages, for no registry answers ({error.why or error.what})")
    else:
        return await engine.images.load(name, engine.images.export(pulled.digest), {}), made.release
    with job.folder(state) as files:
        target = files / "root.tar"
        release = await anyio.to_thread.run_sync(apt.bootstrap, target, made.packages)
        return await engine.images.load(name, _chunks(target), {}), release


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(2**20):
            yield chunk
