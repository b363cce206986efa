"""A secret that lies open in a host's configuration is found, with its place, and is never repeated."""

from __future__ import annotations

import json
import os
import subprocess
from argparse import Namespace
from typing import TYPE_CHECKING

import pytest

from bulkhead.cli import main
from bulkhead.cli.target import known_target
from bulkhead.errors import ProfileError
from bulkhead.hosts.base import HOSTS, entries, find, read
from bulkhead.hosts.secrets import plain_secrets, require_none_in_plain, secrets_in
from tests.conftest import BULKHEAD
from tests.hosts.configs import CONFIGS, TOKEN, write

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "GITHUB_PERSONAL_ACCESS_TOKEN"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, and a project that is the current folder."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_every_host_has_a_configuration_here() -> None:
    assert sorted(CONFIGS) == sorted(host.name for host in HOSTS)


@pytest.mark.parametrize("host", CONFIGS)
def test_it_is_found_in_each_host(host: str, home: Path) -> None:
    path = write(home, host)
    [finding] = plain_secrets(home, home / "project")
    lines = path.read_bytes().decode().splitlines()
    assert TOKEN in lines[finding.line - 1]
    told = (finding.host, finding.path, finding.server, finding.variable, finding.what)
    assert told == (host, path, "github", VARIABLE, "a secret, by its name")
    assert f"`bulkhead secrets set {VARIABLE}`" in finding.hint
    assert TOKEN not in repr(finding)
    assert TOKEN not in repr([list(entries(read(file))) for file in find(home, home)])


@pytest.mark.parametrize("host", CONFIGS)
def test_every_entry_of_each_host_is_known_by_its_kind(host: str, home: Path) -> None:
    write(home, host)
    [file] = find(home, home / "project")
    kinds = {entry.name: entry.kind for entry in entries(read(file))}
    known = {"time": "stdio", "github": "stdio", "asked": "stdio", "filed": "stdio", "remote": "remote"}
    known |= {"boxed": "docker", "own": "unknown", "developer": "unknown"}
    assert kinds == {name: known[name] for name in kinds}
    assert {"time", "github"} <= set(kinds)


def _in_a_project(home: Path, name: str, table: object) -> list[tuple[int, str, str]]:
    path = home / "project" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(table, indent=1), encoding="utf-8")
    found = plain_secrets(home, home / "project")
    assert {finding.path for finding in found} <= {path}
    return [(finding.line, finding.server, finding.variable) for finding in found]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (".mcp.json", "mcpServers"),
        (".cursor/mcp.json", "mcpServers"),
        (".vscode/mcp.json", "servers"),
        (".gemini/settings.json", "mcpServers"),
        (".zed/settings.json", "context_servers"),
    ],
)
def test_in_the_files_of_a_project(name: str, key: str, home: Path) -> None:
    table = {key: {"a": {"command": "x", "env": {"A": "1", "MY_TOKEN": "hunter2"}}}}
    assert _in_a_project(home, name, table) == [(7, "a", "MY_TOKEN")]


@pytest.mark.parametrize(
    ("entry", "where"),
    [
        ({"command": "x", "args": ["--key", TOKEN]}, [(5, "a", "args[1]")]),
        ({"command": "x", "args": ["--api-key=hunter2"]}, [(5, "a", "args[0]")]),
        ({"url": "https://me:hunter2@mcp.example.com/"}, [(4, "a", "url")]),
        ({"url": "https://x.example", "headers": {"Authorization": f"Bearer {TOKEN}"}}, [(6, "a", "Authorization")]),
        ({"command": "x", "env": {"API_KEY": "${KEY:-" + TOKEN + "}"}}, [(5, "a", "API_KEY")]),
        ({"command": "x", "env": {"API_KEY": f"${{PREFIX}}{TOKEN}"}}, [(5, "a", "API_KEY")]),
        ({"command": "x", "env": {"A": "${A}", "B_KEY": "$B_KEY", "C_KEY": "${env:C}", "D_KEY": "${input:d}"}}, []),
        ({"command": "x", "env": {"A_KEY": "${A:-}", "B_TOKEN": "", "LEVEL": "info", "F_KEY": "/run/key"}}, []),
        ({"command": "x", "args": ["--token", "${input:t}", "--header", "Authorization: Bearer ${T}"]}, []),
        ({"url": "https://x.example/", "headers": {"Authorization": "Bearer ${input:t}"}}, []),
    ],
)
def test_what_is_a_secret_and_what_the_host_fills_in(
    entry: dict[str, object], where: list[tuple[int, str, str]], home: Path
) -> None:
    found = _in_a_project(home, ".mcp.json", {"mcpServers": {"a": entry}})
    assert [(server, variable) for _, server, variable in found] == [row[1:] for row in where]
    text = (home / "project" / ".mcp.json").read_text(encoding="utf-8").splitlines()
    for line, _, variable in found:
        assert variable.partition("[")[0] in text[line - 1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"mcpServers": {"a": 1}}', "a table of values is expected"),
        (b'{"mcpServers": {"a": {},\n "a": {}}}', "already"),
        (b"\xff", "no UTF-8"),
        (b"{", "is missing"),
    ],
)
def test_a_file_that_cannot_be_looked_through_is_told(text: bytes, why: str, home: Path) -> None:
    path = home / "project" / ".mcp.json"
    path.write_bytes(text)
    [finding] = plain_secrets(home, home / "project")
    assert (finding.path, finding.server, finding.variable) == (path, "", "")
    assert finding.what.startswith("not read: ")
    assert why in finding.what
    assert finding.line == text[: text.rfind(b'"a"')].count(b"\n") + 1


