"""The trace file: many writers, rotation, disks that are full, lines that are torn."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.trace_file import SpanLine, TraceFile, read_spans, trace_file

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import sys, pathlib
from tests.unit.test_trace_file import line
from bulkhead.trace_file import trace_file
file = trace_file(pathlib.Path(sys.argv[1]), max_bytes=20_000, keep=50)
for number in range(100):
    file.append([line(f"{sys.argv[2]}/{number}/{part}") for part in range(4)])
"""


def line(name: str, **change: Any) -> bytes:
    """A span as a line."""
    span: dict[str, Any] = {
        "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331", "parent_id": "", "name": name,
        "kind": "SERVER", "start": 1, "end": 2, "status": "UNSET", "attributes": {}, "events": [], "resource": {},
    }  # fmt: skip
    return json.dumps(span | change).encode() + b"\n"


def names(state: Path) -> list[str]:
    """The names of the spans that are read."""
    return [span.name for span in read_spans(state)]


def test_what_is_written_is_read_newest_last(tmp_path: Path) -> None:
    file = trace_file(tmp_path, max_bytes=10**6, keep=1)
    file.append([line("a", events=[{"name": "e", "time": 3, "attributes": {}}]), line("b")])
    file.append([line("c")])
    first, *_ = read_spans(tmp_path)
    assert first == SpanLine(
        "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "", "a", "SERVER", 1, 2, "UNSET", {},
        [{"name": "e", "time": 3, "attributes": {}}], {},
    )  # fmt: skip
    assert names(tmp_path) == ["a", "b", "c"]


def test_nothing_is_there_before_the_first_span(tmp_path: Path) -> None:
    assert names(tmp_path / "missing") == []


def test_only_the_user_can_read_it(tmp_path: Path) -> None:
    trace_file(tmp_path, max_bytes=10, keep=1).append([line("a")])
    folder = tmp_path / "traces"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {"traces": 0o700, "lock": 0o600, "spans.1.jsonl": 0o600}


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_a_full_file_is_rotated_and_the_oldest_goes(tmp_path: Path, keep: int) -> None:
    size = len(line("0"))
    file = trace_file(tmp_path, max_bytes=2 * size, keep=keep)
    for number in range(9):
        file.append([line(str(number))])
    assert names(tmp_path) == [str(number) for number in range(8 - 2 * keep, 9)]
    assert sum(path.stat().st_size for path in (tmp_path / "traces").iterdir()) <= (keep + 1) * 2 * size


def test_many_runners_lose_and_mix_nothing(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(number)]) for number in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    read = names(tmp_path)
    assert sorted(read) == sorted(f"{w}/{n}/{part}" for w in range(3) for n in range(100) for part in range(4))
    assert len(list((tmp_path / "traces").iterdir())) > 3, "nothing was rotated"
    for writer in range(3):
        own = [name for name in read if name.startswith(f"{writer}/")]
        assert own == [f"{writer}/{n}/{part}" for n in range(100) for part in range(4)]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{}",
        b"null",
        b"[1]",
        b"\xff\xfe",
        b"[" * 100_000,
        line("torn")[:40],
        line("x", attributes=None).strip(),
        line("x", kind=3).strip(),
        line("x", start=None).strip(),
        line("x", start=True).strip(),
        line("x", events=[1]).strip(),
        line("x", events=5).strip(),
        line("x", resource=[]).strip(),
    ],
)
def test_what_is_no_span_is_skipped(tmp_path: Path, broken: bytes) -> None:
    trace_file(tmp_path, max_bytes=10**6, keep=1).append([line("a"), broken + b"\n", line("b")])
    assert names(tmp_path) == ["a", "b"]


def test_a_later_versions_keys_are_left_out(tmp_path: Path) -> None:
    trace_file(tmp_path, max_bytes=10**6, keep=1).append([line("a", links=[])])
    assert names(tmp_path) == ["a"]


def test_a_rotation_while_it_is_read_neither_hides_nor_doubles(tmp_path: Path) -> None:
    file = trace_file(tmp_path, max_bytes=3 * len(line("0")), keep=5)
    file.append([line("0"), line("1"), line("2")])
    file.append([line("3"), line("4")])
    reading = read_spans(tmp_path)
    assert next(reading).name == "0"
    file.append([line("5")])
    file.append([line("6")])
    assert [span.name for span in reading][:4] == ["1", "2", "3", "4"]
    assert names(tmp_path) == list("0123456")


def test_another_runner_that_holds_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    file = trace_file(tmp_path, max_bytes=1, keep=1)
    folder = tmp_path / "traces"
    folder.mkdir()
    holder = subprocess.Popen(
        ["flock", "--shared", str(folder / "lock"), sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        file.append([line("a")])
        file.append([line("b")])
        assert names(tmp_path) == ["a", "b"]
        assert not (folder / "spans.1.jsonl").exists()
        holder.communicate(b"\n")


def test_a_file_that_another_runner_rotated_just_now_is_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "traces"

    def too_late(*_: int) -> None:
        (folder / "spans.jsonl").rename(folder / "spans.1.jsonl")

    monkeypatch.setattr("fcntl.flock", too_late)
    trace_file(tmp_path, max_bytes=1, keep=1).append([line("a")])
    assert names(tmp_path) == ["a"]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch()
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "spans.jsonl").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        trace_file(tmp_path, max_bytes=1, keep=1).append([line("a")])
    assert target.read_bytes() == b""


def test_a_line_that_was_torn_by_a_full_disk_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = TraceFile(tmp_path / "traces", max_bytes=10**6, keep=1)
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: len(data) // 2]))
        with pytest.raises(OSError, match="full"):
            file.append([line("torn")])
    file.append([line("a")])
    file.append([line("b")])
    assert names(tmp_path) == ["a", "b"]
