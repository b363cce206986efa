"""One session's look at its server's pins: what is listed is compared, what is called must be what was listed.

Rules: the list that a host sees is the list that was compared: what is held is not in it, nor what only some hosts
would read as part of it. A call passes if what the sandbox of now declares under its name is what is pinned; for that
its kind has to be listed in full, by the host or by the runner itself. Other runners of the server share the files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bulkhead.errors import IntegrityError
from bulkhead.pins.start import started
from bulkhead.pins.store import FIRST_USE, Store, now
from bulkhead.pins.waiting import entry_of, with_held
from bulkhead.pins.walk import Walk
from bulkhead.policy.declared import CALLS, CHANGED, LISTS, SERVER, digest_of, items, odd_members, quick
from bulkhead.policy.pins import Comparison, Pinned, introduced_as

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from bulkhead.pins.store import Pins
    from bulkhead.policy.declared import Item, Kind
    from bulkhead.policy.pins import Held

_MOST_NOTES = 20
# Characters of what is new or changed in a session. Hostile text takes 6 us a character, and nothing else runs then.
MOST_SCANNED = 2**20
_KINDS = {kind.name: kind for kind in LISTS.values()}
# What is not listed is not there; a resource can be read that no list names.
_CLOSED = ("tool", "prompt")


@dataclass(frozen=True, slots=True)
class Judged:
    """A result as the host may see it: the same object where nothing is held. notes: for the record, a line each."""

    result: dict[str, Any]
    notes: tuple[str, ...] = ()
    changes: tuple[Held, ...] = ()


class PinBook:
    """One session's. others gives the names of each other server's pinned tools, and is asked only for what is new.

    All methods raise IntegrityError (reason ``pin``) where the files cannot be read or written.
    """

    def __init__(
        self,
        state: Path,
        key: str,
        *,
        mode: Literal["first-use", "approve"],
        others: Callable[[], Mapping[str, Collection[str]]],
    ) -> None:
        self._store = Store(state, key)
        self._key = key
        self._mode = mode
        self._others = others
        self._walks = {kind: Walk() for kind in _KINDS}
        self._missed: set[str] = set()
        self._mine: dict[str, str] = {}  # digests of what this session pinned
        self._asked: Pins | None = None
        self._room = MOST_SCANNED

    def started(
        self, *, image: str, built: bool, profile: Mapping[str, Any], profile_path: str, strange: bool
    ) -> tuple[str, ...]:
        """Before a start: image digest and profile have to be the pinned ones. Returns notes.

        built: the image was made here. profile: as its file has it, without what flags add; profile_path is "" for a
        command line. strange: a project's.
        """
        plain = json.loads(json.dumps(profile))
        asks = strange or self._mode == "approve"
        return started(self._store, image=image, built=built, profile=plain, path=profile_path, asks=asks)

    def needs_listing(self, method: str) -> str | None:
        """The list that has to be asked for in full before a request may be judged; None if none has."""
        if method not in CALLS:
            return None
        kind = CALLS[method][0]
        return None if self._walks[kind].complete else _KINDS[kind].method

    def restarted(self) -> None:
        """Another sandbox runs: what the last one declared says nothing of it."""
        for walk in self._walks.values():
            walk.forget()

    def list_changed(self, method: str) -> None:
        """The server says that a list is another now."""
        for listing in CHANGED.get(method, ()):
            self._walks[LISTS[listing].name].complete = False

    def undeclared(self, method: str) -> None:
        """The server answered a list with an error: it declares nothing of the kind."""
        if method in LISTS:
            walk = self._walks[LISTS[method].name]
            walk.forget()
            walk.complete = True

    def schema(self, tool: str) -> Mapping[str, Any] | None:
        """The pinned tool's inputSchema."""
        pinned = self._store.pins().items.get(f"tool:{tool}")
        schema = pinned.definition.get("inputSchema") if pinned is not None else None
        return schema if type(schema) is dict else None

    # What is called

    def refusal(self, method: str, params: Mapping[str, Any]) -> IntegrityError | None:
        """Why a request is refused because of the item that it names."""
        if method not in CALLS:
            return None
        kind, member = CALLS[method]
        name = params.get(member)
        if type(name) is not str or any(key != member and key.casefold() == member for key in params):
            return self._refused(f"the request names no {kind}", f"{member} is no text, or stands in two cases")
        pins, walk, key = self._store.pins(), self._walks[kind], f"{kind}:{name}"
        pinned, forms = pins.items.get(key), walk.forms(key)
        if forms and (pinned is None or forms != {pinned.digest}):
            why = "; ".join(walk.held[key].why[:3]) if key in walk.held else "it is not as it was approved"
            return self._refused(f"{kind} {name[:80]!r} is held", _clean(why))
        if pinned is None and not forms and kind in _CLOSED and kind in pins.known:
            return self._refused(f"{kind} {name[:80]!r} is not known", "the server does not declare it")
        return None

    def _refused(self, what: str, why: str) -> IntegrityError:
        return IntegrityError(what, why=why, hint=f"`bulkhead approve {self._key}` shows what waits, and asks")

    def approved_since(self) -> frozenset[str]:
        """The kinds of which others changed what this session may see, since this was last asked."""
        pins, before = self._store.pins(), self._asked
        self._asked = pins
        if before is None or pins is before:
            return frozenset()
        keys = (key for key in before.items.keys() | pins.items.keys() if _pinned(before, key) != _pinned(pins, key))
        return frozenset(key.partition(":")[0] for key in keys if key in before.items or self._waited_for(key, pins))

    def _waited_for(self, key: str, pins: Pins) -> bool:
        kind = key.partition(":")[0]
        seen = kind not in self._walks or bool(self._walks[kind].forms(key))
        return seen and self._mine.get(key) != _pinned(pins, key)

    # What is declared

    def listed(self, method: str, params: Mapping[str, Any], result: dict[str, Any]) -> Judged:
        """The result of a list. Its nextCursor is gone where too many pages, items or bytes came before."""
        kind = LISTS.get(method)
        if kind is None:
            return Judged(result)
        walk, cursor = self._walks[kind.name], params.get("cursor")
        if not walk.follows(cursor):
            return self._page(kind, walk, result, door=False)
        again = cursor is None and walk.pages > 0
        if cursor is None:
            walk.begin()
            self._know(kind, walk)
        judged = self._page(kind, walk, result, door=walk.door and not again)
        if again and judged.changes:
            walk.door = False
        following = result.get("nextCursor")
        full = walk.room == 0 and following is not None
        walk.turn(None if full else following)
        notes = judged.notes + self._gone(kind, walk)
        if not full:
            return replace(judged, notes=notes)
        shorter = {key: value for key, value in judged.result.items() if key != "nextCursor"}
        return Judged(shorter, (*notes, f"{method} has no end: the rest is left out"), judged.changes)

    def introduced(self, result: dict[str, Any]) -> Judged:
        """The result of `initialize` or `server/discover`. What is held of it is replaced by what is pinned."""
        (item,) = items("initialize", result)
        pins = self._store.pins()
        digests = {SERVER: digest_of(item)}
        held, notes = self._compared([item], digests, [], door=self._mode == "first-use" and "server" not in pins.known)
        odd = odd_members("initialize", result)
        if not held and not odd:
            return Judged(result, notes)
        seen = {key: value for key, value in result.items() if key not in odd}
        if held:
            pinned = self._store.pins().items.get(SERVER)
            unknown = {"serverInfo": {"name": self._key, "version": "unknown"}}
            seen = introduced_as(seen, pinned.definition if pinned is not None else unknown)
        return Judged(seen, (*notes, *_told(held, odd)), tuple(held.values()))

    def _page(self, kind: Kind, walk: Walk, result: dict[str, Any], *, door: bool) -> Judged:
        entries = result.get(kind.member, [])
        several = type(entries) is list
        taken = entries[: walk.room] if several else entries
        declared = items(kind.method, {kind.member: taken})
        pinned = self._store.pins().items
        texts = {item.key: quick(item.value) for item in declared}
        digests = {item.key: _digest(item, texts[item.key], pinned.get(item.key)) for item in declared}
        gone = [key for key in walk.unseen(pinned) if key.startswith(f"{kind.name}:") and key not in digests]
        held, notes = self._compared(declared, digests, gone, door=door)
        walk.saw(digests, held, sum(map(len, texts.values())))
        odd = odd_members(kind.method, result)
        if not held and not odd and (not several or len(taken) == len(entries)):
            return Judged(result, notes)
        kept = [value for value, item in zip(taken, declared, strict=True) if item.key not in held] if several else []
        seen = {key: value for key, value in result.items() if key not in odd} | {kind.member: kept}
        return Judged(seen, (*notes, *_told(held, odd)), tuple(held.values()))

    def _compared(
        self, declared: Sequence[Item], digests: Mapping[str, str], gone: Iterable[str], *, door: bool
    ) -> tuple[dict[str, Held], tuple[str, ...]]:
        """What is held of the items, and what is told of the others. What is new is pinned while the door is open."""
        pins = self._store.pins()
        if self._asked is None:
            self._asked = pins
        if all(_pinned(pins, item.key) == digests[item.key] for item in declared):
            return {}, ()
        with self._store.locked():
            pins = self._store.pins()
            comparison = Comparison(
                pins.items, declared=declared, door=door, gone=gone, others=self._others, room=self._room
            )
            judged = ((item.key, comparison.held(item, digests[item.key])) for item in declared)
            held = {key: one for key, one in judged if one is not None}
            self._room = comparison.room
            self._pin(pins, comparison.fresh, digests)
            self._hold(held)
        return held, tuple(comparison.notes[:_MOST_NOTES])

    def _know(self, kind: Kind, walk: Walk) -> None:
        """The first list of a kind, in whatever session, opens its door; it is known from then on."""
        if kind.name in self._store.pins().known:
            return
        with self._store.locked():
            pins = self._store.pins()
            if kind.name not in pins.known:
                walk.door = self._mode == "first-use"
                self._store.put(_grown(pins, known=pins.known | {kind.name}))

    def _pin(self, pins: Pins, fresh: Mapping[str, Item], digests: Mapping[str, str]) -> None:
        known = pins.known | ({"server"} & {key.rstrip(":") for key in digests})
        if not fresh and known == pins.known:
            return
        at = now()
        added = {key: Pinned(digests[key], item.value, FIRST_USE, at) for key, item in fresh.items()}
        self._store.put(_grown(pins, items={**pins.items, **added}, known=known))
        self._mine |= {key: digests[key] for key in fresh}

    def _hold(self, held: Mapping[str, Held]) -> None:
        if not held:
            return
        waiting, since = self._store.waiting(), now()
        merged = with_held(waiting, {key: entry_of(one, since) for key, one in held.items()})
        if merged != waiting:
            self._store.put_waiting(merged)

    def _gone(self, kind: Kind, walk: Walk) -> tuple[str, ...]:
        """What is pinned and was on no page, told once."""
        if not walk.complete:
            return ()
        unseen = (key for key in walk.unseen(self._store.pins().items) if key.startswith(f"{kind.name}:"))
        gone = sorted(set(unseen) - self._missed)
        self._missed.update(gone)
        return _bounded([f"{_clean(key)} is not declared any more" for key in gone])


