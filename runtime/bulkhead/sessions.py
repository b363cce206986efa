"""What `ps` knows of each runner: one small file a runner, written when a sandbox starts or ends, never for a call."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bulkhead.engines.runners import is_dead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """One runner's session. sandbox is "" while none runs; last_end is how the last one ended, as "oom".

    refused: what its server wanted to reach last, and might not: "HOST:PORT", or "HOST". containers: the engine's ids
    of its containers, or of the last ones. killed: it has heard the kill switch, for which every runner takes SIGUSR2.
    secrets: the names of those that its server has; a runner that has any takes SIGUSR1 for their revocation, and
    another one would die of it.
    """

    server: str
    pid: int
    sandbox: str = ""
    starts: int = 0
    last_end: str = ""
    refused: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    killed: bool = False
    secrets: tuple[str, ...] = ()


def path_of(state: Path, runner: str) -> Path:
    """The file of one runner."""
    return state / "sessions" / f"{runner}.json"


def write_session(path: Path, status: SessionStatus) -> None:
    """Atomically, so that `ps` never reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(asdict(status)), encoding="utf-8")
    new.replace(path)


def read_sessions(state: Path) -> Iterator[SessionStatus]:
    """The sessions whose runner lives; what a dead runner left is removed."""
    for path in sorted((state / "sessions").glob("*.json")):
        try:
            status = SessionStatus(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        if is_dead(state, path.stem):
            path.unlink(missing_ok=True)
        else:
            yield status
