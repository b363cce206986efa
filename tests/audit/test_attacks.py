"""What somebody does to the log who has the files and not the key, and what `verify` says of it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.audit.log import AuditLog
from bulkhead.audit.record import Record, split
from bulkhead.audit.signing import PUBLIC, public_from
from bulkhead.audit.verify import verify
from bulkhead.errors import IntegrityError
from tests.audit.conftest import lines_in, made, put, rechained, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Ten records, a checkpoint (11), ten records (12 to 21) that nobody signed.
SIGNED, ALL = 11, 21


@pytest.fixture
def log(folder: Path, fill: Callable[..., None]) -> Path:
    """As above; the writer was killed."""
    fill(10)
    fill(10, closed=False)
    return folder


def edited(line: bytes) -> bytes:
    return line.replace(b'"decision":"allow"', b'"decision":"denyy"')


def test_an_honest_log_is_whole_and_its_unsigned_tail_is_told(log: Path) -> None:
    report = verify(log)
    assert (report.records, report.checkpoints, report.signed, told(report)) == (ALL, 1, SIGNED, [])
    assert [(note.kind, note.first, note.last) for note in report.findings] == [("unsigned", 12, ALL)]


@pytest.mark.parametrize("seq", [1, 5, 10, 12, ALL])
def test_an_edit_is_found_where_it_is(log: Path, seq: int) -> None:
    lines = lines_in(log)
    lines[seq - 1] = edited(lines[seq - 1])
    put(log, lines)
    assert told(verify(log)) == [("edit", seq, seq)]


def test_an_edit_that_leaves_no_record_is_found(log: Path) -> None:
    lines = lines_in(log)
    lines[4] = lines[4].replace(b'"seq"', b'"sEq"')
    put(log, lines)
    assert told(verify(log)) == [("damage", 5, 5), ("deletion", 5, 5)]


@pytest.mark.parametrize(("first", "last"), [(1, 1), (5, 5), (3, 9), (11, 11), (12, 20), (2, 20)])
def test_deletion_is_found_with_its_bounds(log: Path, first: int, last: int) -> None:
    lines = lines_in(log)
    put(log, lines[: first - 1] + lines[last:])
    assert ("deletion", first, last) in told(verify(log))


@pytest.mark.parametrize("left", [20, 12, 11, 10, 1, 0])
def test_a_cut_tail_is_found_also_where_a_checkpoint_ends_it(log: Path, left: int) -> None:
    put(log, lines_in(log)[:left])
    assert told(verify(log)) == [("truncation", left + 1, ALL)]


def test_a_cut_tail_stays_told_when_a_writer_goes_on(log: Path, fill: Callable[..., None]) -> None:
    put(log, lines_in(log)[:15])
    fill(3)
    report = verify(log)
    assert told(report) == [("truncation", 16, 16)]
    assert "records 16 to 21 had been written before" in report.findings[0].text()


def test_a_head_made_of_a_records_own_seal_is_none(log: Path) -> None:
    lines = lines_in(log)[:15]
    put(log, lines)
    last = split(lines[-1])
    assert last is not None
    (log / "head").write_text(f"{15:020} {last.hash} {0:020} {last.mac}\n")
    assert told(verify(log)) == [("head", 0, 0)]


@pytest.mark.parametrize("content", [None, b"", b"x" * 140])
def test_a_head_that_is_gone_is_told_by_verify_and_by_the_next_writer(
    log: Path, content: bytes | None, fill: Callable[..., None]
) -> None:
    (log / "head").unlink() if content is None else (log / "head").write_bytes(content)
    assert told(verify(log)) == [("head", 0, 0)]
    fill(1)
    assert told(verify(log)) == [("truncation", 22, 22)]


def test_two_records_that_changed_places_are_found(log: Path) -> None:
    lines = lines_in(log)
    lines[4], lines[5] = lines[5], lines[4]
    put(log, lines)
    assert told(verify(log)) == [("reordering", 5, 5)]


def test_a_record_that_stands_there_twice_is_found(log: Path) -> None:
    lines = lines_in(log)
    put(log, [*lines[:8], lines[3], *lines[8:]])
    assert told(verify(log)) == [("reordering", 4, 4)]


def test_a_rewrite_with_all_hashes_made_anew_is_found(log: Path) -> None:
    lines = lines_in(log)
    lines[4] = edited(lines[4])
    put(log, rechained(lines, 4))
    assert told(verify(log)) == [("seal", 5, 11), ("signature", 11, 11), ("seal", 12, ALL), ("head", 0, 0)]


def test_a_rewrite_of_the_unsigned_tail_is_found(log: Path) -> None:
    lines = lines_in(log)
    lines[15] = edited(lines[15])
    put(log, rechained(lines, 15))
    assert ("seal", 16, ALL) in told(verify(log))


def test_without_the_secret_the_signature_still_tells_and_nothing_else_is_believed(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(log, copy)
    (copy / "key").unlink()
    assert told(verify(copy)) == [("unproven", 12, ALL)]
    lines = lines_in(copy)
    lines[4] = edited(lines[4])
    put(copy, rechained(lines, 4))
    assert ("signature", 11, 11) in told(verify(copy))


def test_what_another_key_sealed_is_not_continued(log: Path) -> None:
    lines = lines_in(log)
    lines[-1] = edited(lines[-1])
    put(log, rechained(lines, len(lines) - 1))
    with pytest.raises(IntegrityError, match="is not continued") as caught:
        AuditLog(log)
    assert caught.value.reason == "audit"


def test_an_older_copy_of_all_files_is_told_only_by_an_anchor(log: Path, tmp_path: Path, fill: Any) -> None:
    """It is what was written, at an earlier time: nothing in the folder can say that there was more."""
    shutil.copytree(log, tmp_path / "older")
    fill(5)
    anchor = verify(log).end
    shutil.rmtree(log)
    shutil.copytree(tmp_path / "older", log)
    assert told(verify(log)) == []
    assert told(verify(log, anchors={anchor.seq: anchor.hash})) == [("anchor", anchor.seq, anchor.seq)]


def test_a_log_that_was_made_anew_with_the_key_is_told_only_by_an_anchor(log: Path, fill: Any) -> None:
    """Who has the user's rights has the key."""
    first = split(lines_in(log)[10])
    assert first is not None
    for name in ("log.jsonl", "head"):
        (log / name).unlink()
    fill(30)
    assert told(verify(log)) == []
    assert told(verify(log, anchors={11: first.hash})) == [("anchor", 11, 11)]


