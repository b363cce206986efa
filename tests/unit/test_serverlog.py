"""serverlog.py: what a server writes to stderr is shown, bounded, and never harms who reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.serverlog import ServerLog, printable

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)


def log_in(folder: Path) -> ServerLog:
    return ServerLog(folder / "logs" / "test.log")


def on_disk(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "logs").iterdir()}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u00e9 \u4e2d \U0001f600\ttab", "plain \u00e9 \u4e2d \U0001f600\ttab"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m\x7f\x00\r", "\\x9b31m\\x7f\\x00\\r"),
        ("a\u202eb\u2066c\u200bd\ufeffe\u2028f\u061c", "a\\u202eb\\u2066c\\u200bd\\ufeffe\\u2028f\\u061c"),
        ("\U000e0041\U000e007f", "\\U000e0041\\U000e007f"),
    ],
)
def test_what_is_not_meant_to_be_seen_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(max_codepoint=0x2100) | st.characters(min_codepoint=0xE0000, max_codepoint=0xE0100)))
def test_nothing_unseen_is_left(text: str) -> None:
    assert UNSEEN.search(printable(text)) is None


def test_lines_go_to_the_file_and_the_last_are_kept(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.write(b"one\ntw")
    log.write(b"o\n\n  \nthree\nhal")
    assert log.last(2) == ["three", "hal"]
    assert log.last(9) == ["one", "two", "three", "hal"]
    log.write(b"f\n")
    assert log.last(1) == ["half"]
    assert on_disk(tmp_path) == {"test.log": b"one\ntwo\n\n  \nthree\nhalf\n"}


def test_no_words(tmp_path: Path) -> None:
    assert log_in(tmp_path).last(3) == []


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.write(b"\xff\xfe\xed\xa0\x80 \xc3")
    log.write(b"\xa9\n")
    assert log.last(1) == ["\ufffd\ufffd\ufffd\ufffd\ufffd \u00e9"]


@pytest.mark.parametrize(
    "line", [b"x" * 99 + b"\n", b"\xff" * 99 + b"\n", b"\x1b" * 99 + b"\n", b"x" * 5000 + b"\n", b"x"]
)
def test_a_flood_is_bounded_on_disk_and_in_memory(tmp_path: Path, line: bytes) -> None:
    log = log_in(tmp_path)
    flood = line * (2**16 // len(line))
    for _ in range(80):
        log.write(flood)
    files = on_disk(tmp_path)
    assert set(files) <= {"test.log", "test.log.1"}
    assert all(len(content) <= MIB for content in files.values())
    assert sum(map(len, log.last(20))) < 200_000
    log.write(b"\nthe last\n")
    assert log.last(1) == ["the last"]
    assert on_disk(tmp_path)["test.log"].endswith(b"the last\n")


def test_one_write_over_the_bound(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.write(b"\xff\n" * MIB + b"the last\n")
    assert len(on_disk(tmp_path)["test.log"]) <= MIB
    assert on_disk(tmp_path)["test.log"].endswith(b"the last\n")


def test_the_older_file_is_replaced(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for word in (b"first", b"second", b"third"):
        log.write((word + b"\n") * (900_000 // (len(word) + 1)))
    files = on_disk(tmp_path)
    assert (files["test.log.1"][:7], files["test.log"][:6]) == (b"second\n", b"third\n")


def test_a_disk_that_takes_nothing_loses_the_log_alone(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    (tmp_path / "logs").rmdir()
    (tmp_path / "logs").write_text("no folder any more")
    log.write(b"still here\n")
    assert log.last(1) == ["still here"]


def test_others_may_not_read_it(tmp_path: Path) -> None:
    log_in(tmp_path).write(b"x\n")
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "logs" / "test.log").stat().st_mode & 0o077 == 0
