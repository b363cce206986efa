"""Images of a Docker daemon: root file systems with labels, and no other configuration.

An image loaded here is one layer, imported from a tar; one committed shares the layers of the image that it came of
(docker_layers.py). Nothing of a build container's settings stays in it either way.
Ours are known by the label ``bulkhead.image``, which holds the name. find() is on the way of every start, so what only
a build needs is imported where it is needed.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from bulkhead.engines.base import ImageInfo
from bulkhead.engines.docker_start import REMOVED
from bulkhead.errors import EngineError, GoneError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping

    from bulkhead.engines.base import Sandbox
    from bulkhead.engines.docker_api import Api
    from bulkhead.engines.docker_client import Client

NAME = "bulkhead.image"
CHUNK = 2**20


class DockerImages:
    """The ImageStore of one daemon. state is the label by which the daemon's containers are known to be ours."""

    def __init__(self, client: Client, api: Api, labels: Mapping[str, str]) -> None:
        self._client = client
        self._api = api
        self._labels = dict(labels)

    def find(self, reference: str) -> ImageInfo | None:
        try:
            return _image_info(self._client.request("GET", f"/images/{reference}/json"))
        except GoneError:
            return None

    async def pull(self, reference: str) -> ImageInfo:
        repository, at, digest = reference.partition("@sha256:")
        if not at:
            raise EngineError(f"{reference} cannot be pulled", why="it is no digest", hint="NAME@sha256:DIGEST")
        await self._api.call(lambda client: client.pull(repository, tag=f"sha256:{digest}"))
        return await self._found(reference)

    async def load(self, name: str, root: AsyncIterable[bytes], labels: Mapping[str, str]) -> ImageInfo:
        chunks = root.__aiter__()
        changes = [f"LABEL {_quoted(key)}={_quoted(value)}" for key, value in ({NAME: name} | dict(labels)).items()]
        repository, tag = _split(name)

        def run(client: Any) -> str:
            return str(client.import_image_from_data(_blocking(chunks), repository, tag, changes))

        return await self._found(_digest(await self._api.call(run)))

    async def export(self, reference: str) -> AsyncIterator[bytes]:
        from anyio import CancelScope  # noqa: PLC0415 - see the module's rule

        container = await self._unstarted(reference)
        try:
            async for chunk in self._root(container):
                yield chunk
        finally:
            with CancelScope(shield=True):
                await self._client.call("DELETE", f"/containers/{container}", **REMOVED)

    async def commit(self, sandbox: Sandbox, name: str, labels: Mapping[str, str]) -> ImageInfo:
        from bulkhead.engines.docker_layers import commit_layers  # noqa: PLC0415 - see the module's rule

        container, labels = f"bulkhead-{sandbox.id}", {NAME: name} | dict(labels)
        tag = ":".join(_split(name))
        try:
            digest = await self._api.call(partial(commit_layers, container=container, name=tag, labels=labels))
        except EngineError:  # containerd's image store takes no image without its data
            return await self.load(name, self._root(container), labels)
        return await self._found(digest)

    async def list(self) -> list[ImageInfo]:
        found = await self._client.call("GET", "/images/json", filters={"label": [NAME]})
        infos = [self.find(image["Id"]) for image in found]
        return sorted((info for info in infos if info is not None), key=lambda info: (info.name, -info.created))

    async def remove(self, reference: str) -> None:
        try:
            await self._client.call("DELETE", f"/images/{reference}")
        except GoneError:
            return

    async def _found(self, reference: str) -> ImageInfo:
        info = self.find(reference)
        if info is None:
            raise EngineError(f"the image {reference} was made and is not there", hint="try again")
        return info

    async def _root(self, container: str) -> AsyncIterator[bytes]:
        from anyio import to_thread  # noqa: PLC0415 - see the module's rule

        chunks = await self._api.call(lambda client: client.export(container, chunk_size=CHUNK))
        while chunk := await to_thread.run_sync(next, chunks, b""):
            yield chunk

    async def _unstarted(self, reference: str) -> str:
        """A container that is never started: the only way to an image's root file system."""
        config = {"Image": reference, "Cmd": ["-"], "Labels": self._labels, "HostConfig": {"NetworkMode": "none"}}
        return str((await self._client.call("POST", "/containers/create", config))["Id"])


def _blocking(chunks: AsyncIterator[bytes]) -> Iterator[bytes]:
    """The same chunks, from within a thread of Api.call."""
    from anyio import from_thread  # noqa: PLC0415 - see the module's rule

    while chunk := from_thread.run(anext, chunks, b""):
        yield chunk


def _quoted(text: str) -> str:
    """A word of a Dockerfile's LABEL, whose quotes know backslash and dollar, and no line break."""
    if "\n" in text:
        raise EngineError("an image's label has more than one line", why=repr(text))
    return '"' + "".join(f"\\{char}" if char in '"\\$' else char for char in text) + '"'


def _split(name: str) -> tuple[str, str]:
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "latest")


def _digest(answer: str) -> str:
    """The image's digest in the progress that an import writes, one JSON object a line."""
    for line in reversed(answer.splitlines()):
        event = json.loads(line)
        if "error" in event:
            raise EngineError("the container engine did not take the image", why=str(event["error"]))
        if str(event.get("status", "")).startswith("sha256:"):
            return str(event["status"])
    raise EngineError("the container engine did not take the image", why="it did not name a digest")


def _image_info(image: Mapping[str, Any]) -> ImageInfo:
    labels = (image.get("Config") or {}).get("Labels") or {}
    names = [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ()), image["Id"]]
    return ImageInfo(
        name=labels.get(NAME) or names[0],
        digest=image["Id"],
        size=image["Size"],
        created=datetime.fromisoformat(image["Created"][:19] + "+00:00").timestamp(),
        labels=labels,
    )
