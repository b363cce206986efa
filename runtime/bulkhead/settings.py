"""The user's own settings, and where Bulkhead keeps things: `config.toml`, the configuration and the state folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bulkhead.documents import read_document
from bulkhead.errors import ProfileError
from bulkhead.problems import problems_of
from bulkhead.spec import Limits


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


def _endpoint(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError("otlp must be a URL that begins with http:// or https://")
    return url


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Exporters(_Model):
    """[exporters]: where traces go. otlp is the base URL of a collector, or "" for none."""

    file: bool = True
    console: bool = False
    otlp: Annotated[str, AfterValidator(_endpoint)] = ""


class Settings(_Model):
    """config.toml. limits holds the defaults of every profile: only the keys that are written count."""

    engine: Literal["auto", "docker", "oci", "kubernetes"] = "auto"
    exporters: Exporters = Exporters()
    limits: Limits = Field(default_factory=Limits)

    def default_limits(self) -> dict[str, Any]:
        """The limits that the user wrote."""
        return self.limits.model_dump(include=self.limits.model_fields_set)


def load_settings(path: Path | None = None) -> Settings:
    """The user's settings; all defaults where there is no file. Raises ProfileError with file and line."""
    path = path or config_dir() / "config.toml"
    if not path.exists():
        return Settings()
    document = read_document(path)
    try:
        return Settings.model_validate(document.data)
    except ValidationError as error:
        raise problems_of(error, Settings)[0].error(document.where) from None
