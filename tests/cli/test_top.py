"""`bulkhead top`: what it shows at 80 columns, of a real session too, and that it leaves the terminal as it was."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from bulkhead import approvals, killed, telemetry
from bulkhead.cli.top_frame import frame
from bulkhead.cli.top_rows import Counts, Held, Row, Snapshot, counted, held_here
from bulkhead.trace_file import SpanLine
from tests.conftest import BULKHEAD, OpenHost, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = "a-server-with-a-very-long-name"
NOW = 1_800_000_000.0
ROW = Row(
    id=f"{LONG}-01234567", server=LONG, state="running", started=NOW - 3723, cpu=0.954,
    cpus=1.0, memory=123 * 2**20, memory_limit=512 * 2**20, pids=17, pids_limit=128, counts=Counts(1234, 56, 7),
    last_end="oom", refused=("evil.example.com:443",),
)  # fmt: skip


def drawn(seen: Snapshot, *, height: int = 0, **options: Any) -> str:
    console = Console(width=80, highlight=False, markup=False, **options)
    with console.capture() as capture:
        console.print(frame(seen, width=80, height=height))
    return capture.get()


def test_a_frame_of_80_columns() -> None:
    idle = Row("", "other", "idle")
    held = (Held("call", "github", "ab12cd34 push", NOW + 90), Held("items", "time@01234567", "2 changed or new"))
    text = drawn(Snapshot(NOW, (ROW, idle), held, ("ALL",), ("no engine",)))
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, text.splitlines())) <= 80
    assert lines[0].endswith("1 running of 2, 2 held")
    assert lines[1].split() == ["SANDBOX", "UP", "CPU", "MEMORY", "PIDS", "CALLS", "CONN", "REF"]
    assert re.fullmatch(r"a-server-wit…-01234567 +1h02m +!95% +123M/512M +17/128 +1234 +56 +7", lines[2])
    assert lines[3].split() == ["other", "idle", "-", "-", "-", "0", "0", "0"]
    assert lines[4:] == [
        "held     github: push, 90 s left: bulkhead approve --call ab12cd34",
        "held     time@01234567: 2 changed or new: bulkhead approve time@01234567",
        "killed   all servers: bulkhead release --all",
        "refused  a-server-with-a-very-long-name: evil.example.com:443",
        "ended    a-server-with-a-very-long-name: oom",
        "problem  no engine",
    ]


def test_colour_says_nothing_that_words_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Snapshot(NOW, (ROW,), (Held("items", "time", "1 changed or new"),), (), ("no engine",))
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[33m" in drawn(seen, force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    bare = drawn(seen, force_terminal=True, color_system="standard")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", bare)
    assert "!95%" in re.sub(r"\x1b\[[0-9;]*m", "", bare)


def test_a_name_gives_the_terminal_no_order() -> None:
    odd = Row("x\x1b[2J", "a\x1b[2Jb", "running", NOW, refused=("\u202eevil",))
    text = drawn(Snapshot(NOW, (odd,), (Held("call", "a", "id \x1b]0;t", NOW),)))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_many_rows_fit_the_terminal() -> None:
    rows = tuple(Row(f"{number:012x}", "time", "running", NOW) for number in range(50))
    text = drawn(Snapshot(NOW, rows, (), ("time",)), height=24)
    assert len(text.splitlines()) <= 24
    assert "killed   time: bulkhead release time" in text
    shown = sum(line.startswith("0000") for line in text.splitlines())
    assert f"and {50 - shown} more: bulkhead ps" in text


def span(kind: str, **attributes: Any) -> SpanLine:
    return SpanLine("t", "s", "", "x", kind, 1, 2, "OK", {telemetry.SANDBOX_ID: "one"} | attributes, (), {})


def test_counts() -> None:
    call, to = {telemetry.METHOD: "tools/call"}, {telemetry.SERVER_ADDRESS: "example.com"}
    spans = [
        span("SERVER", **call),
        span("CLIENT", **call),
        span("SERVER", **{telemetry.METHOD: "tools/list"}),
        span("CLIENT", **to, **{telemetry.DECISION: "allow"}),
        span("CLIENT", **to, **{telemetry.DECISION: "deny"}),
        span("CLIENT", **to, **{telemetry.DECISION: "deny"}),
    ]
    assert counted(spans) == {"one": Counts(calls=1, connections=1, refused=2)}


def test_what_is_held(tmp_path: Path) -> None:
    digest = approvals.digest_of("github", "tools/call", "push", {})
    approvals.put(tmp_path, approvals.waiting("github", "push", {}, digest=digest, why="asks", seconds=60))
    (tmp_path / "pins" / "broken").mkdir(parents=True)
    (tmp_path / "pins" / "broken" / "held.json").write_text("{")
    held, problems = held_here(tmp_path)
    assert [(it.kind, it.server, it.what.partition(" ")[2]) for it in held] == [("call", "github", "push")]
    assert len(problems) == 1
    assert "held.json cannot be read" in problems[0]


def environment(state: Path, **variables: str) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(state), "TERM": "xterm", **variables}


def once(state: Path, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*BULKHEAD, "top", *args]
    env = environment(state, **variables)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=env)


def test_without_an_engine_the_rest_is_shown(tmp_path: Path) -> None:
    state = tmp_path / "bulkhead"
    killed.mark(state, "time", "why not", "ada")
    done = once(tmp_path, "--json", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["killed"] == ["time"]
    assert seen["problems"][0].startswith("the container engine does not answer")


@pytest.mark.parametrize("interval", ["0", "x", "nan", "1e9"])
def test_an_odd_interval(interval: str, tmp_path: Path) -> None:
    done = once(tmp_path, "--interval", interval)
    assert done.returncode == 2
    assert "SECONDS is a number from 0.1 to 3600" in done.stderr


@pytest.mark.engine
def test_a_session(open_host: OpenHost, state: Path) -> None:
    host = open_host(memory="48MiB")
    assert host.text("echo", text="hello")

    def row() -> dict[str, Any]:
        seen = json.loads(once(state, "--json").stdout)
        rows: list[dict[str, Any]] = [it for it in seen["rows"] if it["server"] == host.name]
        return rows[0]

    until(lambda: row()["counts"]["calls"] == 1, within=20)  # spans are written by a thread
    found = row()
    assert found["state"] == "running"
    assert found["runner"] == host.process.pid
    assert (found["memory_limit"], found["pids_limit"], found["cpus"]) == (48 * 2**20, 32, 1.0)
    assert 0 < found["memory"] <= found["memory_limit"]
    assert 0 < found["pids"] <= found["pids_limit"]
    assert 0 <= found["cpu"] <= 1.5
    assert found["cpu_seconds"] > 0
    done = once(state, "--once", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert found["id"][-9:] in done.stdout


class Screen:
    """`bulkhead top` on a terminal of 80 columns and 24 lines."""

    def __init__(self, state: Path, *, leader: bool = True) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        command = [*BULKHEAD, "top", "--interval", "0.1"]
        env = environment(state, DOCKER_HOST=f"unix://{state}/none.sock")
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=leader
        )
        self.heard = b""

    def hear(self, wanted: bytes, count: int = 1) -> None:
        deadline = time.monotonic() + 30
        while self.heard.count(wanted) < count:
            assert time.monotonic() < deadline, self.heard
            if select.select([self.ours], [], [], 0.2)[0]:
                self.heard += os.read(self.ours, 65536)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    """Opened, and past its second frame."""
    opened = Screen(tmp_path)
    opened.hear(b"SANDBOX", count=2)
    yield opened
    opened.close()


@pytest.mark.parametrize("how", ["q", "ctrl-c", "SIGTERM", "SIGHUP"])
def test_the_terminal_is_as_before(screen: Screen, how: str) -> None:
    assert not termios.tcgetattr(screen.theirs)[3] & termios.ICANON
    assert b"\x1b[?1049h" in screen.heard
    if how == "q":
        os.write(screen.ours, b"xq")
    else:
        screen.process.send_signal(getattr(signal, how, signal.SIGINT))
    assert screen.process.wait(timeout=20) == 0
    screen.hear(b"\x1b[?1049l")
    screen.hear(b"\x1b[?25h")
    assert termios.tcgetattr(screen.theirs) == screen.before
