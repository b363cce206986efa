"""The evidence of one session in one file: its records, and all that is needed to verify them elsewhere.

A bundle is a gzipped tar of `records.jsonl`, `key.pub`, `README.txt`. The lines reach from the checkpoint before the
session to the one behind it. What belongs to the session, checkpoints and the log's own events stand there as they are;
of other sessions' records there are seq, prev, digest and hash, which prove the chain and show nothing.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from bulkhead.audit.files import lines_of
from bulkhead.audit.record import Link, Sealed, split
from bulkhead.audit.signing import PUBLIC, key_id, public_from
from bulkhead.audit.verify import Report
from bulkhead.audit.walk import Walk
from bulkhead.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterable, Mapping
    from pathlib import Path

RECORDS, KEY, README = "records.jsonl", "key.pub", "README.txt"
_OWN_EVENTS = frozenset({"checkpoint", "torn", "truncated", "rotated"})
_MOST = 2**30  # bytes of one file in a bundle
_README = """\
Evidence of the session {session}, from the audit log of Bulkhead.

records.jsonl holds records {first} to {last} of the log, from one signed checkpoint to the next. Lines with
"v":1 are whole. The others belong to other sessions, and have only their place in the chain:

    digest = sha256 of a line without its keys prev, hash and mac
    hash   = sha256 of prev and digest, both as hexadecimal text; prev is the hash of the record before

A checkpoint's signature (Ed25519, by key.pub) is over these lines, each with a newline at its end:

    bulkhead audit checkpoint 1
    its seq - 1
    its prev
    details.count
    its time
    details.key, which are the first 16 hexadecimal digits of sha256 of the 32 bytes of the key

To verify all of it, with Bulkhead installed, and without the state folder:

    bulkhead audit verify FILE.tar.gz --key key.pub

Use a key.pub that came to you another way: the one in this file proves only that the file agrees with itself. What
`mac` says can be verified in the state folder alone.
"""


class Span(NamedTuple):
    """The records that a bundle holds, by number; own: how many of them are the session's."""

    first: int
    last: int
    own: int


def write_bundle(folder: Path, session: str, path: Path) -> Span:
    """Makes the file, 0600. Raises UsageError where the session has no record, and OSError."""
    span = _span_of(lines_of(folder), session)
    public = (folder / PUBLIC).read_bytes()
    lines = [_shown(line, session) for line in lines_of(folder) if span.first <= _seq(line) <= span.last]
    readme = _README.format(session=session, first=span.first, last=span.last)
    _write_tar(path, {README: readme.encode(), KEY: public, RECORDS: b"".join(lines)})
    return span


def verify_bundle(path: Path, *, key: bytes | None = None, anchors: Mapping[int, str] | None = None) -> Report:
    """key: the public key that has to have signed; else the bundle's own. Raises IntegrityError for no bundle."""
    try:
        found = _read_tar(path)
        public = key or public_from(found[KEY], KEY)
        lines = found[RECORDS].splitlines(keepends=True)
    except (OSError, LookupError, EOFError) as error:
        raise _unreadable(path, str(error)) from error
    at = _before(path, lines)
    inside = {seq: known for seq, known in (anchors or {}).items() if at.seq < seq <= at.seq + len(lines)}
    walk = Walk([public], None, anchors=inside, at=at)
    for line in lines:
        _walk_line(walk, line)
    walk.end()
    walk.find("unsealed")
    return Report(walk.count, walk.checkpoints, walk.signed, walk.at, key_id(public), tuple(walk.findings))


def _span_of(lines: Iterable[bytes], session: str) -> Span:
    """From the checkpoint before the session, or the log's first record, to the one behind it, or the log's last."""
    own, checkpoints, begin, end = list[int](), list[int](), 0, 0
    for line in lines:
        sealed = split(line)
        if sealed is None:
            continue
        begin, end = begin or sealed.seq, sealed.seq
        if _is_of(sealed, session):
            own.append(sealed.seq)
        elif sealed.event == "checkpoint":
            checkpoints.append(sealed.seq)
    if not own:
        raise UsageError(f"no record is of a session {session}", hint="`bulkhead audit tail --json` shows their ids")
    first = max((seq for seq in checkpoints if seq < own[0]), default=begin)
    last = min((seq for seq in checkpoints if seq > own[-1]), default=end)
    return Span(first, last, len(own))


def _is_of(sealed: Sealed, session: str) -> bool:
    if session.encode("ascii", "replace") not in sealed.rest:
        return False
    with suppress(ValueError):
        return bool(sealed.read().get("session") == session)
    return False


def _seq(line: bytes) -> int:
    sealed = split(line)
    return sealed.seq if sealed else 0


def _shown(line: bytes, session: str) -> bytes:
    """The line, or of another session's its place in the chain."""
    sealed = split(line)
    if sealed is None or sealed.event in _OWN_EVENTS or _is_of(sealed, session):
        return line
    place = {"seq": sealed.seq, "prev": sealed.prev, "digest": sealed.digest, "hash": sealed.hash}
    return json.dumps(place, separators=(",", ":")).encode("ascii") + b"\n"


def _walk_line(walk: Walk, line: bytes) -> None:
    place = _place(line)
    if place is None:
        walk.line(line)
    else:
        walk.skipped(**place)


def _place(line: bytes) -> dict[str, Any] | None:
    """What skipped() takes; None for a whole line, or none at all."""
    with suppress(ValueError):
        data = json.loads(line)
        if isinstance(data, dict) and data.keys() == {"seq", "prev", "digest", "hash"}:
            texts = {"prev": str(data["prev"]), "digest": str(data["digest"]), "own": str(data["hash"])}
            return {"seq": data["seq"], **texts} if type(data["seq"]) is int else None
    return None


def _before(path: Path, lines: list[bytes]) -> Link:
    """What the first line follows, as it says itself: a checkpoint behind it signs that, too."""
    first = split(lines[0]) if lines else None
    if first is not None:
        return Link(first.seq - 1, first.prev)
    place = _place(lines[0]) if lines else None
    if place is not None:
        return Link(place["seq"] - 1, place["prev"])
    raise _unreadable(path, "its first record cannot be read")


def _write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    # For this command alone.
    import io  # noqa: PLC0415
    import os  # noqa: PLC0415
    import tarfile  # noqa: PLC0415
    import time  # noqa: PLC0415

    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), int(time.time()), 0o644
            tar.addfile(info, io.BytesIO(data))


def _read_tar(path: Path) -> dict[str, bytes]:
    """By name, and nothing is written. Raises LookupError for what is missing, OSError for what is no archive."""
    # For this command alone.
    import tarfile  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    try:
        with tarfile.open(path, mode="r:gz") as tar:
            return {name: _member(tar, name) for name in (RECORDS, KEY)}
    except (tarfile.TarError, zlib.error) as error:
        raise OSError(str(error)) from error


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    info = tar.getmember(name)
    file = tar.extractfile(info)
    if file is None or info.size > _MOST:
        raise LookupError(f"{name} is no file of at most 1 GiB")
    return file.read()


def _unreadable(path: Path, why: str) -> IntegrityError:
    hint = "`bulkhead audit bundle` makes one"
    return IntegrityError(f"{path} is no evidence bundle", why=why, hint=hint, reason="audit")