def test_records_of_an_older_log_with_the_same_key_do_not_fit(log: Path, fill: Any) -> None:
    """Each is sealed, and its number is right."""
    older = lines_in(log)
    for name in ("log.jsonl", "head"):
        (log / name).unlink()
    fill(30)
    lines = lines_in(log)
    put(log, [*lines[:4], older[4], *lines[5:]])
    assert told(verify(log)) == [("chain", 5, 6)]


def test_a_swapped_key_is_found(log: Path, tmp_path: Path) -> None:
    AuditLog(tmp_path / "strange").close()
    shutil.copy(tmp_path / "strange" / "key", log / "key")
    kinds = {kind for kind, _, _ in told(verify(log))}
    assert kinds == {"key", "seal", "head"}


def test_a_log_made_with_another_key_is_told_by_a_public_key_that_was_kept(log: Path, fill: Any) -> None:
    kept = public_from((log / PUBLIC).read_bytes(), "kept")
    shutil.rmtree(log)
    fill(10)
    assert told(verify(log)) == []
    assert ("key", 11, 11) in told(verify(log, key=kept))


def test_a_missing_rotated_file_is_found_and_an_anchor_stands_for_one_that_was_archived(
    folder: Path, fill: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AuditLog, "max_bytes", 4000)
    fill(30)
    rotated = sorted(folder.glob("log-*.jsonl"))
    assert len(rotated) > 1
    assert told(verify(folder)) == []
    last = split(rotated[0].read_bytes().splitlines()[-1])
    assert last is not None
    rotated[0].unlink()
    report = verify(folder)
    assert told(report) == [("deletion", 1, last.seq), ("file", 0, 0)]
    assert "log-000001.jsonl, which ended with record" in report.findings[-1].text()
    assert told(verify(folder, anchors={last.seq: last.hash})) == []
    rotated[1].unlink()
    assert "file" in {kind for kind, _, _ in told(verify(folder, anchors={last.seq: last.hash}))}


def test_a_line_that_was_cut_short_is_kept_and_told(log: Path, fill: Callable[..., None]) -> None:
    """The machine stopped: the head was not written yet, and nobody had relied on the record."""
    with (log / "log.jsonl").open("ab") as file:
        file.write(b'{"v":1,"seq":22,"time":"2026-')
    fill(2)
    report = verify(log)
    assert told(report) == []
    assert [note.kind for note in report.findings] == ["torn"]
    assert b'{"v":1,"seq":22,"time":"2026-\n' in lines_in(log)


