"""What a server may take: the cgroup's own numbers, and bombs that end with their cause while others go on."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkhead.engines.base import Exit
from bulkhead.engines.hardening import HOME
from bulkhead.spec import Limits
from tests.conftest import until
from tests.security import inside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.guest import Guest, Inn

pytestmark = pytest.mark.engine

MIB = 2**20
SMALL = Limits(memory=64 * MIB, pids=32, tmp=MIB, open_files=64)
CGROUP = Path("/sys/fs/cgroup")
MEMORY = ("memory.limit_in_bytes", "memory.max")
# null zero full random urandom tty console ptmx, and pseudo-terminals; 10:200 is /dev/net/tun, which is not there.
DEVICES = {"1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2", "136:*", "10:200"}
TARGETS = ["/tmp", HOME, "/work", "/dev/shm"]  # noqa: S108


@pytest.fixture(scope="module")
def small(inn: Inn) -> Iterator[Guest]:
    with inn.guest("small", limits=SMALL) as guest:
        yield guest


def _cgroup(guest: Guest, controller: str, *names: str) -> list[str]:
    """What the guest's cgroup says, of version 1 or 2, in the file of these that is there."""
    lines = Path(f"/proc/{guest.init_pid}/cgroup").read_text(encoding="ascii").splitlines()
    for _, controllers, path in (line.split(":", 2) for line in lines):
        folder = CGROUP / controllers / path.lstrip("/")
        found = [name for name in names if (folder / name).exists()]
        if controller in controllers.split(",") or not controllers:
            return (folder / found[0]).read_text(encoding="ascii").split() if found else []
    return []


def test_memory_without_swap(small: Guest) -> None:
    assert _cgroup(small, "memory", *MEMORY) == [str(64 * MIB)]
    # Version 1 has the sum of memory and swap, version 2 swap alone.
    assert _cgroup(small, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max") in ([str(64 * MIB)], ["0"])


def test_processes_and_processors(small: Guest, inn: Inn) -> None:
    assert _cgroup(small, "pids", "pids.max") == ["32"]
    with inn.guest("slow", limits=Limits(cpus=0.5)) as slow:
        # Version 2 has quota and period in one file.
        assert _cgroup(slow, "cpu", "cpu.cfs_quota_us", "cpu.max")[0] == "50000"
        assert _cgroup(slow, "cpu", "cpu.cfs_period_us", "cpu.max")[-1] == "100000"


def test_no_device_beyond_the_least(small: Guest) -> None:
    """Version 2 has no file that tells; test_mounts.py tries to open one."""
    rules = _cgroup(small, "devices", "devices.list")
    open_to_all = {
        rule for rule, access in zip(rules[1::3], rules[2::3], strict=True) if "r" in access or "w" in access
    }
    assert open_to_all <= DEVICES


def test_open_files(small: Guest) -> None:
    assert small.ask(inside.limits)["nofile"] == [64, 64]
    assert small.refused(inside.limits_raised) == "EPERM"
    found = small.ask(inside.descriptors_until_refused, 1000)
    assert found == {"files": 64 - 3, "ended": "EMFILE"}


def test_a_crash_leaves_no_core(small: Guest) -> None:
    assert small.ask(inside.limits)["core"] == [0, 0]
    assert small.ask(inside.aborted) == []


@pytest.mark.parametrize("target", TARGETS)
def test_bytes_of_what_can_be_written(small: Guest, target: str) -> None:
    found = small.ask(inside.bytes_until_full, f"{target}/fill", 4 * MIB)
    assert found["ended"] == "ENOSPC"
    assert MIB // 2 < found["bytes"] <= MIB


@pytest.mark.parametrize("target", TARGETS)
def test_files_of_what_can_be_written(small: Guest, target: str) -> None:
    found = small.ask(inside.files_until_full, target, 1000)
    assert found["ended"] == "ENOSPC"
    assert 200 < found["files"] < 256


def test_files_in_memory_count_as_memory(inn: Inn) -> None:
    """However much /tmp may hold by its own cap."""
    with inn.guest("hoarder", limits=Limits(memory=32 * MIB, tmp=64 * MIB)) as hoarder:
        hoarder.tell(inside.filled, "/tmp/hoard", 48 * MIB)  # noqa: S108
        assert hoarder.ended().cause == "oom"


@contextmanager
def _unharmed(guest: Guest) -> Iterator[None]:
    """Before and after, another sandbox answers, and the host has its memory and its processes."""
    before = _host()
    yield
    assert guest.ask(inside.echo, "fine") == "fine"
    memory, processes = _host()
    assert memory > before[0] - 512 * MIB
    assert processes < before[1] + 200


def _host() -> tuple[int, int]:
    """The host's available memory in bytes, and its processes."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    available = next(int(row[1]) * 1024 for row in rows if row[0] == "MemAvailable:")
    return available, sum(path.name.isdigit() for path in Path("/proc").iterdir())


def _processes_of(uid: int) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and path.stat().st_uid == uid:
                found.append(int(path.name))
        except OSError:
            continue
    return found


@contextmanager
def _bomb(inn: Inn) -> Iterator[Guest]:
    """A guest that may do its worst: looked at before, so that a broken limit harms nobody's machine."""
    with inn.guest("bomb", limits=SMALL) as bomb:
        assert _cgroup(bomb, "pids", "pids.max") == [str(SMALL.pids)]
        assert _cgroup(bomb, "memory", *MEMORY) == [str(SMALL.memory)]
        yield bomb


def test_a_fork_bomb(inn: Inn, guest: Guest) -> None:
    with _unharmed(guest), _bomb(inn) as bomb:
        bomb.tell(inside.fork_bomb)
        until(lambda: bomb.usage().pids_refused > 100, 30)
        assert bomb.usage().pids <= 32
        assert guest.ask(inside.echo, "still here") == "still here"
        assert bomb.stop(limit="pids") == Exit("limit", 137, "pids")
        assert _processes_of(bomb.plan.uid) == []


def test_a_memory_bomb(inn: Inn, guest: Guest) -> None:
    with _unharmed(guest), _bomb(inn) as bomb:
        bomb.tell(inside.memory_bomb)
        ended = bomb.ended()
        assert ended.cause == "oom"
        assert bomb.usage().memory_peak_bytes <= SMALL.memory
        assert _processes_of(bomb.plan.uid) == []


@pytest.mark.parametrize("inodes", [False, True], ids=["bytes", "inodes"])
def test_a_full_tmp(inn: Inn, guest: Guest, inodes: bool) -> None:
    with _unharmed(guest), _bomb(inn) as bomb:
        if inodes:
            assert bomb.refused(inside.filled_with_files, "/tmp") == "ENOSPC"  # noqa: S108
        else:
            assert bomb.refused(inside.filled, "/tmp/fill", 4 * MIB) == "ENOSPC"  # noqa: S108
        assert bomb.usage().full == ("/tmp",)  # noqa: S108
        assert bomb.ask(inside.written, "/work/other", "x") == 1
