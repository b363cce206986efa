"""What whoever writes can rely on: the disk, the order, the group, checkpoints that others make."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from bulkhead.audit.commit import Group
from bulkhead.audit.log import AuditLog
from bulkhead.audit.record import START, Record, line_of, split
from bulkhead.audit.signing import Keys, open_keys
from bulkhead.audit.verify import verify
from bulkhead.errors import IntegrityError
from tests.audit.conftest import SESSION, lines_in, made, told

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = Keys(b"k" * 32)
TIME = "2026-11-21T16:23:51.215030Z"
HOSTILE = 'a"b\\c\n\x1b[2J\u202e\ud800|= \U000e0041'


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record(
        "request", "deny", HOSTILE, SESSION, method="tools/call", tool=HOSTILE, request_id="7", trace_id="a" * 32,
        reason="denied", notes=(HOSTILE, "two"), actor="me@host",
        details={HOSTILE: HOSTILE, "yes": True, "no": False, "count": 3, "seconds": 0.5, "never": float("inf")},
    )  # fmt: skip
    line, link = line_of(record, START, TIME, KEYS.mac)
    assert line.isascii()
    assert line.count(b"\n") == 1
    sealed = split(line)
    assert sealed is not None
    assert (sealed.link, sealed.is_whole, sealed.mac) == (link, True, KEYS.mac(link.hash))
    data = json.loads(line)
    assert data == sealed.read()
    assert data["details"] == dict(record.details) | {"never": "inf"}
    assert (data["tool"], data["notes"], data["actor"]) == (HOSTILE, [HOSTILE, "two"], "me@host")


def test_what_is_empty_is_left_out_and_a_long_name_is_cut() -> None:
    line, _ = line_of(Record("connection", "", "s", SESSION, tool="x" * 5000), START, TIME, KEYS.mac)
    data = json.loads(line)
    assert list(data) == ["v", "seq", "time", "event", "server", "session", "tool", "prev", "hash", "mac"]
    assert data["tool"] == "x" * 1000 + " (5000 characters)"


def test_a_seal_is_hmac_sha256() -> None:
    import hmac

    secret = hmac.digest(b"k" * 32, b"bulkhead audit record", "sha256")
    assert KEYS.mac("00") == hmac.digest(secret, b"00", "sha256")[:16].hex()
    assert KEYS.head_mac("00") == hmac.digest(secret, b"head 00", "sha256")[:16].hex()


def test_files_are_the_users_alone(folder: Path, fill: Callable[..., None]) -> None:
    fill(2)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    own = {"log.jsonl": 0o600, "head": 0o600, "lock": 0o600, "key": 0o600}
    assert modes == {"audit": 0o700, "key.pub": 0o644, **own}


def test_a_file_that_is_no_key_is_refused_and_left(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "key").write_text("short\n")
    with pytest.raises(IntegrityError, match="is not the audit log's key") as caught:
        AuditLog(folder)
    assert (caught.value.reason, (folder / "key").read_text()) == ("audit", "short\n")
    (folder / "key").unlink()
    assert open_keys(folder).mac("00") == open_keys(folder).mac("00")


def test_openssl_verifies_a_checkpoint(folder: Path, fill: Callable[..., None], tmp_path: Path) -> None:
    """What docs/audit.md says of it is enough to do so."""
    fill(3)
    data = json.loads(lines_in(folder)[-1])
    details = data["details"]
    text = f"bulkhead audit checkpoint 1\n3\n{data['prev']}\n3\n{data['time']}\n{details['key']}\n"
    (tmp_path / "text").write_text(text)
    (tmp_path / "signature").write_bytes(bytes.fromhex(details["signature"]))
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(folder / "key.pub")]
    files = ["-in", str(tmp_path / "text"), "-sigfile", str(tmp_path / "signature")]
    assert subprocess.run([*command, *files], check=False, capture_output=True).returncode == 0


def test_it_is_on_the_disk_when_write_returns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of bytes at the sync is that of all that was written."""
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))

    async def main() -> None:
        log = AuditLog(folder)
        for count in range(3):
            await log.write(made())
            assert len(synced) == count + 1
            assert synced[-1] == (folder / "log.jsonl").stat().st_size
        log.add(made())
        assert synced[-1] == (folder / "log.jsonl").stat().st_size

    anyio.run(main)


def test_a_lone_write_takes_no_turn_of_the_loop(folder: Path) -> None:
    log = AuditLog(folder)
    with pytest.raises(StopIteration):
        log.write(made()).send(None)
    assert len(lines_in(folder)) == 1


