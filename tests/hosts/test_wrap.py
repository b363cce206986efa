"""`bulkhead wrap` and `unwrap`: the least of each host's file changes, and all of it comes back."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import keyring
import keyring.backends.fail
import pytest
from keyrings.alt.file import PlaintextKeyring

from bulkhead.cli import main
from bulkhead.cli.wrap import _program
from bulkhead.config import find_profile, load_profile
from bulkhead.errors import BulkheadError, UnreadableError
from bulkhead.hosts import files
from bulkhead.hosts.base import entries, find, read
from bulkhead.hosts.edits import with_commands
from bulkhead.hosts.wrapping import Left, Wrapped, wrap
from tests.hosts.configs import CONFIGS, TOKEN, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulkhead.hosts.base import ConfigFile, Entry

VARIABLE = "GITHUB_PERSONAL_ACCESS_TOKEN"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of the test's own with a keyring in a file, and an empty project as the current folder."""
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    backend = PlaintextKeyring()
    backend.file_path = str(tmp_path / "keyring.cfg")
    keyring.set_keyring(backend)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    yield tmp_path
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]


def kept(name: str) -> str | None:
    return keyring.get_password(name, VARIABLE)


def only(home: Path) -> ConfigFile:
    [file] = find(home, home / "project")
    return file


def by_name(home: Path) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries(read(only(home)))}


@pytest.mark.parametrize("host", CONFIGS)
def test_only_command_arguments_and_variables_change(host: str, home: Path) -> None:
    path = write(home, host)
    before, old = read(only(home)), by_name(home)
    assert main(["wrap", "--yes"]) == 0
    after, new = read(only(home)), by_name(home)
    assert {name: (it.command, it.args, it.env) for name, it in new.items() if name in ("time", "github")} == {
        "time": (_program(), ("run", "time-2"), {}),
        "github": (_program(), ("run", "github"), {}),
    }
    assert [
        entry for name, entry in new.items() if name not in ("time", "github") and entry.args != old[name].args
    ] == []
    assert TOKEN not in after.text
    # Whatever was written besides, comments and blanks too, is there in its order.
    _, _, env = after.file.host.words
    left, gone = after.text, before.text
    for word in (_program(), '["run", "time-2"]', '["run", "github"]', "{}"):
        left = left.replace(word, "")
    position = 0
    for character in "".join(left.split()).replace('""', ""):
        position = gone.find(character, position) + 1
        assert position, (character, env, path)


