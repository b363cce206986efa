"""`bulkhead audit`: what a person and a program see, and the exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.audit.log import AuditLog
from bulkhead.audit.record import Record
from tests.audit.conftest import SESSION, lines_in, made, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_COMMAND = [sys.executable, "-m", "bulkhead", "audit"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH", "LANG", "LC_ALL")}
    return kept | {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "TZ": "UTC"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the command looks."""
    return tmp_path / "bulkhead" / "audit"


@pytest.fixture
def audit(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_COMMAND, *map(str, arguments)],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


def test_verify_says_what_it_found_and_ends_with_8(audit: Any, fill: Any, folder: Path) -> None:
    fill(3)
    done = audit("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 records, 1 checkpoints, signed up to record 4 by key" in done.stdout
    assert "the log is whole" in done.stdout
    anchor = re.search(r"^anchor  (4:[0-9a-f]{64})$", done.stdout, re.MULTILINE)
    assert anchor
    put(folder, lines_in(folder)[:2])
    done = audit("verify", "--anchor", anchor[1])
    assert done.returncode == 8
    assert "FAILED  records 3 to 4: the end is missing: the head names the last of them" in done.stdout
    assert "FAILED  record 4: not what the anchor says: there is no such record" in done.stdout
    assert "the log is not what was written" in done.stdout


def test_verify_for_programs(audit: Any, fill: Any, folder: Path) -> None:
    fill(3, closed=False)
    report = json.loads(audit("verify", "--json").stdout)
    assert (report["ok"], report["records"], report["signed"]) == (True, 3, 0)
    assert [(found["kind"], found["failed"]) for found in report["findings"]] == [("unsigned", False)]
    put(folder, lines_in(folder)[1:])
    done = audit("verify", "--json")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (8, False)


@pytest.mark.parametrize("form", ["raw", "json", "anchors"])
def test_an_anchor_is_read_from_what_was_exported(
    audit: Any, fill: Any, folder: Path, tmp_path: Path, form: str
) -> None:
    fill(3)
    exported = {
        "raw": (folder / "log.jsonl").read_text(),
        "json": audit("export", "--format", "json").stdout,
        "anchors": "".join(f"{data['seq']}:{data['hash']}\n" for data in map(json.loads, lines_in(folder))),
    }[form]
    (tmp_path / "kept").write_text(exported)
    assert audit("verify", "--anchor", tmp_path / "kept").returncode == 0
    (tmp_path / "kept").write_text(re.sub(r"[0-9a-f]{64}", "0" * 64, exported))
    assert audit("verify", "--anchor", tmp_path / "kept").returncode == 8
    (tmp_path / "kept").write_text("nothing\n")
    assert audit("verify", "--anchor", tmp_path / "kept").returncode == 2


def test_tail_shows_lines_that_a_terminal_takes_as_they_are(audit: Any, folder: Path) -> None:
    log = AuditLog(folder)
    log.add(made("old"))
    log.add(Record("request", "deny", "web", SESSION, method="tools/call", tool="x\x1b[2J\u202e", reason="denied"))
    log.add(made("[bold]new", server="git"))
    log.close()
    done = audit("tail", "-n", "3")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    first = done.stdout.splitlines()[0]
    assert re.fullmatch(
        r"\d\d-\d\d [\d:]{8}  0123456789ab  web  request  tools/call x\ufffd\[2J\ufffd  deny  denied", first
    )
    assert "[bold]new" in done.stdout
    only = audit("tail", "--server", "git", "--json").stdout.splitlines()
    assert [json.loads(line)["tool"] for line in only] == ["[bold]new"]


def test_tail_f_shows_what_comes(fill: Any, folder: Path, environment: dict[str, str]) -> None:
    fill(1, closed=False)
    command = [*_COMMAND, "tail", "-f", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["seq"] == 1
        fill(1, closed=False)
        assert json.loads(process.stdout.readline())["seq"] == 2
        process.terminate()


@pytest.mark.parametrize("form", ["ocsf", "cef", "ecs", "json"])
def test_export_prints_a_line_a_record(audit: Any, fill: Any, form: str) -> None:
    fill(4)
    done = audit("export", "--format", form, "--since", "3")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)


def test_export_that_follows_goes_on_where_it_was(
    fill: Any, folder: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    command = [*_COMMAND, "export", "--format", "json", "--follow", "--to", "out"]
    for count in (2, 4):
        fill(1)
        with subprocess.Popen(command, env=environment, cwd=tmp_path) as process:
            while _noted(folder) < count:
                assert process.poll() is None
            process.terminate()
    lines = (tmp_path / "out").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4]


def _noted(folder: Path) -> int:
    """What the cursor says."""
    return max((json.loads(path.read_text())["seq"] for path in folder.glob("export/*.json")), default=0)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("export", "--format", "json", "--follow"), "has no target"),
        (("export", "--format", "json", "--to", "http://siem.example.com/"), "is not used"),
        (("verify", "--anchor", "x"), "is no anchor"),
        (("verify", "--key", "nowhere"), "cannot be read"),
        (("bundle", "f" * 12, "-o", "x.tar.gz"), "no record is of a session"),
    ],
)
def test_what_cannot_be_done_is_told(audit: Any, fill: Any, arguments: tuple[str, ...], what: str) -> None:
    fill(1)
    done = audit(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert what in done.stderr


def test_no_log_is_told(audit: Any) -> None:
    done = audit("verify")
    assert (done.returncode, "there is no audit log yet" in done.stderr) == (2, True)


def test_a_bundle_is_signed_and_verifies_elsewhere(audit: Any, fill: Any, folder: Path, tmp_path: Path) -> None:
    fill(3, closed=False)
    assert audit("bundle", SESSION, "-o", "e.tar.gz").returncode == 0
    done = audit("verify", "e.tar.gz", "--key", folder / "key.pub")
    assert (done.returncode, "signed up to record 4" in done.stdout) == (0, True)


def test_unused_tells_rights_and_their_use(audit: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".config/bulkhead/servers").mkdir(parents=True)
    text = '[server]\npackage = "pypi:mcp-server-time@2026.10.19"\n[tools]\nallow = ["get_*", "put_*"]\n'
    (tmp_path / ".config/bulkhead/servers/mine.toml").write_text(text)
    log = AuditLog(folder)
    log.add(made("get_time", server="mine"))
    log.close()
    rows = json.loads(audit("unused", "mine", "--json").stdout)
    assert [(row["what"], row["used"]) for row in rows] == [("get_*", 1), ("put_*", 0)]
    shown = audit("unused", "mine").stdout.splitlines()
    assert re.fullmatch(r"mine +tool +get_\* +1 +\d\d-\d\d [\d:]{8} *", shown[1])
    assert re.fullmatch(r"mine +tool +put_\* +never +- *", shown[2])
