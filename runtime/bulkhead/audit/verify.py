"""Verifies a whole audit folder: every line, the files, the head, the key, and anchors that were kept elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from bulkhead.audit import files
from bulkhead.audit.record import START, Link, split
from bulkhead.audit.signing import PUBLIC, key_id, public_from, read_keys
from bulkhead.audit.walk import Finding, Walk
from bulkhead.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_ANCHOR = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified. end: the last record; keep it elsewhere, as an anchor. key: the id of the key that signed."""

    records: int
    checkpoints: int
    signed: int
    end: Link
    key: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether the log is not what was written."""
        return any(finding.failed for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "ok": not self.failed,
            "records": self.records,
            "checkpoints": self.checkpoints,
            "signed": self.signed,
            "anchor": f"{self.end.seq}:{self.end.hash}",
            "key": self.key,
            "findings": [finding.as_json() for finding in self.findings],
        }


def verify(folder: Path, *, key: bytes | None = None, anchors: Mapping[int, str] | None = None) -> Report:
    """Reads all of it, while others may append. key: the public key that has to have signed, 32 bytes; else key.pub's.

    Raises IntegrityError for a folder or a key that cannot be read.
    """
    try:
        with ExitStack() as opened:
            return _Folder(folder, opened).verify(key, dict(anchors or {}))
    except OSError as error:
        why = error.strerror or str(error)
        raise IntegrityError(f"the audit log in {folder} cannot be read", why=why, reason="audit") from error


def read_anchors(text: str, read: Path | None) -> dict[int, str]:
    """text: "SEQ:HASH", or read: a file of such lines, or of exported records. Raises UsageError for neither."""
    found = {}
    for line in read.read_text(encoding="utf-8").splitlines() if read else [text]:
        if match := _ANCHOR.fullmatch(line.strip()):
            found[int(match[1])] = match[2]
        elif (sealed := split(line.encode())) is not None:
            found[sealed.seq] = sealed.hash
        else:
            found |= _exported(line)
    if not found:
        hint = "give SEQ:HASH as `bulkhead audit verify` prints it, or a file of such lines or of exported records"
        raise UsageError(f"{text} is no anchor", hint=hint)
    return found


class _Folder:
    """The files as they are at one moment: opened, and their sizes noted, while nobody appends."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self._folder = folder
        self._keys = read_keys(folder)
        with _held(folder):
            paths = files.log_files(folder)
            self._files = {path.name: opened.enter_context(path.open("rb")) for path in paths}
            self._sizes = {name: os.fstat(file.fileno()).st_size for name, file in self._files.items()}
            self._head = _read(folder / files.HEAD)

    def verify(self, key: bytes | None, anchors: dict[int, str]) -> Report:
        walk, known = self._walk(key, anchors)
        if self._keys is None:
            walk.find("unsealed")
        for name, file in self._files.items():
            for line in _lines(file, self._sizes[name]):
                walk.line(line)
        walk.end()
        self._judge_files(walk)
        self._judge_head(walk)
        end = "" if known is None else key_id(known)
        return Report(walk.count, walk.checkpoints, walk.signed, walk.at, end, tuple(walk.findings))

    def _walk(self, key: bytes | None, anchors: dict[int, str]) -> tuple[Walk, bytes | None]:
        public, own = self._public(), self._keys.public() if self._keys else None
        walk = Walk(
            [key or public or own or b""],
            self._keys.mac if self._keys else None,
            anchors=anchors,
            at=self._beginning(anchors),
        )
        if public and own and public != own:
            walk.find("key", more=f"key.pub is {key_id(public)}, and the secret key is {key_id(own)}")
        return walk, key or public or own

    def _public(self) -> bytes | None:
        data = _read(self._folder / PUBLIC)
        return public_from(data, str(self._folder / PUBLIC)) if data else None

    def _beginning(self, anchors: dict[int, str]) -> Link:
        """What the first record follows: the older files may have been archived, and an anchor then stands for them."""
        for name, file in self._files.items():
            first = next(_lines(file, self._sizes[name]), b"")
            file.seek(0)
            sealed = split(first)
            if sealed is not None and anchors.get(sealed.seq - 1) == sealed.prev:
                del anchors[sealed.seq - 1]
                return Link(sealed.seq - 1, sealed.prev)
            break
        return START

    def _judge_files(self, walk: Walk) -> None:
        for name, end in walk.ends.items():
            if name not in self._files and end.seq > walk.began:
                walk.find("file", more=f"{name}, which ended with record {end.seq}")

    def _judge_head(self, walk: Walk) -> None:
        head = files.read_head(self._head, self._keys)
        if head is None:
            if walk.at.seq or self._head:
                walk.find("head")
        elif head.last.seq > walk.at.seq:
            walk.find("truncation", walk.at.seq + 1, head.last.seq, "the head names the last of them")
        elif head.last.seq == walk.at.seq and head.last != walk.at:
            walk.find("head", more=f"it names another record {head.last.seq}")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Nobody appends meanwhile. A copy of a folder may have no lock, and nobody who appends."""
    try:
        lock = os.open(folder / files.LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


def _lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Those of the first size bytes."""
    for line in file:
        size -= len(line)
        if size < 0:
            return
        yield line


def _read(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def _exported(line: str) -> dict[int, str]:
    with suppress(ValueError, TypeError, KeyError):
        data = json.loads(line)
        return {int(data["seq"]): str(data["hash"])}
    return {}
