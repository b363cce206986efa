"""Makes an image of a container's layers, shared with the image below, and of labels alone.

Docker's commit writes the container's environment, command and user into the image, and has no way to leave them out.
So the committed image serves only to name the layers: a configuration that has nothing else is loaded over the same
ones. A daemon that keeps its images in graph drivers takes that without the layers' data, since it has them.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bulkhead.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping


def commit_layers(client: Any, container: str, name: str, labels: Mapping[str, str]) -> str:
    """The new image's digest. Raises EngineError, or what the SDK raises, where the daemon wants the layers' data."""
    committed = client.commit(container)["Id"]
    try:
        image = client.inspect_image(committed)
        config = _config(image, labels)
        _load(client, _archive(config, name, len(image["RootFS"]["Layers"])))
    finally:
        client.remove_image(committed, noprune=True)
    return _digest(config)


def _config(image: Mapping[str, Any], labels: Mapping[str, str]) -> bytes:
    """As the image specification has it."""
    return json.dumps(
        {
            "architecture": image["Architecture"],
            "os": image["Os"],
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "config": {"Labels": dict(labels)},
            "rootfs": {"type": "layers", "diff_ids": image["RootFS"]["Layers"]},
        }
    ).encode()


def _digest(config: bytes) -> str:
    return f"sha256:{hashlib.sha256(config).hexdigest()}"


def _archive(config: bytes, name: str, layers: int) -> bytes:
    """What ``docker save`` writes, less the layers."""
    file = f"{_digest(config).removeprefix('sha256:')}.json"
    manifest = [{"Config": file, "RepoTags": [name], "Layers": [f"{number}/layer.tar" for number in range(layers)]}]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in ((file, config), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _load(client: Any, archive: bytes) -> None:
    for event in client.load_image(archive):
        if "error" in event:
            raise EngineError("the container engine did not take the image", why=str(event["error"]))
