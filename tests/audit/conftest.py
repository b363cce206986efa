"""A log with records in it, and what an attacker does to its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkhead.audit.log import AuditLog
from bulkhead.audit.record import Record, hash_of, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bulkhead.audit.verify import Report

SESSION, OTHER = "0123456789ab", "ba9876543210"


def made(tool: str = "search", session: str = SESSION, server: str = "github") -> Record:
    """A call that was let through."""
    return Record("request", "allow", server, session, method="tools/call", tool=tool, details={"bytes": 100})


def lines_in(folder: Path) -> list[bytes]:
    """Of the file that is written."""
    return (folder / "log.jsonl").read_bytes().splitlines(keepends=True)


def put(folder: Path, lines: Iterable[bytes]) -> None:
    """In place, as an editor does that keeps the file."""
    with (folder / "log.jsonl").open("r+b") as file:
        file.write(b"".join(lines))
        file.truncate()


def rechained(lines: list[bytes], start: int) -> list[bytes]:
    """All hashes from start on are right again; the seals stay what they were: that takes the key."""
    done = list(lines)
    for place in range(start, len(lines)):
        sealed = split(lines[place])
        assert sealed is not None
        before = split(done[place - 1])
        prev = before.hash if before is not None else sealed.prev
        own = hash_of(prev, sealed.digest)
        end = f',"prev":"{prev}","hash":"{own}","mac":"{sealed.mac}"}}\n'
        done[place] = sealed.rest[:-1] + end.encode()
    return done


def told(report: Report) -> list[tuple[str, int, int]]:
    """What failed: kind, first, last."""
    return [(finding.kind, finding.first, finding.last) for finding in report.findings if finding.failed]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the log is; it is not there yet."""
    return tmp_path / "state" / "audit"


@pytest.fixture
def fill(folder: Path) -> Callable[..., None]:
    """Appends records; closed: and the checkpoint that close() makes. sync is another test's."""

    def write(count: int, *, closed: bool = True, session: str = SESSION) -> None:
        log = AuditLog(folder, sync=False)
        for number in range(count):
            log.add(made(f"tool{number}", session))
        if closed:
            log.close()

    return write
