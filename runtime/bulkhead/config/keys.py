"""The name under which the state folder keeps what is known of a server: its pins, for one.

A profile of the user's, or a shipped one, is called by its name alone. All others have NAME@ and eight digits of the
digest of where they come from: two projects can each have a `github`, and neither is the user's.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from bulkhead import resources
from bulkhead.config.settings import config_dir

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulkhead.config.flags import Flags


def profile_key(path: Path) -> str:
    """The key of the server of a profile."""
    path = path.absolute()
    return path.stem if is_named(path) else f"{path.stem}@{_digits(str(path))}"


def command_key(name: str, command: Sequence[str], flags: Flags) -> str:
    """The key of the server of a command line, with its flags. name is its spec's."""
    typed = [list(command), list(flags.mounts), list(flags.allow), list(flags.secrets)]
    return f"{name}@{_digits(json.dumps(typed))}"


def is_named(path: Path) -> bool:
    """Whether a profile is the user's, or shipped."""
    return path.parent in (config_dir() / "servers", resources.folder("profiles") / "servers")


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
