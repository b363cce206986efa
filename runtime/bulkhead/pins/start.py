"""What a server is started from: its image and its profile are those that were pinned, or a person is asked.

Rules: the first start pins both: the person has named this profile, and the image was made from it. A person's edit of
their own profile is their word, and an image that is another because of it comes with it; so is an image that was built
here, from a lock with digests. All else is held: a profile that somebody else changed, an image of another origin.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.errors import IntegrityError
from bulkhead.pins.store import next_version, now
from bulkhead.pins.waiting import Waiting, with_held
from bulkhead.policy.declared import canonical, digest
from bulkhead.policy.pins import IMAGE, PROFILE, places, profile_changes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkhead.pins.store import Pins, Store
    from bulkhead.policy.declared import Change


def started(
    store: Store, *, image: str, built: bool, profile: Mapping[str, Any], path: str, asks: bool
) -> tuple[str, ...]:
    """Notes of what was pinned unasked. built: the image was made here. asks: a changed profile waits for a person.

    Raises IntegrityError.
    """
    pins = store.pins()
    changes = profile_changes(pins.profile, profile) if pins.profile else []
    if pins.image == image and pins.profile and not changes:
        _forget(store)
        return ()
    with store.locked():
        pins = store.pins()
        if not pins.profile:
            text = _text(path)
            first = replace(pins, image=image, profile=profile, path=path, text=text, version=max(1, pins.version))
            store.put(replace(first, at=pins.at or now()))
            return ("image and profile are pinned",)
        return _changed(store, pins, image, profile, path, built=built, asks=asks)


def _changed(
    store: Store, pins: Pins, image: str, profile: Mapping[str, Any], path: str, *, built: bool, asks: bool
) -> tuple[str, ...]:
    changes = profile_changes(pins.profile, profile)
    own = bool(changes) and not asks
    follows = built or (own and canonical(pins.profile.get("server")) != canonical(profile.get("server")))
    moved = image != pins.image
    whole = {"profile": profile, "path": path, "text": _text(path)}
    held = dict[str, Waiting]()
    if changes and asks:
        held[PROFILE] = Waiting(digest(whole), whole, (f"changed at {places(changes)}",), now())
    if moved and not follows:
        held[IMAGE] = Waiting(digest(image), image, ("the image is another",), now())
    notes = _notes(changes if own else (), image if moved and follows else "")
    if notes and not held:
        fields = {**(whole if own else {}), "image": image}
        store.put(next_version(pins, by="its own file" if own else "its build", why="; ".join(notes), **fields))
    if held:
        store.put_waiting(with_held(store.waiting(), held))
        raise _refusal(store.key, sorted(held), changes)
    return notes


def _notes(changes: Sequence[Change], image: str) -> tuple[str, ...]:
    """What is pinned anew, unasked."""
    profile = (f"the profile is yours and changed at {places(changes)}",) if changes else ()
    return (*profile, f"the image is {image} now") if image else profile


def _refusal(key: str, held: Sequence[str], changes: Sequence[Change]) -> IntegrityError:
    what = " and ".join(name.rstrip(":") for name in held)
    why = [f"the profile changed at {places(changes)}"] if PROFILE in held else []
    why += ["the image has another digest than the pinned one"] if IMAGE in held else []
    hint = f"`bulkhead approve {key}` shows the difference, and asks"
    return IntegrityError(f"{what} of {key} changed since they were pinned", why="; ".join(why), hint=hint)


def _forget(store: Store) -> None:
    """Image and profile are as they were pinned: what waits of them is out of date."""
    if not {IMAGE, PROFILE} & store.waiting().keys():
        return
    with store.locked():
        store.put_waiting({key: entry for key, entry in store.waiting().items() if key not in (IMAGE, PROFILE)})


def _text(path: str) -> str:
    """The profile's file, for a rollback; "" where it went after it was read and judged."""
    try:
        return Path(path).read_text(encoding="utf-8") if path else ""
    except (OSError, ValueError):
        return ""