def test_an_empty_file_has_none(home: Path) -> None:
    (home / "project" / ".mcp.json").write_text("\n", encoding="utf-8")
    assert plain_secrets(home, home / "project") == []


def test_scan_leaves_with_3_and_says_where(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["secrets", "scan"]) == 0
    assert capsys.readouterr().out == "no secret lies open in the configurations of hosts\n"
    path = write(home, "cursor")
    assert main(["secrets", "scan"]) == 3
    said = capsys.readouterr().out
    where, what, hint = said.splitlines()
    assert where == f"{path}:9"
    assert what == f"  github: {VARIABLE} looks like a secret, by its name"
    assert hint.startswith(f"  do:  move it: `bulkhead secrets set {VARIABLE}`")
    assert main(["secrets", "scan", "--json"]) == 3
    [row] = json.loads(capsys.readouterr().out)
    assert (row["path"], row["line"], row["variable"]) == (str(path), 9, VARIABLE)
    assert TOKEN not in said + repr(row)


def test_a_home_that_is_the_project_is_looked_at_once(home: Path) -> None:
    write(home, "cursor")
    assert len(plain_secrets(home, home)) == 1
    [file] = find(home, home)
    [entry] = [entry for entry in entries(read(file)) if entry.name == "github"]
    assert secrets_in(entry) == [(VARIABLE, "a secret, by its name")]


@pytest.mark.parametrize(
    ("command", "value", "refused"),
    [
        ("bulkhead", TOKEN, True),
        ("/opt/.venv/bin/bulkhead", TOKEN, True),
        ("npx", TOKEN, False),
        ("bulkhead", "x", False),
    ],
)
def test_run_refuses_a_secret_that_its_hosts_file_gave_it(command: str, value: str, refused: bool, home: Path) -> None:
    entry = {"command": command, "args": ["run", "mine"], "env": {"MY_TOKEN": value}}
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"mcpServers": {"mine": entry}}, indent=1), encoding="utf-8")
    if not refused:
        require_none_in_plain({"MY_TOKEN": TOKEN}, home, home)
        return
    with pytest.raises(ProfileError, match=r"mcp\.json:\d+: MY_TOKEN of mine is refused") as error:
        require_none_in_plain({"MY_TOKEN": TOKEN}, home, home)
    assert "bulkhead secrets set MY_TOKEN" in error.value.hint
    assert TOKEN not in repr(vars(error.value))
    require_none_in_plain({"OTHER": TOKEN, "HOME": "/root"}, home, home)


@pytest.mark.engine
def test_a_host_that_gives_a_secret_in_plain_text_is_told(home: Path) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    entry = {"command": "bulkhead", "args": ["run", "time"], "env": {"MY_TOKEN": TOKEN}}
    file.write_text(json.dumps({"mcpServers": {"time": entry}}), encoding="utf-8")
    env = os.environ | {"HOME": str(home), "MY_TOKEN": TOKEN, "XDG_STATE_HOME": str(home / "state")}
    asked = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}\n'
    done = subprocess.run(
        [*BULKHEAD, "run", "time"], input=asked, env=env, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert answer["error"]["data"]["reason"] == "profile"
    assert "bulkhead secrets set MY_TOKEN" in answer["error"]["data"]["hint"]
    assert TOKEN.encode() not in done.stdout + done.stderr


PROFILE = """
[server]
package = "npm:server@1.0.0"
[[egress]]
host = "api.example.org"
ports = [443]
[[secrets]]
name = "MY_TOKEN"
from = "keyring:mine"
hosts = ["api.example.org"]
"""


@pytest.mark.parametrize(
    ("source", "variable", "told"),
    [("keyring:mine", "MY_TOKEN", 1), ("env:OTHER", "MY_TOKEN", 1), ("env:MY_TOKEN", "MY_TOKEN", 0), ("env:X", "Y", 0)],
)
def test_run_says_that_a_variable_of_the_host_is_not_used(
    source: str, variable: str, told: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = home / "mine.toml"
    profile.write_text(PROFILE.replace("keyring:mine", source), encoding="utf-8")
    monkeypatch.setenv(variable, TOKEN)
    said: list[str] = []
    args = Namespace(name=None, profile=profile, command=[], mount=[], allow=[], secret=[])
    assert known_target(args, said.append) is not None
    assert [line.startswith("mine: MY_TOKEN of the environment is not used") for line in said] == [True] * told
    assert TOKEN not in repr(said)
