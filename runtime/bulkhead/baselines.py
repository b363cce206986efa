"""What is usual of a server's calls, kept from session to session: state/baselines/KEY.json, see policy/baselines.py.

Rules: it is read at the first call, and written at most every WRITTEN seconds and at the end, together with what others
have learnt meanwhile. Nobody waits for it, and nothing fails for it: a file that cannot be read is as if nothing were
known, one that cannot be written is left. Of what is alike a tool is told of once in an hour, or if it doubles.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bulkhead.policy import baselines
from bulkhead.policy.baselines import LEARNING, NONE, Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bulkhead.policy.baselines import Habits, Strange

WRITTEN = 30.0
TOLD = 3600.0
MOST_TOOLS = 512
_MOST_TOLD = 1024
_MOST_NAME = 256  # characters of a tool's name
_MOST_BYTES = 16 * 2**20  # of the file
_MINUTE = 60.0


class Pace:
    """The calls of one tool. What was most in a minute is told a minute after that one is over.

    For a rate climbs call by call: one that were usual at once would never be strange.
    """

    def __init__(self, now: float) -> None:
        self._begun = now
        self._recent: deque[float] = deque()
        self._most = [0, 0]  # of this minute, and of the one before

    def add(self, now: float) -> tuple[int, int]:
        """The calls in the last minute, with this one; and what was most in one that is over, or 0."""
        over, recent = 0, self._recent
        if now - self._begun >= _MINUTE:
            self._begun, over = now, self._most[1]
            self._most = [0, self._most[0]]
        while recent and recent[0] < now - _MINUTE:
            recent.popleft()
        recent.append(now)
        self._most[0] = max(self._most[0], len(recent))
        return len(recent), over

    def end(self) -> int:
        """What was most, of which nothing was told."""
        return max(self._most)


class Baseline:
    """One session's. holds: a strange request waits for a person, who may say no: so each is told, and none learnt.

    Those of a tool of which a result came are learnt then.
    """

    def __init__(self, state: Path, key: str, *, holds: bool = False) -> None:
        self._path = state / "baselines" / f"{key}.json"
        self._holds = holds
        self._habits: dict[str, Habits] = {}
        self._before: dict[str, Habits] = {}  # as the file was when it was read or written last
        self._paces: dict[str, Pace] = {}
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self._held: dict[str, Call] = {}
        self._written: float | None = None  # time.monotonic() seconds; None before the first call

    def before(self, tool: str, size: int) -> tuple[str, ...]:
        """What of a request is not usual; size: bytes of its arguments, or of all of it, as long as it is the same."""
        now = time.monotonic()
        if self._written is None:
            self._open(now)
        pace = self._paces.get(tool) or self._paces.setdefault(tool, Pace(now))
        minute, over = pace.add(now)
        habits = self._habits.get(tool, NONE)
        found = baselines.strange(habits, Call(size, 0, minute))
        call = Call(size, 0, minute if habits.calls < LEARNING else over)
        if found and self._holds:
            self._held[tool] = call
            return tuple(it.text for it in found)
        self._learn(tool, habits, call)
        return self._untold(tool, found, now) if found else ()

    def after(self, tool: str, size: int, hosts: Sequence[str]) -> tuple[str, ...]:
        """What of a result is not usual, and of the hosts that its call reached."""
        now = time.monotonic()
        if self._written is None:
            self._open(now)
        if self._held and (held := self._held.pop(tool, None)) is not None:
            self._learn(tool, self._habits.get(tool, NONE), held)
        habits = self._habits.get(tool, NONE)
        call = Call(result=size, hosts=tuple(dict.fromkeys(hosts)))
        found = baselines.strange(habits, call)
        self._learn(tool, habits, call)
        if self._written is not None and now - self._written > WRITTEN:
            self._write(now)
        return self._untold(tool, found, now) if found else ()

    def close(self) -> None:
        """Writes what was learnt."""
        for tool, pace in self._paces.items():
            self._learn(tool, self._habits.get(tool, NONE), Call(minute=pace.end()))
        if self._written is not None:
            self._write(time.monotonic())

    def _learn(self, tool: str, habits: Habits, call: Call) -> None:
        if tool in self._habits or (len(self._habits) < MOST_TOOLS and len(tool) <= _MOST_NAME):
            self._habits[tool] = baselines.learnt(habits, call)

    def _untold(self, tool: str, found: Sequence[Strange], now: float) -> tuple[str, ...]:
        texts = []
        for strange in found:
            at, size = self._told.get((tool, strange.kind), (-TOLD, 0))
            if now - at >= TOLD or strange.size > 2 * size:
                self._told[tool, strange.kind] = (now, strange.size)
                texts.append(strange.text)
        while len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]
        return tuple(texts)

    # The file

    def _open(self, now: float) -> None:
        self._written = now
        self._before = self._read()
        self._habits = dict(self._before)

    def _read(self) -> dict[str, Habits]:
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(_MOST_BYTES))
            return {str(tool): baselines.from_json(value) for tool, value in list(found.items())[:MOST_TOOLS]}
        except (OSError, ValueError, TypeError, AttributeError, OverflowError):
            return {}

    def _write(self, now: float) -> None:
        """With what others wrote since; where one of them writes at this moment, at the next occasion."""
        self._written = now
        with suppress(OSError), self._locked():
            theirs = self._read()
            tools = list(dict.fromkeys((*self._habits, *theirs)))[:MOST_TOOLS]
            merged = {tool: self._merged(tool, theirs) for tool in tools}
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            new.write_text(json.dumps({tool: baselines.as_json(habits) for tool, habits in merged.items()}))
            new.replace(self._path)
            self._before, self._habits = merged, dict(merged)

    def _merged(self, tool: str, theirs: dict[str, Habits]) -> Habits:
        return baselines.merged(self._before.get(tool, NONE), self._habits.get(tool, NONE), theirs.get(tool, NONE))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Raises OSError where another one holds it: that one could hang, and a call would wait for it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(lock)
