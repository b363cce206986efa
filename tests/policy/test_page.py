"""docs/policy.md: its rules, its table and its key are right, by the guards that `run` has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkhead.cli import main
from bulkhead.config import load_settings

if TYPE_CHECKING:
    from tests.policy.conftest import WriteProfile

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
RULES, TABLE, TRUSTED = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_table_is_as_the_rules_say(
    write_profile: WriteProfile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_profile("github", RULES)
    table = tmp_path / "table.toml"
    table.write_text(TABLE, encoding="utf-8")
    code = main(["policy", "test", str(table)])
    assert (code, capsys.readouterr().out.splitlines()[-1]) == (0, "2 of 2 as expected")


def test_the_key_is_one(home: Path) -> None:
    path = home / ".config" / "bulkhead" / "config.toml"
    path.write_text(TRUSTED, encoding="utf-8")
    assert len(load_settings(path).trusted_keys) == 1


@pytest.mark.parametrize("command", sorted(set(re.findall(r"bulkhead (policy \w+)", PAGE))))
def test_the_commands_are_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    assert command in capsys.readouterr().out
