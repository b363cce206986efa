"""A Python index and an npm registry with one package each, as files below a web server's root."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME, VERSION = "bulkhead-hello", "1.0.0"
_WHEEL = f"bulkhead_hello-{VERSION}-py3-none-any.whl"
_TARBALL = f"{NAME}-{VERSION}.tgz"


def write_index(folder: Path) -> None:
    """For pip: folder is the index's URL. The package is a module that has the word `said`."""
    home = folder / NAME
    home.mkdir(parents=True)
    about = f"bulkhead_hello-{VERSION}.dist-info"
    with zipfile.ZipFile(home / _WHEEL, "w") as wheel:
        wheel.writestr("bulkhead_hello.py", "said = 'hello from pip'\n")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    sha256 = hashlib.sha256((home / _WHEEL).read_bytes()).hexdigest()
    (home / "index.html").write_text(f'<!DOCTYPE html><a href="{_WHEEL}#sha256={sha256}">{_WHEEL}</a>')


def write_registry(folder: Path, url: str) -> None:
    """For npm: url is folder's. The package exports a text."""
    folder.mkdir(parents=True)
    manifest = {"name": NAME, "version": VERSION, "main": "index.js"}
    files = {"package.json": json.dumps(manifest), "index.js": "module.exports = 'hello from npm';\n"}
    with tarfile.open(folder / _TARBALL, "w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    sha512 = base64.b64encode(hashlib.sha512((folder / _TARBALL).read_bytes()).digest()).decode()
    version = manifest | {"dist": {"tarball": f"{url}/{_TARBALL}", "integrity": f"sha512-{sha512}"}}
    document = {"name": NAME, "dist-tags": {"latest": VERSION}, "versions": {VERSION: version}}
    (folder / NAME).write_text(json.dumps(document))
