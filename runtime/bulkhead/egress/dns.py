"""DNS messages, as far as a sandbox needs them: one question in, one answer out. PURE.

Rules: nothing is resolved here, and nothing of a question leaves; what is no plain query of one question is answered
with an error, and never looked at further; the question is echoed byte for byte, so that a client that plays with upper
and lower case (0x20) knows its answer; no answer is longer than 512 bytes, which every asker can take.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from socket import AF_INET, inet_pton

A, OPT, ANY = 1, 41, 255
NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 3, 4, 5, 16
_IN = 1
# TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: transactions, which are no lookup of a record.
_TRANSACTIONS = range(249, 255)

_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_QR, _OPCODE, _TC, _RD, _RA = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080
# EDNS: what is said to be taken here, over UDP; a query is far shorter.
_LARGEST = 4096
_NAME_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_*")


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked. wire: the question as it came, to be echoed; edns: whether the asker speaks EDNS.

    name: lower case, without the final dot; a byte that stands in no name is written ``\\DDD``, so that a dot inside a
    label is no dot between two. type: a number of RFC 1035, such as A.
    """

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


class _FormatError(Exception):
    """The message is not as RFC 1035 and RFC 6891 say."""


def parse(query: bytes) -> Question | bytes | None:
    """The question of a query; or the answer to send at once (FORMERR, NOTIMP, REFUSED ...); or None: send nothing."""
    if len(query) < _HEADER.size:
        return None
    id_, flags, *counts = _HEADER.unpack_from(query)
    if flags & _QR:
        return None  # an answer to an answer would go round for ever
    if flags & _OPCODE:
        return _HEADER.pack(id_, _answering(flags, NOTIMP), 0, 0, 0, 0)
    try:
        return _question(query, id_, flags, counts)
    except _FormatError:
        return _HEADER.pack(id_, _answering(flags, FORMERR), 0, 0, 0, 0)


def reply(question: Question, *, address: str = "", rcode: int = NOERROR, ttl: int = 60) -> bytes:
    """The answer. address: IPv4, for a question that wants one; without it the name exists and has no such record.

    rcode NXDOMAIN: there is no such name. ttl: seconds.
    """
    # C00C points to the question's name: it stands behind the header, always.
    answer = b"\xc0\x0c" + _RECORD.pack(A, _IN, ttl, 4) + inet_pton(AF_INET, address) if address else b""
    # The upper bits of a code above 15 stand in the OPT record.
    additional = b"\0" + _RECORD.pack(OPT, _LARGEST, rcode >> 4 << 24, 0) if question.edns else b""
    flags = _answering(_RD if question.recursion else 0, rcode & 15)
    header = _HEADER.pack(question.id, flags, 1, bool(answer), 0, bool(additional))
    return header + question.wire + answer + additional


def take(buffer: bytearray) -> bytes | None:
    """Takes the next whole message of a TCP connection out of buffer; None if it is not all there yet.

    Raises ValueError for a length that no query has: the connection is of no use any more.
    """
    if len(buffer) < 2:
        return None
    end = 2 + int.from_bytes(buffer[:2], "big")
    if not _HEADER.size <= end - 2 <= _LARGEST:
        raise ValueError("no query is of this length")
    if len(buffer) < end:
        return None
    message = bytes(buffer[2:end])
    del buffer[:end]
    return message


def framed(message: bytes) -> bytes:
    """The message as it stands on a TCP connection."""
    return len(message).to_bytes(2, "big") + message


def _answering(flags: int, rcode: int) -> int:
    # RA: without it Go's and glibc's resolvers take an empty answer for a lame delegation, and ask on.
    return _QR | _RA | (flags & (_OPCODE | _RD)) | rcode


def _question(query: bytes, id_: int, flags: int, counts: list[int]) -> Question | bytes:
    questions, answers, authorities, additionals = counts
    if flags & _TC or (questions, answers, authorities) != (1, 0, 0) or additionals > 1 or len(query) > _LARGEST:
        raise _FormatError
    name, end = _name(query, _HEADER.size)
    if len(query) < end + 4:
        raise _FormatError
    kind, class_ = struct.unpack_from("!HH", query, end)
    end += 4
    version = _edns_version(query[end:]) if additionals else 0
    if not additionals and end != len(query):
        raise _FormatError
    if kind in (0, OPT):
        raise _FormatError
    question = Question(id_, name, kind, bool(flags & _RD), query[_HEADER.size : end], bool(additionals))
    if version:
        return reply(question, rcode=BADVERS)
    if class_ != _IN or kind in _TRANSACTIONS:
        return reply(question, rcode=REFUSED)
    return question


def _name(query: bytes, at: int) -> tuple[str, int]:
    """The name that stands at an offset, and the offset behind it. A pointer has nothing to point back to: no label."""
    labels: list[str] = []
    begun = at
    while True:
        length = query[at] if at < len(query) else 64
        if length > 63 or at + 1 + length > len(query) or at + 1 + length - begun > 255:
            raise _FormatError
        at += 1 + length
        if not length:
            return ".".join(labels), at
        labels.append(_label(query[at - length : at]))


def _label(label: bytes) -> str:
    return "".join(chr(byte) if byte in _NAME_CHARACTERS else f"\\{byte:03}" for byte in label.lower())


def _edns_version(record: bytes) -> int:
    """The version in an OPT record, which must be all that is left of the query. Its options are not looked at."""
    if len(record) < 1 + _RECORD.size or record[0]:
        raise _FormatError
    kind, _size, extended, length = _RECORD.unpack_from(record, 1)
    if kind != OPT or len(record) != 1 + _RECORD.size + length:
        raise _FormatError
    return int(extended >> 16 & 0xFF)