def test_a_disk_that_cannot_sync_stops_all_writers_for_good(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel could not write it has forgotten: a later sync would say nothing of it."""

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def main() -> None:
        log = AuditLog(folder)
        await log.write(made())
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", fail)
            with pytest.raises(IntegrityError, match="cannot be written") as caught:
                await log.write(made())
            assert caught.value.why == os.strerror(errno.EIO)
        with pytest.raises(IntegrityError, match="cannot be written"):
            await log.write(made())
        log.close()

    anyio.run(main)


class Disk:
    """Syncs that are counted; slow ones wait until they are let go."""

    def __init__(self, *, slow: bool) -> None:
        self.syncs = 0
        self.begun, self.go = Event(), Event()
        self.slow = slow

    def sync(self) -> None:
        self.syncs += 1
        if self.slow:
            self.begun.set()
            assert self.go.wait(30)


def crowd(*, slow: bool) -> tuple[Disk, Group]:
    """A group in which somebody has just synced, and on a slow disk it took long."""
    disk = Disk(slow=False)
    group = Group(disk.sync)
    group.sync()
    disk.slow, disk.syncs = slow, 0
    group._took, group._ended = (1.0, 0.0) if slow else (0.0, 1e18)
    return disk, group


@pytest.mark.parametrize("slow", [False, True])
def test_those_who_write_at_once_share_syncs_and_go_on_in_their_order(slow: bool) -> None:
    disk, group = crowd(slow=slow)
    order: list[int] = []

    async def one(number: int) -> None:
        await group.commit()
        order.append(number)

    async def main() -> None:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(one, number)
                await _until(lambda: len(group._queue) == 20 or not slow)
                disk.go.set()

    anyio.run(main)
    assert order == list(range(20))
    assert disk.syncs <= 2


async def _until(happened: Callable[[], object]) -> None:
    while not happened():
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_writer_that_is_cancelled_breaks_nobody_elses_commit(place: int) -> None:
    """0: the one that syncs, whose thread goes on alone."""
    disk, group = crowd(slow=True)
    done: list[int] = []
    scopes: list[anyio.CancelScope] = []

    async def one(number: int) -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await group.commit()
            done.append(number)

    async def main() -> None:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    tasks.start_soon(one, number)
                await _until(lambda: len(group._queue) == 3 and disk.begun.is_set())
                scopes[place].cancel()
                await _until(lambda: len(group._queue) == 2)
                disk.go.set()
            await group.commit()
            assert (list(group._queue), group._leaving) == ([], 0)

    anyio.run(main)
    assert done == [number for number in range(3) if number != place]


def test_a_failed_sync_is_everybodys() -> None:
    disk, group = crowd(slow=False)
    failed = []

    async def one() -> None:
        try:
            await group.commit()
        except OSError as error:
            failed.append(error.errno)

    def fail() -> None:
        raise OSError(errno.EIO, "no")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            group._sync = fail
            for _ in range(5):
                tasks.start_soon(one)

    anyio.run(main)
    assert (failed, disk.syncs) == ([errno.EIO] * 5, 0)


@pytest.mark.parametrize("way", ["write", "add"])
def test_checkpoints_come_with_the_number_of_records(folder: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(AuditLog, "most_unsigned", 10)

    async def main() -> None:
        log = AuditLog(folder, sync=False)
        for _ in range(25):
            await log.write(made()) if way == "write" else log.add(made())
            if log._thread:
                log._thread.join()
        log.close()

    anyio.run(main)
    events = [json.loads(line)["event"] for line in lines_in(folder)]
    assert [place for place, event in enumerate(events) if event == "checkpoint"] == [10, 21, 27]
    assert told(verify(folder)) == []


def test_a_checkpoint_comes_with_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(folder, sync=False)
    log.add(made())
    assert len(lines_in(folder)) == 1
    monkeypatch.setattr(AuditLog, "longest_unsigned", 0.0)
    log.add(made())
    assert b'"event":"checkpoint"' in lines_in(folder)[-1]


def test_an_end_without_news_signs_nothing(folder: Path, fill: Callable[..., None]) -> None:
    fill(1)
    AuditLog(folder).close()
    assert len(lines_in(folder)) == 2


def test_rotation_keeps_the_chain_and_a_crash_in_its_middle_costs_nothing(
    folder: Path, fill: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(self: Path, target: object) -> None:
        raise KeyboardInterrupt

    log = AuditLog(folder, sync=False)
    for _ in range(10):
        log.add(made())
    monkeypatch.setattr(AuditLog, "max_bytes", 1000)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            AuditLog(folder, sync=False).add(made())
    assert (folder / "log-000001.jsonl").stat().st_ino == (folder / "log.jsonl").stat().st_ino
    assert told(verify(folder)) == []
    fill(1)
    assert (folder / "log-000001.jsonl").stat().st_ino != (folder / "log.jsonl").stat().st_ino
    assert not (folder / "log-000002.jsonl").exists()
    assert told(verify(folder)) == []
    log.add(made())
    assert told(verify(folder)) == []


def test_what_writes_a_record_needs_no_library_for_signatures(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bulkhead.audit.log import AuditLog\n"
        "from bulkhead.audit.record import Record\n"
        "AuditLog(Path(sys.argv[1])).add(Record('request', 'allow', 's', '0' * 12))\n"
        "print(*[name for name in sys.modules if name.split('.')[0] in ('cryptography', 'tarfile', 'http', 'rich')])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "audit")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == ""


def test_closed_is_closed(folder: Path, fill: Any) -> None:
    log = AuditLog(folder)
    log.close()
    log.close()
    with pytest.raises(IntegrityError, match="cannot be written") as caught:
        log.add(made())
    assert caught.value.why == "it is closed"
