"""`bulkhead demo`: it runs to its end, in 80 columns and without colour where nobody looks, and never shows a lie."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bulkhead.cli.demo.acts import ATTEMPTS, CALLS, refusal
from bulkhead.cli.demo.picture import draw
from bulkhead.errors import LimitError, UnenforceableError
from bulkhead.spec import Limits

BULKHEAD = Path(sys.executable).with_name("bulkhead")


@pytest.mark.engine
def test_the_demo_runs_to_its_end(tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    command = [str(BULKHEAD), "demo", "--svg", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    for server in CALLS:
        assert [line for line in lines if re.match(rf"  {server} +\d[\d.]+ +[0-9a-f]{{12}} +\d+ ", line)]
    refused = [line for line in lines if "refused: " in line or "stopped: " in line]
    assert len(refused) == len(ATTEMPTS)
    for shown in ("Echo: hello", "sees 2 processes", "stopped: oom", "stopped: pids", "answered by a fresh container"):
        assert shown in done.stdout
    assert re.search(r"From inside: uid \d{6,}, capabilities 0, seccomp 2, no_new_privs 1\.", done.stdout)
    assert re.search(r"stranger  tools/call fork_bomb .* pids", done.stdout)
    assert "stopped:&#160;pids" in picture.read_text(encoding="utf-8")


def test_an_attempt_that_succeeds_ends_the_demo() -> None:
    allowed = {"content": [{"type": "text", "text": "is root"}], "isError": False}
    with pytest.raises(UnenforceableError, match="become root") as caught:
        refusal(allowed, "become root", Limits())
    assert caught.value.why == "is root"


def test_a_limit_is_shown_with_its_size() -> None:
    shown = refusal(LimitError("limit reached", reason="oom"), "take all the memory", Limits(memory=64 * 2**20))
    assert str(shown) == "stopped: oom, at its 64 MiB of memory"


def test_the_picture_has_no_other_host(tmp_path: Path) -> None:
    with (tmp_path / "output").open("w") as output:
        console = Console(record=True, width=40, file=output)
        console.print("seen", style="green")
    picture = draw(console, "title")
    assert "seen" in picture
    assert "title" in picture
    assert set(re.findall(r"https?://[^\"'/\s]+", picture)) == {"http://www.w3.org"}
