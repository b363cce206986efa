"""The official conformance suite in server mode: Bulkhead in front of a server costs it no check.

The suite speaks Streamable HTTP only, so bridge.py stands between. The fixture passes everything that a stdio server
can pass; the same fixture behind `bulkhead run` must pass each of the same checks.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.conftest import run_command
from tests.protocol.npm import node
from tests.servers.profiles import write_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

DIRECT = [sys.executable, "-m", "tests.servers.fixture"]
# The suite's version, its arguments, and the checks that a whole run passes over stdio.
SUITES = {
    "conformance-0.1": (["--suite", "all"], 44),
    "conformance-0.2": (["--requirements", "2025-11-25"], 81),
}


@contextmanager
def bridged(command: Sequence[str], *, spares: int = 0) -> Iterator[str]:
    """The URL of a command behind the bridge."""
    line = [sys.executable, "-m", "tests.protocol.bridge", "--spares", str(spares), "--", *command]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as bridge:
        assert bridge.stdout is not None
        port = int(bridge.stdout.readline())
        try:
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            bridge.terminate()


def judge(modules: Path, arguments: Sequence[str], url: str, results: Path) -> tuple[set[str], set[str], str]:
    """The checks that passed and failed, as SCENARIO/CHECK, and the suite's own last lines."""
    suite = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    command = [node(modules), str(suite), "server", "--url", url, "-o", str(results), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    passed: set[str] = set()
    failed: set[str] = set()
    for file in results.glob("*/checks.json"):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", file.parent.name)
        for check in json.loads(file.read_text()):
            chosen = {"SUCCESS": passed, "FAILURE": failed}.get(check["status"], set())
            chosen.add(f"{scenario}/{check['id']}")
    return passed, failed, run.stdout[-3000:] + run.stderr[-1000:]


@pytest.mark.parametrize("version", SUITES)
def test_bulkhead_costs_no_check(version: str, npm: Callable[[str], Path], tmp_path: Path) -> None:
    modules = npm(version)
    arguments, whole = SUITES[version]
    with bridged(DIRECT) as url:
        direct, failed, told = judge(modules, arguments, url, tmp_path / "direct")
    assert failed == set(), told
    assert f"Total: {whole} passed, 0 failed" in told
    behind = run_command(write_profile(tmp_path, "fixture"))
    with bridged(behind, spares=2) as url:
        passed, failed, told = judge(modules, arguments, url, tmp_path / "behind")
    assert failed == set(), told
    assert direct - passed == set(), told
    assert f"Total: {whole} passed, 0 failed" in told
