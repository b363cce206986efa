"""A home and a project of the test's own, and profiles in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class WriteProfile(Protocol):
    """Writes a profile of the user's; returns its path."""

    def __call__(self, name: str, text: str = "") -> Path: ...


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$HOME, empty but for the folder of profiles, and an empty project as the current folder."""
    folder = tmp_path / "home"
    (folder / ".config" / "bulkhead" / "servers").mkdir(parents=True)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return folder


@pytest.fixture
def write_profile(home: Path) -> WriteProfile:
    """Writes profiles of the user's."""

    def write(name: str, text: str = "") -> Path:
        path = home / ".config" / "bulkhead" / "servers" / f"{name}.toml"
        path.write_text(f'[server]\npackage = "npm:x@1.0.0"\n{text}', encoding="utf-8")
        return path

    return write
