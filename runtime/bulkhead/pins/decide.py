"""What a person decides: to approve or reject what waits, or to go back to what was approved before.

Rules: a decision is for exactly what was shown. Under the lock it is looked whether that is still what waits, and if
not, nothing is changed. Every decision makes a version of its own, and the one before is kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bulkhead.errors import IntegrityError, UsageError
from bulkhead.pins.store import next_version, now
from bulkhead.policy.declared import digest, form
from bulkhead.policy.pins import IMAGE, PROFILE, Pinned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.pins.store import Pins, Store
    from bulkhead.pins.waiting import Waiting


def pinned_value(pins: Pins, key: str) -> Any:
    """What is pinned under a key, in the form in which it waits; None where nothing is."""
    if key == IMAGE:
        return pins.image or None
    if key == PROFILE:
        return {"profile": pins.profile, "path": pins.path, "text": pins.text} if pins.profile else None
    return pins.items[key].definition if key in pins.items else None


def approve(store: Store, seen: Pins, chosen: Mapping[str, Waiting], *, by: str) -> Pins:
    """Pins what was shown, against what it was compared with. Raises IntegrityError where either is another by now."""
    with store.locked():
        pins, waiting = store.pins(), store.waiting()
        _require_unchanged(store, seen, pins, chosen, waiting)
        items, at, others = dict(pins.items), now(), dict[str, Any]()
        for key, entry in chosen.items():
            if key == IMAGE:
                others["image"] = entry.definition
            elif key == PROFILE:
                others |= entry.definition
            else:
                items[key] = Pinned(digest(form(key.partition(":")[0], entry.definition)), entry.definition, by, at)
        approved = next_version(pins, by=by, why=f"approved {', '.join(chosen)}"[:500], items=items, **others)
        store.put(approved)
        store.put_waiting({key: entry for key, entry in waiting.items() if key not in chosen})
    return approved


def reject(store: Store, seen: Pins, chosen: Mapping[str, Waiting], *, by: str) -> None:
    """Marks what was shown; it stays held. Raises IntegrityError where it is another by now."""
    with store.locked():
        waiting = store.waiting()
        _require_unchanged(store, seen, store.pins(), chosen, waiting)
        said = {key: replace(entry, rejected=f"{by}, {now()}") for key, entry in chosen.items()}
        store.put_waiting({**waiting, **said})


def former(store: Store, number: int = 0) -> Pins:
    """The version that a rollback brings back: the one before, or this one. Raises UsageError if there is none."""
    pins = store.pins()
    before = number or (pins.restored or pins.version) - 1
    if before < 1:
        why = "there is only one" if pins.version else "nothing was ever pinned"
        raise UsageError(f"{store.key} has no former version", why=why)
    return store.version(before)


def roll_back(store: Store, seen: Pins, back: Pins, *, by: str) -> Pins:
    """Makes a former version the current one. What was first used since then stays pinned, or it would be open again.

    Raises IntegrityError where the current version is not the one that was shown.
    """
    with store.locked():
        pins = store.pins()
        if pins != seen:
            raise _changed(store, "rolled back")
        since = {key: item for key, item in pins.items.items() if key.partition(":")[0] not in back.known}
        number = back.restored or back.version
        restored = replace(
            back,
            version=pins.version + 1,
            restored=number,
            known=back.known | pins.known,
            items={**back.items, **since},
            by=by,
            at=now(),
            why=f"rolled back to version {number}",
        )
        store.put(restored)
    return restored


def _require_unchanged(
    store: Store, seen: Pins, pins: Pins, chosen: Mapping[str, Waiting], waiting: Mapping[str, Waiting]
) -> None:
    for key, entry in chosen.items():
        other = key not in waiting or digest(waiting[key].definition) != digest(entry.definition)
        if other or digest(pinned_value(seen, key)) != digest(pinned_value(pins, key)):
            raise _changed(store, "approved or rejected")


def _changed(store: Store, what: str) -> IntegrityError:
    why = "what was shown is not what is there now"
    return IntegrityError(f"nothing of {store.key} was {what}", why=why, hint="look again, and decide on that")