@pytest.mark.parametrize("host", CONFIGS)
def test_unwrap_gives_the_very_bytes_back(host: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(home, host)
    path.chmod(0o640)
    data = path.read_bytes()
    assert main(["wrap", host, "--yes"]) == 0
    backup = path.with_name(f"{path.name}.bulkhead-backup")
    assert (backup.read_bytes(), stat.S_IMODE(backup.stat().st_mode)) == (data, 0o600)
    assert path.read_bytes() != data
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert main(["unwrap", "--yes"]) == 0
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (data, 0o640)
    assert [item for item in path.parent.iterdir() if path.name in item.name] == [path]
    assert TOKEN not in capsys.readouterr().out
    assert list((home / ".local/state/bulkhead/wrapped").iterdir()) == []


@pytest.mark.parametrize("host", CONFIGS)
def test_unwrap_leaves_what_was_edited_since(host: str, home: Path) -> None:
    path = write(home, host)
    assert main(["wrap", "--yes"]) == 0
    edited = (
        path.read_bytes().replace(b'"time"', b'"clock"').replace(b"time:", b"clock:").replace(b"s.time]", b"s.clock]")
    )
    mark = b"# note\n" if path.suffix in (".toml", ".yaml") else b"// note\n"
    path.write_bytes(edited if edited.startswith(b"\xef") else mark + edited)
    assert main(["unwrap", "--yes"]) == 0
    found = by_name(home)
    assert found["github"].env == {VARIABLE: TOKEN}
    assert found["github"].args == ("-y", "@modelcontextprotocol/server-github@2025.4.8")
    assert found["clock"].args == ("run", "time-2")


def test_the_profile_says_what_the_entry_said_and_no_more(home: Path) -> None:
    write(home, "cursor")
    assert main(["wrap", "--yes"]) == 0
    spec = load_profile(find_profile("github", home))
    assert spec.server.package == "npm:@modelcontextprotocol/server-github@2025.4.8"
    assert (spec.server.args, dict(spec.server.env), spec.mounts, spec.egress) == ((), {}, (), ())
    assert [(it.name, it.source, it.use) for it in spec.secrets] == [(VARIABLE, f"keyring:github/{VARIABLE}", "env")]
    assert kept("github") == TOKEN
    profile = find_profile("github", home)
    assert (stat.S_IMODE(profile.stat().st_mode), TOKEN in profile.read_text()) == (0o600, False)
    assert load_profile(find_profile("time-2", home)).server.args == ("--local-timezone=UTC",)


def test_a_dry_run_shows_all_and_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(home, "cursor")
    data = path.read_bytes()
    assert main(["wrap", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert path.read_bytes() == data
    assert sorted(item.name for item in path.parent.iterdir()) == ["mcp.json"]
    assert not (home / ".config/bulkhead").exists()
    assert TOKEN not in said
    assert f"changes  {path}:5: github\n  becomes: bulkhead run github\n" in said
    assert '  | package = "npm:@modelcontextprotocol/server-github@2025.4.8"\n' in said
    assert f"  to the keyring: {VARIABLE}\n" in said
    assert f"stays    {path}:12: remote\n  it is remote" in said


def test_nobody_to_ask_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(home, "cursor").read_bytes()
    assert main(["wrap"]) == 2
    assert "give --yes" in capsys.readouterr().err
    assert (home / ".cursor/mcp.json").read_bytes() == data


def test_one_server_of_two_hosts_has_one_profile_unless_its_secret_differs(home: Path) -> None:
    write(home, "cursor")
    write(home, "gemini")
    write(home, "zed", token=TOKEN[::-1])
    assert main(["wrap", "--yes"]) == 0
    assert (kept("github"), kept("github-2"), kept("github-3")) == (TOKEN, TOKEN[::-1], None)
    names = [entry.args for file in find(home, home) for entry in entries(read(file)) if entry.name == "github"]
    assert names == [("run", "github"), ("run", "github"), ("run", "github-2")]


def test_wrapping_again_finds_nothing_new_and_a_new_server(home: Path) -> None:
    path = write(home, "claude-code")
    first = path.read_bytes()
    assert main(["wrap", "--yes"]) == 0
    second = path.read_bytes()
    assert main(["wrap", "--yes"]) == 0
    assert path.read_bytes() == second
    path.write_bytes(
        second.replace(b'"/home/me/other": {}', b'"/o": {"mcpServers": {"n": {"command": "npx", "args": ["s@1.0.0"]}}}')
    )
    third = path.read_bytes()
    assert main(["wrap", "--yes"]) == 0
    assert b'"run", "n"' in path.read_bytes()
    assert main(["unwrap", "--yes"]) == 0
    assert json.loads(path.read_bytes())["projects"]["/o"] == json.loads(third)["projects"]["/o"]
    assert json.loads(path.read_bytes())["mcpServers"] == json.loads(first)["mcpServers"]


def test_one_file_that_cannot_be_read_and_nothing_is_touched(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(home, "cursor")
    data = path.read_bytes()
    write(home, "zed").write_text('{"context_servers": {"a": 1}}', encoding="utf-8")
    assert main(["wrap", "--yes"]) == 2
    assert "zed/settings.json:1: 'a' is no server" in capsys.readouterr().err
    assert path.read_bytes() == data
    assert not (home / ".config/bulkhead").exists()


def _change(home: Path) -> files.Change:
    document = read(only(home))
    entry = by_name(home)["github"]
    return files.Change(document, with_commands(document, [(entry, ("b", ("run", "x")))]), (entry.pointer,))


def test_a_file_that_is_edited_meanwhile_is_not_touched(home: Path) -> None:
    path = write(home, "cursor")
    change = _change(home)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(BulkheadError, match="was edited meanwhile"):
        files.apply([change], state=home)
    assert path.read_text(encoding="utf-8") == "{}"
    assert not (home / "wrapped").exists()


def test_a_read_only_file_is_not_touched(home: Path) -> None:
    path = write(home, "cursor")
    path.chmod(0o444)
    with pytest.raises(BulkheadError, match="is read-only"):
        files.apply([_change(home)], state=home)
    assert sorted(item.name for item in path.parent.iterdir()) == ["mcp.json"]


def test_a_symlink_stays_one(home: Path) -> None:
    path = write(home, "cursor")
    real = home / "dotfiles.json"
    path.rename(real)
    path.symlink_to(real)
    data = real.read_bytes()
    files.apply([_change(home)], state=home)
    assert path.is_symlink()
    assert b'"b"' in real.read_bytes()
    assert (home / "dotfiles.json.bulkhead-backup").read_bytes() == data
    files.restore(only(home), state=home)
    assert (path.is_symlink(), real.read_bytes()) == (True, data)


def test_a_backup_that_is_another_is_not_put_back(home: Path) -> None:
    path = write(home, "cursor")
    [backup] = files.apply([_change(home)], state=home)
    data = path.read_bytes()
    backup.write_text("{}", encoding="utf-8")
    with pytest.raises(BulkheadError, match="is not the backup"):
        files.restore(only(home), state=home)
    assert path.read_bytes() == data


def test_an_entry_that_was_edited_is_left_and_told(home: Path) -> None:
    path = write(home, "cursor")
    [backup] = files.apply([_change(home)], state=home)
    path.write_bytes(path.read_bytes().replace(b'"run", "x"', b'"run", "y"'))
    data = path.read_bytes()
    done = files.restore(only(home), state=home)
    assert (done.exactly, done.left) == (False, ("github",))
    assert path.read_bytes() == data
    assert backup.exists()


def test_variables_in_pieces_cannot_be_changed(home: Path) -> None:
    path = write(home, "codex")
    path.write_text('[mcp_servers.github]\ncommand = "npx"\nargs = ["s@1.0.0"]\nenv.A = "1"\n', encoding="utf-8")
    with pytest.raises(UnreadableError, match="cannot be changed"):
        _change(home)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"command": "npx", "args": ["s@^1"]}, "is not one version"),
        ({"command": "npx", "args": ["-y"]}, "no package is named"),
        ({"command": "npx", "args": ["--registry=https://r.example", "s@1.0.0"]}, "is not understood"),
        ({"command": "npx", "args": ["s@1.0.0"], "cwd": "/srv"}, "a working folder"),
        ({"command": "npx", "args": ["s@1.0.0"], "envFile": ".env"}, "its envFile adds variables"),
        ({"command": "npx", "args": ["s@1.0.0"], "env": {"A": "${input:a}"}}, "the host itself fills in A"),
        ({"command": "npx", "args": ["s@1.0.0", "${workspaceFolder}"]}, "fills in an argument"),
        ({"command": "npx", "args": ["s@1.0.0", "--token", "hunter2"]}, "looks like a secret"),
        ({"command": "npx", "args": ["s@1.0.0", "./here"]}, "from the host's own folder"),
        ({"command": "npx", "args": ["s@1.0.0", "/nowhere/at/all"]}, "is not there"),
        ({"command": "podman", "args": ["run", "x"]}, "a container already"),
        ({"command": "/usr/bin/bulkhead", "args": ["run", "time"]}, "behind bulkhead already"),
        ({"command": "python", "args": ["-m", "x"]}, "only npx and uvx"),
        ({"url": "https://x.example"}, "it is remote"),
    ],
)
def test_what_is_left_alone_says_why(entry: dict[str, Any], why: str, home: Path) -> None:
    path = write(home, "cursor")
    path.write_text(json.dumps({"mcpServers": {"a": entry}}), encoding="utf-8")
    row = wrap(by_name(home)["a"], "a", newest=lambda _: "1.0.0")
    assert isinstance(row, Left)
    assert why in row.why


