"""npm packages that tests use, installed once into a folder under the user's cache; versions are pinned here alone."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ARCH = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
_NODE = f"node-linux-{_ARCH}"

# One folder each, because they depend on different versions of the same packages.
SETS: dict[str, tuple[str, ...]] = {
    "conformance-0.1": ("@modelcontextprotocol/conformance@0.1.16", f"{_NODE}@22.23.3"),
    "conformance-0.2": ("@modelcontextprotocol/conformance@0.2.0-alpha.12", f"{_NODE}@22.23.3"),
    "sdk": ("@modelcontextprotocol/sdk@1.32.2",),
    "inspector": ("@modelcontextprotocol/inspector@0.15.0",),
}


def install(name: str, say: Callable[[str], None]) -> Path:
    """The node_modules folder of one of SETS, installed if it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bulkhead-tests"
    packages = SETS[name]
    folder = cache / name
    done = folder / "installed"
    if done.is_file() and done.read_text() == "\n".join(packages):
        return folder / "node_modules"
    say(f"installing {', '.join(packages)} ...")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "package.json").write_text("{}")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", *packages]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)
    done.write_text("\n".join(packages))
    return folder / "node_modules"


def node(modules: Path) -> str:
    """The node that came with a set, else the machine's."""
    own = modules / _NODE / "bin" / "node"
    return str(own) if own.exists() else "node"
