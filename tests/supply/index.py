"""A registry of npm and PyPI in the test's process: the index on one address of this machine, the files on another.

Both are an HTTP proxy for themselves, too: what is asked for under any name is answered.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import socket
import tarfile
import threading
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION = "1.0.0"
FILES = "127.0.0.2"


@dataclass
class Index:
    """host and port are the index's, files is the URL under which the files are. asked: the paths of all requests."""

    host: str
    port: int
    files: str
    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def add_npm(self, name: str, content: Mapping[str, bytes]) -> None:
        """A package whose install script is attempt.js."""
        manifest = {"name": name, "version": VERSION, "bin": "run.js", "scripts": {"install": "node attempt.js"}}
        tar = _tar("package", {"package.json": json.dumps(manifest).encode(), "run.js": b"", **content})
        integrity = f"sha512-{base64.b64encode(hashlib.sha512(tar).digest()).decode()}"
        dist = {"tarball": f"{self.files}/{name}.tgz", "integrity": integrity}
        versions = {VERSION: manifest | {"dist": dist, "hasInstallScript": True}}
        packument = {"name": name, "dist-tags": {"latest": VERSION}, "versions": versions}
        self.pages |= {f"/{name}": json.dumps(packument).encode(), f"/{name}.tgz": tar}

    def add_wheel(self, name: str, content: Mapping[str, bytes]) -> None:
        """A package of which Python runs attempt.py whenever it starts."""
        module = name.replace("-", "_")
        info = f"{module}-{VERSION}.dist-info"
        files = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{name} = os:getpid\n".encode(),
            f"{info}/RECORD": b"",
            f"{module}.pth": b"import attempt\n",
            **content,
        }
        self._add_pypi(name, f"{module}-{VERSION}-py3-none-any.whl", _zip(files))

    def add_sdist(self, name: str, content: Mapping[str, bytes]) -> None:
        """A package that has to be built: its setup.py is attempt.py."""
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n".encode()
        tar = _tar(f"{name}-{VERSION}", {"PKG-INFO": metadata, "setup.py": content["attempt.py"], **content})
        self._add_pypi(name, f"{name}-{VERSION}.tar.gz", tar)

    def _add_pypi(self, name: str, file: str, content: bytes) -> None:
        link = f'<a href="{self.files}/{file}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a>'
        self.pages |= {f"/simple/{name}/": f"<!DOCTYPE html><html><body>{link}</body></html>".encode()}
        self.pages |= {f"/{file}": content}


@contextmanager
def serving() -> Iterator[Index]:
    """An empty one."""
    index = Index(socket.gethostname(), 0, "")
    with ExitStack() as closing:
        index.port = closing.enter_context(_listening(index, "127.0.0.1"))
        index.files = f"http://{FILES}:{closing.enter_context(_listening(index, FILES))}"
        yield index


@contextmanager
def _listening(index: Index, address: str) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            path = urlsplit(self.path).path
            content = index.pages.get(path)
            self.send_response(200 if content is not None else 404)
            kind = "text/html" if path.startswith("/simple/") else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args: object) -> None:
            del args

    server = ThreadingHTTPServer((address, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _tar(top: str, files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
