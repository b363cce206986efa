"""A container registry in the test's process, with one image: enough of the protocol for a pull by digest."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _manifest(config: bytes, layer: bytes) -> bytes:
    blobs = {CONFIG: config, LAYER: layer}
    described = {kind: {"mediaType": kind, "digest": _digest(b), "size": len(b)} for kind, b in blobs.items()}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[CONFIG], "layers": [described[LAYER]]}
    return json.dumps(document).encode()


@contextmanager
def serving(layer: Path, config: dict[str, Any]) -> Iterator[str]:
    """The reference "localhost:PORT/foreign@sha256:..." of an image of one layer with this configuration."""
    tar = layer.read_bytes()
    rootfs = {"type": "layers", "diff_ids": [_digest(tar)]}
    image = json.dumps({"architecture": "amd64", "os": "linux", "config": config, "rootfs": rootfs}).encode()
    manifest = _manifest(image, tar)
    contents = {_digest(content): content for content in (tar, image, manifest)}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            content = b"{}" if self.path == "/v2/" else contents.get(name)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Type", MANIFEST if name == _digest(manifest) else "application/octet-stream")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            del args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"localhost:{server.server_port}/foreign@{_digest(manifest)}"
    finally:
        server.shutdown()
        server.server_close()