def _grown(pins: Pins, **changes: Any) -> Pins:
    """The same version with what its first use adds."""
    return replace(pins, version=max(1, pins.version), at=pins.at or now(), **changes)


def _pinned(pins: Pins, key: str) -> str:
    """A digest that no item has where nothing is pinned."""
    return pins.items[key].digest if key in pins.items else "none"


def _digest(item: Item, text: str, pinned: Pinned | None) -> str:
    """An item's digest, as it is known already where the item is as it was pinned; "" for an odd one."""
    if item.odd:
        return ""
    return pinned.digest if pinned is not None and quick(pinned.definition) == text else digest_of(item)


def _told(held: Mapping[str, Held], odd: Sequence[str]) -> tuple[str, ...]:
    lines = [f"{_clean(key)} is held: {_clean('; '.join(one.why[:3]))}" for key, one in held.items()]
    return _bounded([*lines, *(f"the member {_clean(name)} is left out: hosts read it differently" for name in odd)])


def _bounded(lines: Sequence[str]) -> tuple[str, ...]:
    more = len(lines) - _MOST_NOTES
    return tuple(lines) if more <= 0 else (*lines[:_MOST_NOTES], f"and {more} more")


def _clean(text: str) -> str:
    from bulkhead.policy.visible import shown  # noqa: PLC0415 - only for what is told

    return shown(text[:400])