def test_an_end_that_an_attacker_cut_short_is_no_crash(log: Path, fill: Callable[..., None]) -> None:
    whole = b"".join(lines_in(log))
    put(log, [whole[:-10]])
    assert ("truncation", ALL, ALL) in told(verify(log))
    fill(1)
    assert ("truncation", 22, 22) in told(verify(log))


_WRITER = """
import sys
from pathlib import Path
from bulkhead.audit.log import AuditLog
from bulkhead.audit.record import Record
AuditLog.max_bytes = int(sys.argv[3])
log = AuditLog(Path(sys.argv[1]), sync=False)
print("open", flush=True)
for number in range(int(sys.argv[2])):
    log.add(Record("request", "allow", "github", sys.argv[4], details={"number": number}))
log.close()
"""


def writer(folder: Path, count: int, name: str, max_bytes: int = 2**26) -> subprocess.Popen[bytes]:
    """A process of its own that has the log open."""
    command = [sys.executable, "-c", _WRITER, str(folder), str(count), str(max_bytes), name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process


@pytest.mark.parametrize("max_bytes", [2**26, 100_000])
def test_two_processes_append_at_once_and_rotate(folder: Path, max_bytes: int) -> None:
    writers = [writer(folder, 3000, name, max_bytes) for name in ("a" * 12, "b" * 12)]
    for process in writers:
        process.communicate(timeout=120)
        assert process.returncode == 0
    report = verify(folder)
    assert told(report) == []
    own = report.records - report.checkpoints - len(list(folder.glob("log-*.jsonl")))
    assert own == 6000
    assert (max_bytes < 2**26) == bool(list(folder.glob("log-*.jsonl")))


def test_two_processes_that_begin_at_once_have_one_key(folder: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(folder), "50", "1000000", "c" * 12]
    begun = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(60) for process in begun] == [0] * 4
    assert told(verify(folder)) == []
    assert verify(folder).records >= 200


def test_a_killed_writer_leaves_a_log_that_goes_on(folder: Path, fill: Callable[..., None]) -> None:
    process = writer(folder, 10**6, "d" * 12)
    while (folder / "log.jsonl").stat().st_size < 300_000:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    fill(5)
    assert told(verify(folder)) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], check=False).returncode:
        pytest.skip("no tmpfs can be mounted")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_stops_calls_and_nothing_half_written_is_trusted(small_disk: Path) -> None:
    folder = small_disk / "audit"
    log = AuditLog(folder)
    large = Record("request", "allow", "github", "0" * 12, details={"arguments": "x" * 3000})
    with pytest.raises(IntegrityError, match="cannot be written") as caught:
        _repeat(lambda: log.add(large))
    assert caught.value.reason == "audit"
    assert caught.value.why == os.strerror(errno.ENOSPC)
    report = verify(folder)
    assert (told(report), lines_in(folder)[-1][-1:]) == ([], b"\n")
    whole = report.records
    with pytest.raises(IntegrityError):
        log.add(large)
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    log.add(made())
    log.close()
    assert (told(verify(folder)), verify(folder).records) == ([], whole + 2)


def _repeat(work: Callable[[], None]) -> None:
    for _ in range(10_000):
        work()


def test_a_folder_that_cannot_be_written_stops_the_start(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(IntegrityError, match="cannot be written") as caught:
        AuditLog(small_disk / "audit")
    assert (caught.value.reason, caught.value.why) == ("audit", os.strerror(errno.EROFS))


def test_a_log_that_is_replaced_by_a_copy_is_the_one_that_goes_on(folder: Path) -> None:
    """Of the same size: a restored backup, or an editor that saved."""
    log = AuditLog(folder)
    log.add(made())
    shutil.copy(folder / "log.jsonl", folder / "copy")
    (folder / "copy").replace(folder / "log.jsonl")
    log.add(made())
    assert len(lines_in(folder)) == 2
    assert told(verify(folder)) == []


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_log_that_vanishes_while_it_is_written_is_told(folder: Path, how: str) -> None:
    log = AuditLog(folder)
    for _ in range(5):
        log.add(made())
    path = folder / "log.jsonl"
    path.unlink() if how == "removed" else path.rename(folder / "elsewhere")
    log.add(made())
    log.close()
    report = verify(folder)
    assert told(report) == [("truncation", 1, 1)]
    assert "records 1 to 5 had been written before" in report.findings[0].text()
