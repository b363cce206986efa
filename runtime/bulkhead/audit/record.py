"""One line of the log: a record, and its place in the chain. PURE.

A line is `{"v":1,"seq":N,"time":...,...,"prev":H,"hash":H,"mac":M}` and a newline, in ASCII, without spaces; keys have
one order, and what is empty is left out. What is hashed are the bytes as they stand, so nothing depends on how somebody
reads JSON: digest = sha256 of the line without its last three keys, hash = sha256 of prev and digest, both as
hexadecimal text. Through the digest a line can be left out of a proof and the chain still be followed.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from hashlib import sha256
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Value = str | int | float | bool

GENESIS = "0" * 64
_MOST = 1000  # characters of one text; details are bounded by who writes them
_START = re.compile(rb'\{"v":1,"seq":([1-9][0-9]{0,17}),"time":"([0-9T:.Z-]{27})","event":"([a-z._]+)"')
_END = re.compile(rb',"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})","mac":"([0-9a-f]{32})"\}\n?')
_END_LENGTH = len(',"prev":"","hash":"","mac":""}') + 64 + 64 + 32


@dataclass(frozen=True, slots=True)
class Record:
    """What happened. event: lower-case words joined by dots. decision: allow, deny, hold, rewrite, or "".

    session: the runner's id. reason: the stable word of a denial. notes: what guards found. actor: USER@host, for what
    a person did. details: flat, as host, port, bytes, arguments_sha256.
    """

    event: str
    decision: str
    server: str
    session: str
    method: str = ""
    tool: str = ""
    request_id: str = ""
    trace_id: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    actor: str = ""
    details: Mapping[str, Value] = field(default_factory=dict)


class Link(NamedTuple):
    """A place in the chain: the record's number, counted from 1, and its hash. Before the first: 0 and GENESIS."""

    seq: int
    hash: str


START = Link(0, GENESIS)


class Sealed(NamedTuple):
    """A line that has the form of one; whether it is true is not judged. rest is the line without prev, hash, mac."""

    seq: int
    time: str
    event: str
    rest: bytes
    prev: str
    hash: str
    mac: str

    @property
    def link(self) -> Link:
        """Its place in the chain."""
        return Link(self.seq, self.hash)

    @property
    def digest(self) -> str:
        """What stands for the line in a proof that leaves it out."""
        return digest_of(self.rest)

    @property
    def is_whole(self) -> bool:
        """Whether its hash is that of what stands there."""
        return self.hash == hash_of(self.prev, self.digest)

    def read(self) -> dict[str, Any]:
        """All keys of the line. Raises ValueError for what is no JSON object."""
        data = json.loads(self.rest)
        if not isinstance(data, dict):
            raise ValueError("a record is an object")
        return data | {"prev": self.prev, "hash": self.hash, "mac": self.mac}

    def details(self) -> dict[str, Any]:
        """The record's details; none where they cannot be read."""
        try:
            found = self.read().get("details")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def line_of(record: Record, at: Link, time: str, mac: Callable[[str], str]) -> tuple[bytes, Link]:
    """The line that follows at, and its own place. time: RFC 3339 in UTC with microseconds, 27 characters."""
    rest = _rest(record, at.seq + 1, time)
    digest = sha256(f"{rest}}}".encode("ascii")).hexdigest()
    own = hash_of(at.hash, digest)
    line = f'{rest},"prev":"{at.hash}","hash":"{own}","mac":"{mac(own)}"}}\n'
    return line.encode("ascii"), Link(at.seq + 1, own)


def split(line: bytes) -> Sealed | None:
    """The parts of a line, with or without its newline; None for what is no record."""
    end = _END.fullmatch(line, max(0, len(line.removesuffix(b"\n")) - _END_LENGTH))
    start = _START.match(line)
    if end is None or start is None:
        return None
    prev, own, mac = (part.decode("ascii") for part in end.groups())
    rest = line[: end.start()] + b"}"
    return Sealed(int(start[1]), start[2].decode(), start[3].decode(), rest, prev, own, mac)


def hash_of(prev: str, digest: str) -> str:
    """The hash of the record with this digest that follows the one with the hash prev."""
    return sha256(f"{prev}{digest}".encode("ascii")).hexdigest()


def checkpoint_text(at: Link, count: int, time: str, key: str) -> str:
    """What a checkpoint signs: the record before it, how many have come since the one before, its time and its key."""
    return f"bulkhead audit checkpoint 1\n{at.seq}\n{at.hash}\n{count}\n{time}\n{key}\n"


def digest_of(rest: bytes) -> str:
    """sha256, as hexadecimal text."""
    return sha256(rest).hexdigest()


def _rest(record: Record, seq: int, time: str) -> str:
    """Without its closing brace. It is on the way of each call, so there is no loop over names."""
    line = f'{{"v":1,"seq":{seq},"time":"{time}","event":"{record.event}"'
    if record.decision:
        line += f',"decision":"{record.decision}"'
    line += f',"server":{_text(record.server)},"session":{_text(record.session)}'
    if record.method:
        line += f',"method":{_text(record.method)}'
    if record.tool:
        line += f',"tool":{_text(record.tool)}'
    if record.request_id:
        line += f',"request_id":{_text(record.request_id)}'
    if record.trace_id:
        line += f',"trace_id":{_text(record.trace_id)}'
    if record.reason:
        line += f',"reason":{_text(record.reason)}'
    return line + _rarely(record) if record.notes or record.actor or record.details else line


def _rarely(record: Record) -> str:
    line = ""
    if record.notes:
        line += f',"notes":[{",".join(map(_text, record.notes))}]'
    if record.actor:
        line += f',"actor":{_text(record.actor)}'
    if record.details:
        pairs = ",".join([f"{_quoted(key)}:{_value(value)}" for key, value in record.details.items()])
        line += f',"details":{{{pairs}}}'
    return line


def _text(text: str) -> str:
    """A host or a server may send a name as long as a message; that it was cut is told."""
    return _quoted(text) if len(text) <= _MOST else _quoted(f"{text[:_MOST]} ({len(text)} characters)")


def _value(value: Value) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return repr(value) if math.isfinite(value) else _quoted(repr(value))