def test_what_a_project_has_is_left_alone(home: Path) -> None:
    (home / "project/.mcp.json").write_text('{"mcpServers": {"a": {"command": "npx", "args": ["s@1.0.0"]}}}')
    row = wrap(by_name(home)["a"], "a", newest=lambda _: "")
    assert isinstance(row, Left)
    assert "the project's" in row.why


def test_a_folder_is_mounted_to_be_read_and_a_version_is_asked_for(home: Path) -> None:
    notes = home / "notes"
    notes.mkdir()
    path = write(home, "cursor")
    servers = {"a": {"command": "C:\\\\npx.cmd", "args": ["-y", "some-server", "~/notes"], "env": {"LEVEL": "info"}}}
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    row = wrap(by_name(home)["a"], "a", newest={"npm:some-server": "3.2.1"}.__getitem__)
    assert isinstance(row, Wrapped)
    profile = home / "a.toml"
    profile.write_text(row.profile, encoding="utf-8")
    spec = load_profile(profile)
    assert spec.server.package == "npm:some-server@3.2.1"
    [mount] = spec.mounts
    assert (mount.source, mount.target, mount.write) == (str(notes), "/mnt/notes", False)  # /tmp is the sandbox's own
    assert spec.server.args == ("/mnt/notes",)
    assert dict(spec.server.env) == {"LEVEL": "info"}


def test_what_cannot_be_written_is_told_in_words(home: Path) -> None:
    path = write(home, "cursor")
    data = path.read_bytes()
    (home / "wrapped").write_text("in the manifests' place", encoding="utf-8")
    with pytest.raises(BulkheadError, match="cannot be read or written") as caught:
        files.apply([_change(home)], state=home)
    assert (caught.value.why, path.read_bytes()) == ("File exists", data)
