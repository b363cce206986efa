"""The files of one server's pins, state/pins/KEY/: pins.json now, versions/NNNN.json before, held.json what waits.

Rules: a file is replaced whole and synced, so that nobody reads half of one; who changes one holds the lock of the
folder, and reads it anew under the lock. A file that is not understood is an error, and never taken for no pins: it is
the person who decides what becomes of it. Nothing of it is read or written for a call, but for one stat().
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.errors import BulkheadError, IntegrityError, UsageError
from bulkhead.pins.waiting import Waiting, bounded
from bulkhead.policy.declared import digest
from bulkhead.policy.pins import Pinned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FIRST_USE = "first use"
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(?:@[0-9a-f]{8})?", re.ASCII)
_FORM = 1
# Whoever holds the lock writes two small files; a stopped process must not stop others.
_PATIENCE = 10.0
_POLL = 0.01

Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Pins:
    """All that is approved of one server.

    version: 0 where nothing was ever pinned. restored: the version that a rollback brought back, 0 for others. known:
    the kinds whose door is shut: what is new of them is held. text: the profile's file as it was. by, at: who made
    this version, and when; why: what for.
    """

    version: int = 0
    restored: int = 0
    image: str = ""
    profile: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    text: str = ""
    known: frozenset[str] = frozenset()
    items: Mapping[str, Pinned] = field(default_factory=dict)
    by: str = FIRST_USE
    at: str = ""
    why: str = ""


class Store:
    """One server's. Raises UsageError for a key that is none; all else raises IntegrityError (reason ``pin``)."""

    def __init__(self, state: Path, key: str) -> None:
        if not _KEY.fullmatch(key):
            raise UsageError(f"{key[:80]!r} is no server's key", hint="`bulkhead approve` lists what waits")
        self.key = key
        self.folder = state / "pins" / key
        self._path = self.folder / "pins.json"
        self._name = str(self._path)
        self._held = self.folder / "held.json"
        self._pins = Pins()
        self._stamp: Stamp = None

    def pins(self) -> Pins:
        """What is approved now: the same object for as long as nobody changed it."""
        stamp = _stamp(self._name)
        if stamp is None and (self._stamp is not None or self._versions()):
            raise _unreadable(self._path, "it is gone")
        if stamp != self._stamp:
            self._pins = _read(self._path, _pins)
            self._stamp = stamp
        return self._pins

    def version(self, number: int) -> Pins:
        """What was approved once. Raises UsageError for a version that is not kept."""
        path = self.folder / "versions" / f"{number:04}.json"
        if not path.exists():
            why = f"kept are {', '.join(map(str, self._versions())) or 'none'}"
            raise UsageError(f"{self.key} has no former version {number}", why=why)
        former: Pins = _read(path, _pins)
        return former

    def waiting(self) -> dict[str, Waiting]:
        """What waits for a person, and what was rejected, oldest first."""
        found: dict[str, Waiting] = _read(self._held, _waiting) if self._held.exists() else {}
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all processes; what was read before may be another's since then."""
        with _told(self.folder):
            for folder in (self.folder.parent, self.folder, self.folder / "versions"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(fd)
            yield
        finally:
            os.close(fd)

    def put(self, pins: Pins) -> None:
        """Writes, under the lock. A new version is kept beside the one before."""
        with _told(self._path):
            if 0 < self._pins.version < pins.version:
                _write(self.folder / "versions" / f"{self._pins.version:04}.json", _text(self._pins))
            _write(self._path, _text(pins))
        self._pins, self._stamp = pins, _stamp(self._name)

    def put_waiting(self, waiting: Mapping[str, Waiting]) -> int:
        """Writes, under the lock, as much as there is room for. Returns how many are left out."""
        kept = bounded(waiting)
        with _told(self._held):
            _write(self._held, _summed({"items": {key: _plain(entry) for key, entry in kept.items()}}))
        return len(waiting) - len(kept)

    def _versions(self) -> list[int]:
        return sorted(int(path.stem) for path in (self.folder / "versions").glob("[0-9]*.json"))

    def _wait_for(self, fd: int) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    why = f"another process has held their lock for {_PATIENCE:g} s"
                    raise IntegrityError(f"the pins of {self.key} are locked", why=why, hint="try again") from None
                time.sleep(_POLL)
            else:
                return


def keys(state: Path) -> list[str]:
    """The servers of which anything is pinned, or waits."""
    return sorted(path.name for path in (state / "pins").glob("*") if _KEY.fullmatch(path.name))


def other_tools(state: Path, key: str) -> dict[str, frozenset[str]]:
    """The names of the pinned tools of every other server, and not of the same one run in another way.

    Pins that cannot be read are their own server's matter.
    """
    found = {}
    for other in keys(state):
        if other.partition("@")[0] == key.partition("@")[0]:
            continue
        try:
            pinned = Store(state, other).pins().items
        except IntegrityError:
            continue
        found[other] = frozenset(item.removeprefix("tool:") for item in pinned if item.startswith("tool:"))
    return found


def pinned_image(state: Path, key: str, server: Mapping[str, Any]) -> str:
    """The digest of the image that a rollback went back to; "" if none, or if [server] is another by now."""
    pins = Store(state, key).pins()
    same = digest(pins.profile.get("server", {})) == digest(server)
    return pins.image if pins.restored and same else ""


def now() -> str:
    """RFC 3339, UTC, in seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def next_version(pins: Pins, *, by: str, why: str, **others: Any) -> Pins:
    """What follows pins once a person decided, or a profile was edited."""
    return replace(pins, version=pins.version + 1, restored=0, by=by, at=now(), why=why, **others)


# Files


def _text(pins: Pins) -> str:
    items = {key: _plain(pinned) for key, pinned in pins.items.items()}
    return _summed(_plain(pins) | {"known": sorted(pins.known), "items": items})


def _pins(data: dict[str, Any]) -> Pins:
    items = {key: Pinned(**entry) for key, entry in data.pop("items").items()}
    pins = Pins(**data | {"items": items, "known": frozenset(data["known"])})
    if type(pins.version) is not int or type(pins.image) is not str or type(pins.profile) is not dict:
        raise TypeError("a value of another kind")
    return pins


def _waiting(data: dict[str, Any]) -> dict[str, Waiting]:
    return {key: Waiting.read(entry) for key, entry in data["items"].items()}


def _plain(entry: Pins | Pinned | Waiting) -> dict[str, Any]:
    """As asdict(), which would copy every definition."""
    return {each.name: getattr(entry, each.name) for each in fields(entry)}


def _summed(body: dict[str, Any]) -> str:
    """The file's text; at its end the sum of what stands before."""
    text = json.dumps(body | {"form": _FORM}, ensure_ascii=False, separators=(",", ":"))[:-1]
    return f'{text},"sum":"{_sum(_encoded(text))}"}}\n'


def _sum(text: bytes) -> str:
    return sha256(text).hexdigest()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _read(path: Path, meaning: Callable[[dict[str, Any]], Any]) -> Any:
    try:
        text = path.read_bytes()
        data = json.loads(text)
        if data.pop("form") != _FORM:
            raise ValueError("a later version of Bulkhead wrote it")
        if data.pop("sum") != _sum(text[: text.rindex(b',"sum":"')]):
            raise ValueError("it is not as it was written")
        return meaning(data)
    except KeyError as error:
        raise _unreadable(path, f"it has no {error}") from None
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise _unreadable(path, str(error)[:200] or type(error).__name__) from None


def _unreadable(path: Path, why: str) -> IntegrityError:
    hint = f"put a copy of it back, or remove {path.parent} to have this server's first use anew"
    return IntegrityError(f"the pins in {path} cannot be read", why=why, hint=hint)


def _write(path: Path, text: str) -> None:
    """All of the file or nothing of it, on the disk before anybody sees it."""
    new = path.with_name(f"{path.name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(_encoded(text))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _stamp(path: str) -> Stamp:
    try:
        info = os.stat(path)  # noqa: PTH116 - for every call: half of what Path.stat() takes
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(Path(path), error.strerror or str(error)) from None
    return info.st_ino, info.st_mtime_ns, info.st_size


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except BulkheadError:
        raise
    except OSError as error:
        why = error.strerror or str(error)
        raise IntegrityError(f"the pins in {path} cannot be written", why=why, hint="make room, or free it") from None
