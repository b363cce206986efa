"""The images of our own recipes: gate and base from a root file system, the others from their parent.

The gate's is made without any step, so it is there before the first step that needs the network.
They are found by name, and are good while their label `bulkhead.recipe` is the recipe's digest.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bulkhead.errors import EngineError
from bulkhead.supply import apt, host, job, registries
from bulkhead.supply.host import Passed
from bulkhead.supply.images import RECIPE, RELEASE, find_base
from bulkhead.supply.recipes import recipe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bulkhead.engines.base import Engine, ImageInfo
    from bulkhead.supply.recipes import Recipe

GATE = "bulkhead/gate"


async def base(engine: Engine, name: str, *, state: Path, say: Callable[[str], None]) -> ImageInfo:
    """The image of "bulkhead/NAME", built if there is none, with all that it needs. The caller holds the build lock.

    Raises UsageError for an unknown name, StartError (reason "build") and EngineError.
    """
    if found := find_base(engine, name):
        return found
    made = recipe(name)
    if made.parent:
        parent = await base(engine, made.parent, state=state, say=say)
        ground = {"release": parent.labels[RELEASE], "name": f"{name}:latest"}
        fetched = await _fetched(engine, made, state=state, say=say)
        return await _build(engine, made, parent.digest, **ground, fetched=fetched, state=state, say=say)
    return await _from_root(engine, made, state=state, say=say)


async def gate(engine: Engine, *, state: Path, say: Callable[[str], None]) -> str:
    """The digest of the gate's image, through which all other images are built. Errors as base()."""
    return (await base(engine, GATE, state=state, say=say)).digest


async def _from_root(engine: Engine, made: Recipe, *, state: Path, say: Callable[[str], None]) -> ImageInfo:
    """In one layer: what the steps have removed would stay in the root's, where it can be read."""
    if made.unpacked:
        return await _root(engine, made, f"{made.name}:latest", state=state, say=say)
    root = await _root(engine, made, f"bulkhead/root:{made.digest[:12]}", state=state, say=say)
    temporary = [root.name]
    try:
        ground = {"release": root.labels[RELEASE], "name": f"{root.name}-set-up"}
        set_up = await _build(engine, made, root.digest, **ground, fetched=Passed(), state=state, say=say)
        temporary.insert(0, set_up.name)
        labels = {RECIPE: made.digest, RELEASE: root.labels[RELEASE]}
        return await engine.images.load(f"{made.name}:latest", engine.images.export(set_up.digest), labels)
    finally:
        with anyio.CancelScope(shield=True):
            for name in temporary:
                await engine.images.remove(name)


async def _build(
    engine: Engine,
    made: Recipe,
    parent: str,
    *,
    release: str,
    name: str,
    fetched: Passed,
    state: Path,
    say: Callable[[str], None],
) -> ImageInfo:
    say(f"building {made.name}: installing {' '.join(made.packages)}")
    passed = host.network() | await anyio.to_thread.run_sync(apt.passed, release) | fetched
    asking = job.Job(f"looking for the mirrors of {made.name}", parent, made, "base/urls.sh", (), passed)
    outside = await registries.outside(
        asking, "", await gate(engine, state=state, say=say), engine, state=state, say=say
    )
    arguments = (made.short, *made.packages)
    step = job.Job(f"building {made.name}", parent, made, "base/build.sh", arguments, passed, outside, root=True)
    async with job.done(step, engine, state=state, say=say) as (sandbox, _):
        say(f"building {made.name}: saving")
        return await engine.images.commit(sandbox, name, {RECIPE: made.digest, RELEASE: release})


async def _fetched(engine: Engine, made: Recipe, *, state: Path, say: Callable[[str], None]) -> Passed:
    """The file "input": what the recipe's fetch.sh prints in the image that it asks for."""
    if not made.fetch:
        return Passed()
    image = await base(engine, made.fetch, state=state, say=say)
    say(f"building {made.name}: downloading")
    passed = host.network() | await anyio.to_thread.run_sync(host.pip)
    urls = f"{recipe(made.fetch).short}/urls.sh"
    asking = job.Job(f"looking for the index of {made.name}", image.digest, made, urls, (), passed)
    outside = await registries.outside(
        asking, made.fetches, await gate(engine, state=state, say=say), engine, state=state, say=say
    )
    fetch = f"{made.short}/fetch.sh"
    step = replace(asking, what=f"downloading for {made.name}", script=fetch, outside=outside)
    return Passed({"input": await job.output_of(step, engine, state=state, say=say)})


async def _root(engine: Engine, made: Recipe, name: str, *, state: Path, say: Callable[[str], None]) -> ImageInfo:
    """A root file system as an image without configuration: a registry's, else from packages."""
    try:
        say(f"building {made.name}: pulling {made.root}")
        pulled = await engine.images.pull(made.root)
    except EngineError as error:
        say(f"building {made.name}: from Debian packages, for no registry answers ({error.why or error.what})")
    else:
        labels = {RECIPE: made.digest, RELEASE: made.release}
        return await engine.images.load(name, engine.images.export(pulled.digest), labels)
    with job.folder(state) as files:
        target = files / "root.tar"
        release = await anyio.to_thread.run_sync(partial(apt.bootstrap, target, made.packages, unpacked=made.unpacked))
        return await engine.images.load(name, _chunks(target), {RECIPE: made.digest, RELEASE: release})


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(2**20):
            yield chunk
