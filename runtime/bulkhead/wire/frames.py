"""Newline framing with a cap: bytes in, whole lines out, never more than the cap held.

A line over the cap is thrown away while it streams in. What is kept of it, its two ends, is enough to find the id of
the call that it meant to answer: some servers write "id" first, Node's write it last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDS = 1024


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line over the cap: its size in bytes, and its first and last bytes."""

    size: int
    head: bytes
    tail: bytes


class Splitter:
    """Splits one direction's bytes into lines. limit: the largest line in bytes, newline not counted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Not a list of pieces: a server that writes byte by byte would make 60 bytes of each.
        self._held = bytearray()
        self._size = 0
        self._head = b""
        self._tail = b""

    def feed(self, data: bytes) -> Iterator[bytes | Overlong]:
        """The lines that data completes, without their newline; empty ones are left out."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._hold(data[start:end])
            start = end + 1
            if self._size:
                yield self._take()
        if start < len(data):
            self._hold(data[start:])

    def end(self) -> bytes | Overlong | None:
        """What is left without a newline when the stream has ended; None if nothing is."""
        return self._take() if self._size else None

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._limit:
            self._held += piece
            return
        if self._held:
            self._head, self._tail = bytes(self._held[:_ENDS]), bytes(self._held[-_ENDS:])
            self._held = bytearray()
        if len(self._head) < _ENDS:
            self._head += piece[: _ENDS - len(self._head)]
        self._tail = (self._tail + piece[-_ENDS:])[-_ENDS:]

    def _take(self) -> bytes | Overlong:
        if self._size > self._limit:
            line: bytes | Overlong = Overlong(self._size, self._head, self._tail)
        else:
            line = bytes(self._held)
        self._held, self._size, self._head, self._tail = bytearray(), 0, b"", b""
        return line
