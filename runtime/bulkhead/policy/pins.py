"""What was approved, compared with what is declared now: an item passes, is pinned unasked, or is held. PURE.

Rules: an item is compared on its own, wherever it came from, so a list that differs between callers or pages is seen.
Held is what differs from its pin in any leaf; what is new while the door is shut; at first use what the scan holds; and
what nobody could approve, because two hosts would read it differently. What was approved passes, whatever a scan says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from bulkhead.policy.declared import IDENTITY, LISTS, STAMP, Change, canonical, differences, digest, form
from bulkhead.spec import EgressRule, Mount, SecretBinding, Server, ServerSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from bulkhead.policy.declared import Item
    from bulkhead.policy.scan import Finding

IMAGE, PROFILE = "image:", "profile:"
# Leaves that a refusal names, and those that a held item carries; `bulkhead approve` shows all.
_NAMED, MOST_CHANGES = 4, 100
# Pinned names with which a new one is compared.
_COMPARED = 1000
_IDS = {kind.name: kind.id for kind in LISTS.values()}


@dataclass(frozen=True, slots=True)
class Pinned:
    """One approved item. by: who approved it, "first use" where nobody was asked. at: RFC 3339, UTC."""

    digest: str
    definition: Any
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class Held:
    """One item that waits for a person. why: a line each. changes: the first MOST_CHANGES leaves. odd: as Item's."""

    key: str
    digest: str
    definition: Any
    why: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    odd: str = ""


def changes_of(kind: str, before: Any, after: Any) -> Iterator[Change]:
    """The leaves in which two values of one item differ."""
    return differences(form(kind, before), form(kind, after))


def places(changes: Sequence[Change]) -> str:
    """ "/description, /inputSchema/type and 3 more"."""
    named = ", ".join(change.at[:200] or "its whole" for change in changes[:_NAMED])
    more = len(changes) - _NAMED
    return named if more <= 0 else f"{named} and {more}{'' if len(changes) < MOST_CHANGES else ' or more'} more"


class Comparison:
    """Items of one page against what is pinned. What came to nothing is in fresh: new, and let in.

    declared: what is on the page. gone: the keys of pinned items that are not declared now. others: gives the names of
    each other server's tools. room: how many characters may still be scanned. notes: what is told of what passes.
    """

    def __init__(
        self,
        pinned: Mapping[str, Pinned],
        *,
        declared: Iterable[Item],
        door: bool,
        gone: Iterable[str],
        others: Callable[[], Mapping[str, Collection[str]]],
        room: int,
    ) -> None:
        self.room = room
        self.fresh: dict[str, Item] = {}
        self.notes: list[str] = []
        self._pinned = pinned
        self._own = {item.name for item in declared} | {key.removeprefix("tool:") for key in pinned}
        self._door = door
        self._gone = gone
        self._others = others
        self._bodies: dict[str, str] | None = None
        self._names: Mapping[str, Collection[str]] | None = None
        self._skeletons: dict[str, dict[str, str]] = {}

    def held(self, item: Item, digest_now: str) -> Held | None:
        """Why an item is held; None if it passes."""
        pinned = self._pinned.get(item.key)
        if pinned is not None and not item.odd and pinned.digest == digest_now:
            return None
        self.room -= len(canonical(item.value))
        findings = tuple(self._scanned(item)) if self.room > 0 else ()
        stop = tuple(f"{one.why}, at {one.at or 'its whole'}" for one in findings if one.level == "hold")
        stop += () if self.room > 0 else ("there is too much text to scan all of it",)
        if item.odd:
            return Held(item.key, digest(item.value), item.value, (item.odd, *stop), findings=findings, odd=item.odd)
        if pinned is not None:
            changes = tuple(islice(changes_of(item.kind, pinned.definition, item.value), MOST_CHANGES))
            why = (f"changed at {places(changes)}", *stop)
            return Held(item.key, digest_now, item.value, why, changes, findings)
        told = self._told(item)
        if not self._door or stop:
            return Held(item.key, digest_now, item.value, ("new", *told, *stop), findings=findings)
        self.fresh[item.key] = item
        self.notes += [f"{item.key} {line}" for line in told]
        return None

    def _scanned(self, item: Item) -> list[Finding]:
        from bulkhead.policy.scan import scan  # noqa: PLC0415 - only what differs from its pin is scanned

        if self._names is None:
            self._names = self._others()
        # A server may speak of its own tools, though another has some of the same names.
        return scan(item.value, tools={name for names in self._names.values() for name in names} - self._own)

    def _told(self, item: Item) -> list[str]:
        """Whose body, name or look-alike a new item has."""
        lines = [self._renamed(item)] if item.kind in _IDS else []
        if item.kind in ("tool", "prompt"):
            lines.append(self._lookalike(item))
        if item.kind == "tool" and self._names:
            lines += [f"takes the name of a tool of {key}" for key, names in self._names.items() if item.name in names]
        return [line for line in lines if line]

    def _renamed(self, item: Item) -> str:
        if self._bodies is None:
            self._bodies = {_body(item.kind, self._pinned[key].definition): key for key in self._gone}
        before = self._bodies.get(_body(item.kind, item.value))
        return f"renamed from {before}, with the same body" if before else ""

    def _lookalike(self, item: Item) -> str:
        from bulkhead.policy.lookalikes import skeleton  # noqa: PLC0415 - only what is new is compared

        if item.kind not in self._skeletons:
            names = (key.removeprefix(f"{item.kind}:") for key in self._pinned if key.startswith(f"{item.kind}:"))
            self._skeletons[item.kind] = {skeleton(name): name for name in islice(names, _COMPARED)}
        own = skeleton(item.name)
        near = self._skeletons[item.kind].get(own) if own else None
        return f"looks like {item.kind}:{near}" if near else ""


def _body(kind: str, definition: dict[str, Any]) -> str:
    """The digest of all but the name."""
    return digest(form(kind, {key: value for key, value in definition.items() if key != _IDS[kind]}))


# The server's identity


def introduced_as(result: dict[str, Any], identity: Mapping[str, Any]) -> dict[str, Any]:
    """The result with another identity; its serverInfo stands where the result's stood, or its era has it."""
    shown = {key: value for key, value in result.items() if key not in IDENTITY}
    shown |= {key: identity[key] for key in ("instructions", "_meta") if key in identity}
    info = identity.get("serverInfo")
    if info is None:
        return shown
    stamped = type(result.get("_meta")) is dict and STAMP in result["_meta"]
    if stamped or ("serverInfo" not in result and "supportedVersions" in result):
        shown["_meta"] = {**shown.get("_meta", {}), STAMP: info}
    return shown if "supportedVersions" in result and "serverInfo" not in result else shown | {"serverInfo": info}


# The profile


def profile_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """In what an effective profile differs; a default that Bulkhead has since then is no change."""
    if canonical(before) == canonical(after):
        return []
    return list(differences(_with_defaults(before), _with_defaults(after)))


def _with_defaults(profile: Mapping[str, Any]) -> dict[str, Any]:
    """The profile with all keys that are not written in it."""
    whole = asdict(ServerSpec("", Server()))
    entries = {"mounts": asdict(Mount("", "")), "egress": asdict(EgressRule("", ()))}
    entries["secrets"] = asdict(SecretBinding("", ""))
    for key, value in profile.items():
        if key in entries:
            whole[key] = [entries[key] | entry for entry in value]
        elif type(value) is dict:
            whole[key] = whole.get(key, {}) | value
        else:
            whole[key] = value
    return whole
