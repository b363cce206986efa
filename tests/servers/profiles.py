"""Profiles that run the servers of this folder in the plain Python image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).resolve().parent

# Small, so that a fault reaches them soon.
SHORT = {
    "memory": "64MiB",
    "pids": 32,
    "tmp": "1MiB",
    "open_files": 64,
    "message": "1MiB",
    "output": "256KiB",
    "start": "5s",
    "call": "2s",
    "calls_per_minute": 10000,
}


def write_profile(
    folder: Path, server: str, *, name: str = "", args: Sequence[str] = (), limits: Mapping[str, Any] | None = None
) -> Path:
    """A profile of tests.servers.SERVER, called name."""
    path = folder / f"{name or server}.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in (limits or {}).items()]
    command = ["python3", "-m", f"tests.servers.{server}", *args]
    path.write_text(
        f"""[server]
image = "bulkhead/python"
command = {json.dumps(command)}
env = {{ PYTHONPATH = "/srv", PYTHONDONTWRITEBYTECODE = "1" }}

[limits]
{chr(10).join(lines)}

[[mounts]]
source = {json.dumps(str(HERE))}
target = "/srv/tests/servers"
""",
        encoding="utf-8",
    )
    return path
