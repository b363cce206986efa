"""The folders that sandboxes were ever allowed to write to. A policy file that lies in one may be a sandbox's own work.

Without this, a server with a project to write to plants `.bulkhead/NAME.toml` there, and the next `bulkhead run NAME`
starts what that file says. The list is one path a line in the state folder, which is never mounted.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bulkhead.config.settings import state_dir, state_path
from bulkhead.errors import ProfileError
from bulkhead.grammar import inside

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.spec import ServerSpec

_FILE = "writable-folders"


def remember(spec: ServerSpec) -> None:
    """To be called before a sandbox of this spec starts. Raises OSError where it cannot be written."""
    known = _folders()
    new = [mount.source for mount in spec.mounts if mount.write and mount.source not in known]
    if new:
        with (state_dir() / _FILE).open("a", encoding="utf-8") as file:
            file.write("".join(f"{source}\n" for source in new))


def check(policy: Path) -> None:
    """Raises ProfileError if a sandbox could have written the file, or put it there."""
    real = os.path.realpath(policy)
    folder = next((folder for folder in _folders() if inside(real, folder)), None)
    if folder is not None:
        raise ProfileError(
            f"{policy} is not used",
            why=f"a sandbox was allowed to write to {folder}, so it may have written this file",
            hint="read it, and move it to ~/.config/bulkhead/servers/",
        )


def _folders() -> list[str]:
    try:
        return (state_path() / _FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
