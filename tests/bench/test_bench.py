"""What the bench measures is what it says: percentiles, memory, an echo, and one hardening for both containers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from bulkhead.engines.hardening import Bind, Plan, Tmpfs
from tests.bench import report, ways
from tests.bench.bench import percentile
from tests.bench.memory import family
from tests.bench.session import Session

PLAN = Plan(
    id="bench",
    server="echo",
    image="sha256:" + "1" * 64,
    command=("/bin/server", "--flag"),
    env={"HOME": "/home/x"},
    working_dir="/work",
    uid=70001,
    gid=70002,
    seccomp="{}",
    cpus=0.5,
    memory=77 * 2**20,
    pids=33,
    open_files=99,
    tmpfs=(Tmpfs("/tmp", 4096, 64), Tmpfs("/run", 8192, 32, exec=True, mode=0o700)),  # noqa: S108
    binds=(Bind("/a", "/b", write=False), Bind("/c", "/d", write=True)),
)


def test_a_percentile_is_a_measured_value() -> None:
    assert [percentile(range(1, 101), percent) for percent in (50, 99, 100)] == [50, 99, 100]
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([5.0], 99) == 5.0


def test_memory_is_the_processes_own() -> None:
    with Session([sys.executable, str(ways.HERE / "server.py")]) as session:
        assert 0 < session.open() < 30
        (server,) = family(session.process.pid)
        # The kernel's two counts of it differ by what the processors have not added up yet.
        assert abs(server.rss - psutil.Process(session.process.pid).memory_info().rss) < 2**20
        assert 0 < server.uss <= server.pss <= server.rss
        assert server.rss in [member.rss for member in family(os.getpid())[1:]]


def test_the_server_echoes_both_sizes() -> None:
    with Session([sys.executable, str(ways.HERE / "server.py")]) as session:
        session.open()
        assert all(session.echo("x" * size) > 0 for size in (100, 1_000_000))


def test_a_server_that_ends_is_no_measurement() -> None:
    with pytest.raises(SystemExit, match="ended with 7"), Session([sys.executable, "-c", "exit(7)"]) as session:
        session.open()


def test_docker_run_gets_the_whole_plan() -> None:
    line = " ".join(ways._docker(PLAN, Path("/filter.json")))
    for flag in (
        "--init", "--rm", "--log-driver=none", "--network=none", "--read-only", "--cap-drop=ALL", "no-new-privileges",
        "seccomp=/filter.json", "--user=70001:70002", "--workdir=/work", f"--memory={77 * 2**20}",
        f"--memory-swap={77 * 2**20}", "--cpus=0.5", "--pids-limit=33", "nofile=99", "core=0", "--env=HOME=/home/x",
        "/tmp:rw,nosuid,nodev,noexec,size=4096,nr_inodes=64,mode=1777", "/run:rw,nosuid,nodev,exec,size=8192",  # noqa: S108
        "source=/a,target=/b,readonly", "source=/c,target=/d ", f"--entrypoint=/bin/server {PLAN.image} --flag",
    ):  # fmt: skip
        assert flag in line


def test_aims_are_judged() -> None:
    times = {"direct": 0.1, "docker run -i": 1.0, "bulkhead": 1.2}
    calls = {way: {"p50": seconds * 1e-3, "p99": 1.0} for way, seconds in times.items()}
    memory = family(os.getpid())
    numbers = {"starts": {"echo": times}, "calls": {100: calls, 1_000_000: calls}, "memory": {"bulkhead": memory}}
    start, small, large, runner = report.aims(numbers)
    assert (start.held, str(start)) == (True, "1.20 x")
    assert (small.held, str(small)) == (False, "200 us")
    assert (large.held, str(large)) == (True, "1.20 x")
    assert runner.held == (memory[0].rss <= 45e6)
