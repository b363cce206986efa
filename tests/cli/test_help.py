"""Each command's help has examples, a line each, and every command is told in the list of all."""

from __future__ import annotations

import re

import pytest

from bulkhead.cli import MODULES, main


@pytest.mark.parametrize("command", MODULES)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: bulkhead {command}")
    head, _, examples = said.partition("\nexample")
    assert head
    assert f"\n  bulkhead {command}" in examples.replace("sudo ", "").replace("\n  curl ... | ", "\n  ")


def test_the_list_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert [command for command in MODULES if not re.search(rf"\n    {command}\s", said)] == []
    assert "to begin with:\n  bulkhead doctor " in said
