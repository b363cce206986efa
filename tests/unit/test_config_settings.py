"""config.toml and the state folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bulkhead.config import load_profile
from bulkhead.config.settings import Settings, load_settings, state_dir
from bulkhead.errors import ProfileError
from bulkhead.spec import Limits
from tests.unit.config_cases import write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("home")


class TestSettings:
    """config.toml: unknown keys refused likewise; limits are every profile's defaults."""

    def test_none(self) -> None:
        assert load_settings() == Settings()

    def test_default_limits(self, home: Path, tmp_path: Path) -> None:
        (home / ".config/bulkhead").mkdir(parents=True)
        (home / ".config/bulkhead/config.toml").write_text('[limits]\nmemory = "1GiB"\npids = 7\n')
        limits = load_profile(write(tmp_path, "[limits]\npids = 9\n")).limits
        assert limits == Limits(memory=2**30, pids=9)

    @pytest.mark.parametrize(
        ("text", "what", "hint"),
        [
            ("[limits]\npidz = 7\n", ":2: limits.pidz is not known", "'pids'"),
            ('engin = "oci"\n', ":1: engin is not known", "'engine'"),
            ('[exporters]\notlp = "collector"\n', ":2: exporters.otlp is not valid", ""),
        ],
    )
    def test_refused(self, text: str, what: str, hint: str, tmp_path: Path) -> None:
        (tmp_path / "config.toml").write_text(text)
        with pytest.raises(ProfileError) as caught:
            load_settings(tmp_path / "config.toml")
        assert caught.value.what == f"{tmp_path}/config.toml{what}"
        assert hint in caught.value.hint

    def test_the_state_folder_is_the_users_alone(self, home: Path) -> None:
        assert state_dir() == home / ".local/state/bulkhead"
        state_dir().chmod(0o755)
        assert state_dir().stat().st_mode & 0o777 == 0o700

    def test_a_state_folder_of_another_is_refused(self) -> None:
        os.chown(state_dir(), 12345, -1)
        with pytest.raises(ProfileError) as caught:
            state_dir()
        assert "uid 12345" in caught.value.why

    def test_a_relative_base_is_as_if_unset(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", "here")
        assert state_dir() == home / ".local/state/bulkhead"
