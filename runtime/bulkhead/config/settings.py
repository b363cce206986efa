"""The user's own settings, and where Bulkhead keeps things: `config.toml`, the configuration and the state folder."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bulkhead.config.documents import read_document
from bulkhead.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Mapping


def config_dir() -> Path:
    """$XDG_CONFIG_HOME/bulkhead, or ~/.config/bulkhead. It need not be there."""
    return _base("XDG_CONFIG_HOME", ".config") / "bulkhead"


def state_path() -> Path:
    """$XDG_STATE_HOME/bulkhead, or ~/.local/state/bulkhead. It need not be there."""
    return _base("XDG_STATE_HOME", ".local/state") / "bulkhead"


def state_dir() -> Path:
    """The state folder, made for this user alone. Raises ProfileError if it is another's."""
    path = state_path()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = path.stat()
    if info.st_uid != os.geteuid():
        why = f"it belongs to uid {info.st_uid}, who could change what was approved and recorded"
        raise ProfileError(f"{path} is not used", why=why, hint="set XDG_STATE_HOME to a folder of your own")
    if stat.S_IMODE(info.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def _base(variable: str, default: str) -> Path:
    """As the XDG base directory specification says: a path that is not absolute is as if it were not set."""
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default


@dataclass(frozen=True)
class Exporters:
    """Where traces go. otlp is the base URL of a collector, or "" for none."""

    file: bool = True
    console: bool = False
    otlp: str = ""


@dataclass(frozen=True)
class Audit:
    """What the audit log takes down. sync: each record is on the disk before its message goes on."""

    sync: bool = True
    arguments: Literal["digest", "values"] = "digest"


@dataclass(frozen=True)
class Settings:
    """config.toml. limits holds the user's defaults for every profile: only what is written there.

    trusted_keys: whose signatures profiles need; none: no profile needs one.
    """

    engine: str = "auto"
    exporters: Exporters = Exporters()
    audit: Audit = Audit()
    limits: Mapping[str, Any] = field(default_factory=dict)
    trusted_keys: tuple[str, ...] = ()


def load_settings(path: Path | None = None) -> Settings:
    """The user's settings; all defaults where there is no file. Raises ProfileError with file and line."""
    path = path or config_dir() / "config.toml"
    if not path.exists():
        return Settings()
    from pydantic import ValidationError

    from bulkhead.config import schema
    from bulkhead.config.problems import problems_of

    document = read_document(path)
    try:
        found = schema.Settings.model_validate(document.data)
    except ValidationError as error:
        raise problems_of(error, schema.Settings)[0].error(document.where) from None
    limits = found.limits.model_dump(include=found.limits.model_fields_set)
    exporters, audit = Exporters(**found.exporters.model_dump()), Audit(**found.audit.model_dump())
    return Settings(found.engine, exporters, audit, limits, found.trusted_keys)
