"""`bulkhead import`: nothing is written without a word, nothing is overwritten, and no secret is printed."""

from __future__ import annotations

import io
import json
import stat
import sys
from typing import TYPE_CHECKING

import keyring
import pytest

from bulkhead.cli import main
from tests.imports.conftest import Import, told, written
from tests.imports.test_formats import RUN, SERVER, TOKEN

if TYPE_CHECKING:
    from pathlib import Path


def profile(home: Path, name: str) -> Path:
    return home / ".config/bulkhead/servers" / f"{name}.toml"


def test_a_dry_run_writes_nothing(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(written(tmp_path, RUN)), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert '  | package = "pypi:example-github@1.2.3"\n' in said
    assert "left out line" in said
    assert not (home / ".config").exists()
    assert keyring.get_password("github-server", "OLD_TOKEN") is None


def test_nobody_can_be_asked(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(written(tmp_path, SERVER))]) == 2
    assert "nobody can be asked" in capsys.readouterr().err
    assert not profile(home, "weather").exists()


def test_json_writes_with_yes_alone(imported: Import, home: Path) -> None:
    assert imported(SERVER)["written"] is False
    assert not profile(home, "weather").exists()
    assert imported(SERVER, yes=True)["written"] is True
    assert stat.S_IMODE(profile(home, "weather").stat().st_mode) == 0o600


def test_a_profile_is_never_overwritten(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile(home, "weather").parent.mkdir(parents=True)
    profile(home, "weather").write_text("mine")
    assert main(["import", str(written(tmp_path, SERVER)), "--yes"]) == 2
    assert "none is overwritten" in capsys.readouterr().err
    assert profile(home, "weather").read_text() == "mine"
    assert main(["import", str(written(tmp_path, SERVER)), "--yes", "--name", "weather-2"]) == 0
    assert profile(home, "weather-2").exists()


def test_a_name_leads_nowhere_else(imported: Import, home: Path) -> None:
    found = imported(SERVER, "--name", "../../Evil", yes=True)
    assert found["name"] == "evil"
    assert profile(home, "evil").exists()


def test_secrets_are_kept_and_never_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path, RUN))
    assert main(["import", path, "--dry-run"]) == 0
    assert main(["import", path, "--yes"]) == 0
    said = capsys.readouterr()
    assert TOKEN not in said.out + said.err
    assert keyring.get_password("github-server", "OLD_TOKEN") == TOKEN


def test_the_terminal_is_told_no_orders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = SERVER | {"description": "a\x1b[2Jb\u202e", "x\x1b[2J": 1}
    assert main(["import", str(written(tmp_path, document)), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(SERVER).encode())))
    assert main(["import", "-", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "remotes" in told(found, "left out")


class Person(io.StringIO):
    """Types these lines at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("case", [("1.4.2\ny\n", 0, True), ("1.4.2\n\n", 0, False), ("\n", 2, False)])
def test_at_a_terminal_both_are_asked(
    case: tuple[str, int, bool], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, code, there = case
    monkeypatch.setattr(sys, "stdin", Person(answers))
    assert main(["import", str(written(tmp_path, RUN | {"image": "npx://example@latest"}))]) == code
    path = profile(home, "github-server")
    assert path.exists() == there
    assert not there or 'package = "npm:example@1.4.2"' in path.read_text()


def test_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        assert main(["import", str(path)]) == 2
        assert why in capsys.readouterr().err
