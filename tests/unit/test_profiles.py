"""`bulkhead profile`, the shipped profiles, and the page that documents every key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from pydantic import BaseModel

from bulkhead import resources
from bulkhead.cli import main
from bulkhead.cli.profile import as_toml
from bulkhead.config import find_profile, load_profile, profile_digest
from bulkhead.config.schema import ServerSpec, Settings
from bulkhead.grammar import PACKAGE
from tests.unit.config_cases import mount, write

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("home", "project")

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ["everything", "fetch", "filesystem", "git", "memory", "sequential-thinking", "time"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_is_valid_pinned_and_described(name: str) -> None:
    spec = load_profile(find_profile(name, Path.cwd()))
    assert PACKAGE.match(spec.server.package)
    assert spec.description
    assert (spec.mounts, spec.egress, spec.secrets) == ((), (), ())


def test_these_are_all() -> None:
    assert sorted(path.stem for path in (resources.folder("profiles") / "servers").glob("*.toml")) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shown_means_the_same(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["profile", "show", name]) == 0
    again = load_profile(write(tmp_path, capsys.readouterr().out, name, head=""))
    assert profile_digest(again) == profile_digest(load_profile(find_profile(name, Path.cwd())))


def test_every_kind_of_value_is_shown_so_that_it_is_read_back(home: Path, tmp_path: Path) -> None:
    (home / "notes").mkdir()
    text = """args = ["a\\"b\\\\", "\\u001b[31m", "\\u202E", "\\U0001F600"]
env = { A = "\\n" }
[limits]
cpus = 0.1
start = 0.25
call = 1.2345678901
memory = 16777217
[[egress]]
host = "*.example.org"
ports = [1, 2]
[[secrets]]
name = "A"
from = "exec:[\\"pass\\", \\"a\\"]"
use = "file"
ttl = "1h"
"""
    spec = load_profile(write(tmp_path, text + mount("~/notes")))
    shown = as_toml(spec)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert load_profile(write(tmp_path, shown, head="")) == spec


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "show", "time", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["spec"]["limits"]["pids"] == 64
    assert shown["digest"].startswith("sha256:")
    assert shown["path"].endswith("profiles/servers/time.toml")


def test_show_needs_one_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "show"]) == 2
    assert "name one profile" in capsys.readouterr().err


def test_check_says_all_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "arg = 1\n[limits]\npids = 0\n")
    assert main(["profile", "check", "--profile", str(path)]) == 2
    said = capsys.readouterr()
    assert f"{path}:3: server.arg is not known" in said.err
    assert f"{path}:5: limits.pids is not valid" in said.err
    assert said.out == ""
    assert main(["profile", "check", "--profile", str(path), "--json"]) == 2
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["valid"], len(result["errors"])) == (False, 2)


def test_check_warns_of_a_secret_in_the_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = [f'[[secrets]]\nname = "{use}"\nfrom = "env:A"\nuse = "{use}"\n' for use in ("env", "file")]
    path = write(tmp_path, "".join(tables))
    assert main(["profile", "check", "--profile", str(path)]) == 0
    valid, warning = capsys.readouterr().out.splitlines()
    assert valid == f"valid: {path}"
    assert warning.startswith('warning: server: env has use = "env": ')
    assert "in the server's environment for its whole life" in warning
    assert main(["profile", "check", "--profile", str(path), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["valid"], result["warnings"]) == (True, [warning.removeprefix("warning: ")])


def test_check_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "check"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(SHIPPED)


def test_ls_with_whose_and_with_what_is_wrong(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / ".bulkhead").mkdir()
    write(project / ".bulkhead", "arg = 1\n", "broken")
    write(project / ".bulkhead", 'description = "\\u001b]0;x"\n', "strange", head="")
    assert main(["profile", "ls", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["time"]["origin"], rows["broken"]["origin"]) == ("shipped", "project")
    assert ":3: server.arg is not known" in rows["broken"]["problem"]
    assert main(["profile", "ls"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_an_unknown_name_leaves_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "show", "tiem"]) == 2
    assert "did you mean time" in capsys.readouterr().err


def _keys(model: type[BaseModel], table: str = "") -> Iterator[tuple[str, str, Any]]:
    """(table, key, default) of every key of the models."""
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        inner = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if inner is not None:
            yield from _keys(inner, name)
        elif (table, name) != ("", "name"):
            yield table, field.alias or name, field


@pytest.mark.parametrize("model", [ServerSpec, Settings])
def test_the_page_documents_every_key(model: type[BaseModel]) -> None:
    page = (ROOT / "docs/profiles.md").read_text()
    sections = dict(
        re.findall(r"^##+ .*?`\[{0,2}([a-z.]+)\]{0,2}`.*?\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE)
    )
    section = {ServerSpec: "top", Settings: "config.toml"}[model]
    missing = [
        (table, key) for table, key, _ in _keys(model) if f"| `{key}` |" not in sections.get(table or section, "")
    ]
    assert missing == []


def test_the_page_says_the_defaults_of_the_limits(tmp_path: Path) -> None:
    page = (ROOT / "docs/profiles.md").read_text()
    shown = as_toml(load_profile(write(tmp_path, "")))
    for key, value in re.findall(
        r"^(\w+) = (\S+) +# default$", shown.split("[limits]")[1].split("[tools]")[0], re.MULTILINE
    ):
        assert f"| `{key}` | `{value}` |" in page
