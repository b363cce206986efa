"""What judging costs a call: all guards, pins and the audit log, with and without the disk's sync, beside none of it.

The same echo server in three runners, by turns. The disk's own part is told apart, because it is the disk's: a sync of
300 us is twice what the rest may cost.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.bench.percentile import p50_and_p99, percentile
from tests.bench.session import Session
from tests.bench.ways import BIN, profile

if TYPE_CHECKING:
    from pathlib import Path

BARE, UNSYNCED, JUDGED = WAYS = ("bare", "judged", "judged, synced")
_TEXT = "x" * 100
_WARM_UP = 50
_RECORD = 600  # bytes
_RULES = """
[guards]
rules = '''forbid(principal, action, resource) when { context.arguments has path };'''
"""


def measure_judging(folder: Path, *, rounds: int, calls: int) -> dict[str, Any]:
    """{"calls": {way: {p50, p99}}, "rules": {p50, p99}, "sync": p50} in seconds.

    calls echo 100 B; rules: the last way with a Cedar policy besides; sync: an append of a record and its fdatasync.
    """
    path = profile(folder, "judged", "server.py")
    ruled = profile(folder, "ruled", "server.py")
    ruled.write_text(ruled.read_text(encoding="utf-8") + _RULES, encoding="utf-8")
    with ExitStack() as stack:
        sessions = {way: _opened(stack, command) for way, command in _commands(folder, path, ruled).items()}
        taken: dict[str, list[float]] = {way: [] for way in sessions}
        for _ in range(rounds):
            for way, session in sessions.items():
                taken[way] += [session.echo(_TEXT) for _ in range(calls)]
    found = {way: p50_and_p99(values) for way, values in taken.items()}
    return {"calls": {way: found[way] for way in WAYS}, "rules": found["ruled"], "sync": _sync(folder)}


def _commands(folder: Path, path: Path, ruled: Path) -> dict[str, list[str]]:
    unsynced = folder / "unsynced"
    (unsynced / "bulkhead").mkdir(parents=True, exist_ok=True)
    (unsynced / "bulkhead" / "config.toml").write_text("[audit]\nsync = false\n", encoding="utf-8")
    run = [str(BIN / "bulkhead"), "run", "--profile"]
    return {
        BARE: [sys.executable, "-m", "tests.bench.bare", "run", "--profile", str(path)],
        UNSYNCED: ["env", f"XDG_CONFIG_HOME={unsynced}", *run, str(path)],
        JUDGED: [*run, str(path)],
        "ruled": [*run, str(ruled)],
    }


def _opened(stack: ExitStack, command: list[str]) -> Session:
    session = stack.enter_context(Session(command))
    session.open()
    for _ in range(_WARM_UP):
        session.echo(_TEXT)
    return session


def _sync(folder: Path) -> float:
    """The median of an append and its fdatasync, where the state folder's disk is."""
    path = folder / "sync"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    taken = []
    for _ in range(200):
        begun = time.perf_counter()
        os.write(fd, b"x" * _RECORD)
        os.fdatasync(fd)
        taken.append(time.perf_counter() - begun)
    os.close(fd)
    path.unlink()
    return percentile(taken, 50)
