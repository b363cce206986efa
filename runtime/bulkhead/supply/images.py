"""The image that a server runs from: found by name where it was built before, which is one question to the engine.

This module is on the way of every `bulkhead run`, so what builds is imported only when something is built.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.errors import IntegrityError, StartError
from bulkhead.supply.names import image_name, lock_path, parse, slug
from bulkhead.supply.pins import resolve_newest
from bulkhead.supply.recipes import recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkhead.engines.base import Engine, ImageInfo
    from bulkhead.spec import Server
    from bulkhead.supply.names import Package

__all__ = ["BuiltImage", "built_image", "image_for", "resolve_newest"]

# Labels of our images. They say what an image was made from; policy is never read from one.
RECIPE, RELEASE, BASE = "bulkhead.recipe", "bulkhead.release", "bulkhead.base"
PACKAGE, LOCK, COMMAND, SOURCE = "bulkhead.package", "bulkhead.lock", "bulkhead.command", "bulkhead.source"


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """digest is what a Plan runs. command is the package's own, () for other images; lock_sha256 "" likewise."""

    digest: str
    name: str
    command: tuple[str, ...] = ()
    lock_sha256: str = ""


async def image_for(server: Server, engine: Engine, *, state: Path, say: Callable[[str], None]) -> BuiltImage:
    """The image of a server, built or pulled where it is not there yet, which say() is told about.

    Raises StartError (reason "build"), IntegrityError (reason "lock") and EngineError.
    """
    from anyio import to_thread  # noqa: PLC0415 - see the module's rule

    image = await to_thread.run_sync(lambda: built_image(server, engine, state=state))
    if image is None:
        from bulkhead.supply.build import build  # noqa: PLC0415 - see the module's rule

        image = _checked(server, await build(server, engine, state=state, say=say))
    return image


def built_image(server: Server, engine: Engine, *, state: Path) -> BuiltImage | None:
    """The image of a server, if it is there. Blocks; errors as image_for()."""
    found = find(server, engine, state=state)
    return _checked(server, found) if found else None


def former_image(server: Server, engine: Engine, digest: str) -> BuiltImage:
    """The image of this digest, which the server had before. Raises IntegrityError (reason "pin") if it is gone."""
    found = engine.images.find(digest)
    if found is None or found.digest != digest:
        what, hint = f"the image {digest} is not there any more", "`bulkhead approve` takes the one that is"
        raise IntegrityError(what, why="the last rollback went back to it", hint=hint)
    return _checked(server, found)


def was_built(state: Path, digest: str) -> bool:
    """Whether this user's Bulkhead has made the image."""
    return _built(state, digest).exists()


def remember_built(state: Path, digest: str) -> None:
    """For was_built()."""
    path = _built(state, digest)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch()


def _built(state: Path, digest: str) -> Path:
    return state / "built" / digest.removeprefix("sha256:")


def _checked(server: Server, found: ImageInfo) -> BuiltImage:
    image = BuiltImage(
        found.digest,
        found.name,
        command=tuple(json.loads(found.labels.get(COMMAND, "[]"))),
        lock_sha256=found.labels.get(LOCK, ""),
    )
    if server.package and not (server.command or image.command):
        why = "it has none, or several, and none is called as the package is"
        what, hint = f"{server.package} has no command of its own", "write server.command in the profile"
        raise StartError(what, why=why, hint=hint, reason="build")
    return image


def find(server: Server, engine: Engine, *, state: Path) -> ImageInfo | None:
    """The image of a server, if it was made before, from the same recipe and the same lock."""
    if server.package:
        package = parse(server.package)
        path = lock_path(state, package)
        return find_package(engine, package, path.read_text(encoding="utf-8")) if path.exists() else None
    if "@sha256:" in server.image:
        return _labelled(engine, copy_name(server.image), SOURCE, server.image)
    return find_base(engine, server.image)


def find_base(engine: Engine, name: str) -> ImageInfo | None:
    """The image of "bulkhead/NAME", if it was built from today's recipe. Raises UsageError for an unknown name."""
    return _labelled(engine, f"{name}:latest", RECIPE, recipe(name).digest)


def find_package(engine: Engine, package: Package, lock: str) -> ImageInfo | None:
    """The image in which exactly this lock is installed."""
    name = image_name(package, recipe(package.recipe).digest, lock)
    return _labelled(engine, name, LOCK, sha256(lock))


def copy_name(reference: str) -> str:
    """The name of our copy of a registry's image "NAME@sha256:DIGEST"."""
    name, _, digest = reference.partition("@sha256:")
    return f"bulkhead/copy/{slug(name)}:{digest}"


def sha256(lock: str) -> str:
    return hashlib.sha256(lock.encode()).hexdigest()


def _labelled(engine: Engine, name: str, label: str, value: str) -> ImageInfo | None:
    found = engine.images.find(name)
    return found if found and found.labels.get(label) == value else None
