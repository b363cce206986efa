"""DNS messages, as far as a sandbox needs them: one question in, one answer out. PURE.

Rules: nothing is resolved here, and nothing of a question leaves; the question is echoed byte for byte, so that a
client that plays with upper and lower case (0x20) knows its answer; no answer is longer than 512 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

A = 1
ANY = 255
NXDOMAIN = 3


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked. name: lower case, no final dot, bytes that no name has as ``\\DDD``; type: as RFC 1035 numbers it."""

    id: int
    name: str
    type: int
    recursion: bool
    wire: bytes
    edns: bool

    @property
    def wants_address(self) -> bool:
        """Whether an IPv4 address answers it: the types A and ANY."""
        return self.type in (A, ANY)


def parse(query: bytes) -> Question | bytes | None:
    """The question of a query; or the answer to send at once (FORMERR, NOTIMP, REFUSED ...); or None: send nothing."""
    raise NotImplementedError


def reply(question: Question, *, address: str = "", rcode: int = 0, ttl: int = 60) -> bytes:
    """The answer. address: IPv4, for a question that wants one; without it the name exists and has no such record.

    rcode NXDOMAIN: there is no such name. ttl: seconds.
    """
    raise NotImplementedError


def take(buffer: bytearray) -> bytes | None:
    """Takes the next whole message of a TCP connection out of buffer; None if it is not all there yet.

    Raises ValueError for a length that no query has: the connection is of no use any more.
    """
    raise NotImplementedError


def framed(message: bytes) -> bytes:
    """The message as it stands on a TCP connection."""
    return len(message).to_bytes(2, "big") + message
