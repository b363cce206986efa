"""What the tests of the configuration share: a home of their own, and profiles written in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAD = '[server]\npackage = "npm:server@1.0.0"\n'


def write(folder: Path, text: str, name: str = "server", *, head: str = HEAD) -> Path:
    """A profile; head is its [server] table."""
    path = folder / f"{name}.toml"
    path.write_text(head + text, encoding="utf-8")
    return path


def mount(source: object, target: str = "/notes", *, write: bool = False) -> str:
    """A [[mounts]] table."""
    return f'[[mounts]]\nsource = "{source}"\ntarget = "{target}"\nwrite = {str(write).lower()}\n'
