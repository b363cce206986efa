"""Completion: what a shell is told at each place of a command line, in a real bash too."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkhead.cli import MODULES, completion, main
from bulkhead.cli.completion import FILES, words
from bulkhead.sessions import SessionStatus, path_of, write_session

if TYPE_CHECKING:
    from collections.abc import Iterator

BIN = Path(sys.executable).parent
# Answers as a shell would ask: the words of a line, the last one to be completed.
ASK = """source <(bulkhead completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_bulkhead
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """$HOME, with one profile, one running session, and an empty current folder."""
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(name)
    home, project = tmp_path / "home", tmp_path / "project"
    monkeypatch.setenv("HOME", str(home))
    project.mkdir()
    monkeypatch.chdir(project)
    servers, state = home / ".config/bulkhead/servers", home / ".local/state/bulkhead"
    servers.mkdir(parents=True)
    (servers / "mine.toml").write_text("this is no profile, and nobody asks")
    write_session(path_of(state, "abc"), SessionStatus("mine", os.getpid(), "mine-01234567"))
    write_session(path_of(state, "abd"), SessionStatus("odd", os.getpid(), "$(touch pwned)"))
    (state / "runners").mkdir()
    with (state / "runners" / "abc").open("w") as one, (state / "runners" / "abd").open("w") as other:
        for lock in (one, other):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield home


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", sorted(MODULES)),
        ("p", ["policy", "profile", "ps"]),
        ("--", ["--help", "--version"]),
        ("run mi", ["mine"]),
        ("run --pro", ["--profile"]),
        ("run --profile ", [FILES]),
        ("run --profile x mi", ["mine"]),
        ("run --mount ", []),
        ("run -- ", []),
        ("run -- npx ", []),
        ("call mine ", []),
        ("stop ", ["mine-01234567"]),
        ("kill mi", ["mine", "mine-01234567"]),
        ("kill mine ", []),
        ("kill mine --a", ["--all"]),
        ("profile ", ["check", "ls", "show"]),
        ("profile show mi", ["mine"]),
        ("profile show mine ", []),
        ("images build bulkhead/b", ["bulkhead/base"]),
        ("images build base mi", ["mine"]),
        ("audit export --format c", ["cef"]),
        ("wrap cu", ["cursor"]),
        ("import ", [FILES]),
        ("import --j", ["--json"]),
        ("completion ", ["bash", "fish", "zsh"]),
        ("secrets set x ", []),
        ("nonsense ", sorted(MODULES)),
    ],
)
def test_words(typed: str, expected: list[str]) -> None:
    *before, prefix = typed.split(" ")
    assert words(before, prefix) == expected


def test_every_command_and_option_is_there() -> None:
    for command in MODULES:
        assert command in words([], command)
        assert "--help" in words([command], "--")


def in_bash(*line: str) -> list[str]:
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "ask", *line], capture_output=True, text=True, check=True, env=env, timeout=60
    )
    assert done.stderr == ""
    return [word for word in done.stdout.split("\n") if word]


def test_a_real_bash() -> None:
    assert in_bash("bulkhead", "run", "mi") == ["mine"]
    assert in_bash("bulkhead", "kil") == ["kill"]
    assert set(in_bash("bulkhead", "tools", "--")) >= {"--profile", "--json", "--help"}
    assert in_bash("bulkhead", "stop", "") == ["mine-01234567"]
    assert in_bash("bulkhead", "run", "--", "n") == []
    Path("server.json").touch()
    Path("a folder").mkdir()
    assert in_bash("bulkhead", "import", "se") == ["server.json"]
    assert in_bash("bulkhead", "import", "a") == ["a folder"]
    assert not Path("pwned").exists()


def test_bash_has_it_registered() -> None:
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    script = "source <(bulkhead completion bash); complete -p bulkhead"
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "complete -F _bulkhead bulkhead\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_read_by_their_shells(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert "completion words --" in script.read_text()
    assert FILES in script.read_text()
    program = shutil.which(shell)
    assert program is not None, "make test installs it"
    done = subprocess.run([program, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "one of bash, zsh, fish" in capsys.readouterr().err


def test_it_is_cheap(home: Path) -> None:
    """No engine, and no pydantic: it runs at each key."""
    code = "from bulkhead.cli.completion import words; words(['run'], ''); words(['stop'], '')"
    program = f"import sys; {code}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    heavy = {"pydantic", "rich", "anyio", "docker", "bulkhead.engines.docker"}
    assert heavy & set(done.stdout.split()) == set()


def test_nothing_but_words_reaches_a_shell() -> None:
    assert completion.words(["stop"], "$") == []
