"""Writes hosts' files, and puts them back: a backup beside each, and a manifest in the state folder.

Rules: a file is replaced whole, with its mode and owner, and where a symlink leads; never if it is not as it was read,
or is read-only. Backup and manifest are on the disk before. A file that nobody has edited since gets exactly the bytes
of its backup; in one that was, our entries are put back that are still ours, and the others are told.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.errors import DeniedError, IntegrityError
from bulkhead.hosts.base import ConfigFile, named_host, parsed, read
from bulkhead.hosts.edits import with_originals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bulkhead.hosts.base import Document

_SUFFIX = ".bulkhead-backup"
_FOLDER = "wrapped"  # of the state folder


@dataclass(frozen=True, slots=True)
class Change:
    """A document, what its file is to hold, and the pointers of the entries that differ."""

    document: Document
    data: bytes
    pointers: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One change that was made. before, after: digests of the file; ours: an entry's pointer and its digest."""

    backup: str
    before: str
    after: str
    ours: tuple[tuple[tuple[str, ...], str], ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a file; left: the names of entries that are not as we left them, and stay as they are."""

    path: Path
    exactly: bool
    left: tuple[str, ...] = ()


def apply(changes: Sequence[Change], *, state: Path) -> list[Path]:
    """Writes all files, or none where one cannot be; the backups. Raises DeniedError or IntegrityError."""
    for change in changes:
        _check(change.document)
    with _told():
        return [_apply(change, state) for change in changes]


def wrapped(state: Path) -> list[ConfigFile]:
    """The files that were changed and not put back yet."""
    manifests = [json.loads(path.read_bytes()) for path in sorted((state / _FOLDER).glob("*.json"))]
    return [ConfigFile(named_host(found["host"]), Path(found["path"]), found["scope"]) for found in manifests]


def restore(file: ConfigFile, *, state: Path) -> Restored:
    """Puts a file back, the newest change first. It stays where this raises.

    Raises UnreadableError, IntegrityError or DeniedError.
    """
    steps, results = _steps(file.path, state), list[Restored]()
    while steps:
        with _told():
            results.append(_undo(file, steps.pop()))
            _write_manifest(_manifest(file.path, state), file, steps)
    left = tuple(name for result in results for name in result.left)
    return Restored(file.path, all(result.exactly for result in results), left)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{error.filename or 'a file'} cannot be read or written"
        raise DeniedError(
            what, why=str(error.strerror), hint="a file that was changed already has its backup"
        ) from None


def _undo(file: ConfigFile, step: Step) -> Restored:
    document, before = read(file), Path(step.backup).read_bytes()
    if _digest(before) != step.before:
        why = "somebody has changed it, or put another in its place"
        raise IntegrityError(f"{step.backup} is not the backup", why=why, hint="see what it is, and edit by hand")
    same = _digest(document.data) == step.after
    ours, left = _still_ours(document, step)
    _replace(document, before if same else with_originals(document, parsed(file, before), ours))
    if not left:
        Path(step.backup).unlink()
    return Restored(file.path, same, left)


def _apply(change: Change, state: Path) -> Path:
    file, steps = change.document.file, _steps(change.document.file.path, state)
    after = parsed(file, change.data)
    ours = tuple((pointer, _digest_of(after, pointer)) for pointer in change.pointers)
    backup = _back_up(change.document)
    step = Step(str(backup), _digest(change.document.data), _digest(change.data), ours)
    _write_manifest(_manifest(file.path, state), file, [*steps, step])
    _replace(change.document, change.data)
    return backup


def _still_ours(document: Document, step: Step) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """The entries that are as we left them, and the names of the others; one that is gone is the person's own doing."""
    found = {pointer: _digest_of(document, pointer) for pointer, _ in step.ours}
    ours = [pointer for pointer, digest in step.ours if found[pointer] == digest]
    return ours, tuple(pointer[-1] for pointer, digest in step.ours if found[pointer] not in (digest, ""))


def _check(document: Document) -> None:
    path = document.file.path
    if not path.stat().st_mode & stat.S_IWUSR or not os.access(path, os.W_OK):
        raise DeniedError(f"{path} is read-only", why="somebody wants it to stay as it is", hint=f"chmod u+w {path}")
    if path.read_bytes() != document.data:
        raise IntegrityError(f"{path} was edited meanwhile", why="it is not as it was read", hint="try again")


def _back_up(document: Document) -> Path:
    """A new file beside it. It holds what the file held, secrets too, so it is for its owner alone."""
    real = document.file.path.resolve()
    names = (real.with_name(f"{real.name}{_SUFFIX}{number}") for number in ("", *range(2, 1000)))
    path = next(name for name in names if not os.path.lexists(name))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    _fill(descriptor, document.data, real.stat(), mode=0o600)
    return path


def _replace(document: Document, data: bytes) -> None:
    real = document.file.path.resolve()
    status = real.stat()
    descriptor, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        _fill(descriptor, data, status, mode=stat.S_IMODE(status.st_mode))
        _check(document)
        Path(name).replace(real)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _fill(descriptor: int, data: bytes, status: os.stat_result, *, mode: int) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)


def _manifest(path: Path, state: Path) -> Path:
    return state / _FOLDER / f"{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]}.json"


def _steps(path: Path, state: Path) -> list[Step]:
    manifest = _manifest(path, state)
    if not manifest.exists():
        return []
    rows: Iterable[dict[str, Any]] = json.loads(manifest.read_bytes())["steps"]
    return [
        Step(row["backup"], row["before"], row["after"], tuple((tuple(pointer), it) for pointer, it in row["ours"]))
        for row in rows
    ]


def _write_manifest(manifest: Path, file: ConfigFile, steps: Sequence[Step]) -> None:
    if not steps:
        manifest.unlink(missing_ok=True)
        return
    whole = {"host": file.host.name, "path": str(file.path.absolute()), "scope": file.scope}
    manifest.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = manifest.with_suffix(".new")
    fresh.write_text(json.dumps(whole | {"steps": [asdict(step) for step in steps]}, indent=1), encoding="utf-8")
    fresh.replace(manifest)


def _digest_of(document: Document, pointer: tuple[str, ...]) -> str:
    """Of what an entry means; "" where there is none."""
    node = document.root.at(pointer)
    return _digest(json.dumps(node.plain(), sort_keys=True, default=str).encode()) if node else ""


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
