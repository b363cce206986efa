"""frames.py: however a stream is cut into reads, the lines are the same, and never more than the cap is held."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.frames import Overlong, Splitter

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 32
ENDS = 1024
LINES = st.lists(st.binary(max_size=3 * LIMIT).map(lambda line: line.replace(b"\n", b"")), max_size=12)


def fed(limit: int, pieces: Iterable[bytes]) -> list[bytes | Overlong]:
    splitter = Splitter(limit)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    rest = splitter.end()
    return lines if rest is None else [*lines, rest]


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    places = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def expected(lines: Iterable[bytes], limit: int) -> list[bytes | Overlong]:
    return [line if len(line) <= limit else Overlong(len(line), line[:ENDS], line[-ENDS:]) for line in lines if line]


@given(LINES, st.lists(st.integers(min_value=0), max_size=20), st.booleans())
def test_any_cut_of_a_stream_gives_its_lines(lines: list[bytes], at: list[int], ended: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    assert fed(LIMIT, cut(data, at)) == expected(lines, LIMIT)


@given(st.integers(2, 3000), st.integers(1, 3000), st.integers(1, 500))
def test_both_ends_of_an_overlong_line_are_kept(limit: int, over: int, step: int) -> None:
    line = bytes(ord("a") + place % 26 for place in range(limit + over))
    pieces = [line[at : at + step] for at in range(0, len(line), step)]
    assert fed(limit, [*pieces, b"\n"]) == [Overlong(len(line), line[:ENDS], line[-ENDS:])]


def test_a_line_of_the_cap_passes_and_one_byte_more_does_not() -> None:
    assert fed(LIMIT, [b"x" * LIMIT + b"\n"]) == [b"x" * LIMIT]
    assert fed(LIMIT, [b"x" * (LIMIT + 1) + b"\n"]) == [Overlong(LIMIT + 1, b"x" * 33, b"x" * 33)]


def test_an_overlong_line_spoils_no_line_after_it() -> None:
    assert fed(LIMIT, [b"x" * 100, b"x\nfine\n", b"y" * 33, b"\n", b"z"])[1::2] == [b"fine", b"z"]


def test_what_has_no_newline_comes_out_once_at_the_end() -> None:
    splitter = Splitter(LIMIT)
    assert list(splitter.feed(b"half a li")) == []
    assert splitter.end() == b"half a li"
    assert splitter.end() is None


@pytest.mark.parametrize("step", [1, 2, 7, 2**12])
def test_an_endless_line_holds_no_more_than_the_cap(step: int) -> None:
    # Large beside what the threads of other tests allocate meanwhile.
    limit, splitter, piece = 2**17, Splitter(2**17), b"xy" * (step // 2) + b"x" * (step % 2)
    tracemalloc.start()
    try:
        for _ in range(4 * limit // step):
            assert list(splitter.feed(bytes(bytearray(piece)))) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * limit + 3 * step
    line = splitter.end()
    assert isinstance(line, Overlong)
    assert line.size == 4 * limit // step * step
