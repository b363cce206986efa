"""How far one kind of a server's lists was walked: its pages, what was on them, and whether the door is open. PURE.

The door is open in the session that first asks for a list, from its first page through those that follow by their
cursors. It shuts with the last page, with another first page that has something new, or where there is no end: what is
new later is held. A host that asks for the first page alone does not shut it: the runner asks anew before a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bulkhead.policy.pins import Held

MOST_PAGES, MOST_ITEMS, MOST_BYTES = 100, 10_000, 64 * 2**20


class Walk:
    """One kind in one session. complete: all of its pages came, and nothing was said to have changed since."""

    def __init__(self) -> None:
        self.complete = False
        self.door = False
        self.pages = 0
        self.held: dict[str, Held] = {}
        self._bytes = 0
        self._cursors: set[str] = set()
        self._seen: dict[str, str] = {}  # digests; "" for what came in two forms, or is odd
        self._before: dict[str, str] = {}  # what walks before saw, until this one is at its end

    def begin(self) -> None:
        """Another first page."""
        self._before = _merged(self._before, self._seen)
        self._seen, self._cursors = {}, set()
        self.pages = self._bytes = 0

    def forget(self) -> None:
        """Another sandbox: nothing is known of what it declares."""
        self.begin()
        self.complete, self._before, self.held = False, {}, {}

    def follows(self, cursor: object) -> bool:
        """Whether a page belongs to the walk: its first one, or one whose cursor an earlier page gave."""
        return cursor is None or (type(cursor) is str and cursor in self._cursors)

    @property
    def room(self) -> int:
        """How many more items may come."""
        full = self.pages >= MOST_PAGES or self._bytes > MOST_BYTES
        return 0 if full else max(0, MOST_ITEMS - len(self._seen))

    def saw(self, digests: Mapping[str, str], held: Mapping[str, Held], size: int) -> None:
        """One page, of so many bytes."""
        self.pages += 1
        self._bytes += size
        self._seen = _merged(self._seen, digests)
        self.held = {**{key: one for key, one in self.held.items() if key not in digests}, **held}

    def turn(self, cursor: object) -> None:
        """What asks for the next page; without it, this was the last one."""
        if type(cursor) is str:
            self._cursors.add(cursor)
        else:
            self.complete, self.door, self._before = True, False, {}

    def forms(self, key: str) -> set[str]:
        """The digests with which an item was seen; none if it was not seen."""
        return {seen[key] for seen in (self._seen, self._before) if key in seen}

    def unseen(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that this walk has not seen."""
        return {key for key in keys if key not in self._seen}


def _merged(first: Mapping[str, str], then: Mapping[str, str]) -> dict[str, str]:
    return {**first, **{key: digest if first.get(key, digest) == digest else "" for key, digest in then.items()}}
