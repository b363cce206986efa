"""What waits for a person, as it is shown: leaf by leaf, before and after, and nothing that a terminal would obey.

Texts are a stranger's. What nobody would see is shown as its number, and a long text is cut around the first character
in which it differs, which is told: `--json` has all of it. An exec: source of a profile may hold a secret, and is cut.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bulkhead.cli.profile import plain
from bulkhead.pins.decide import pinned_value
from bulkhead.policy.declared import Change, form, leaves
from bulkhead.policy.pins import PROFILE, changes_of, profile_changes
from bulkhead.policy.visible import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.text import Text

    from bulkhead.pins.store import Pins
    from bulkhead.pins.waiting import Waiting

_MOST_TEXT, _BEFORE, _MOST_LEAVES = 4000, 200, 200
_EXEC = '"exec:'


def changes(pins: Pins, key: str, entry: Waiting) -> list[Change]:
    """All leaves in which what waits differs from what is pinned; of what is new all that it has."""
    return between(key, pinned_value(pins, key), entry.definition)


def between(key: str, before: Any, after: Any) -> list[Change]:
    """The leaves of two values under one key; None is no value."""
    kind = key.partition(":")[0]
    if key == PROFILE:
        return [_masked(change) for change in profile_changes(before["profile"] if before else {}, after["profile"])]
    if before is None:
        return [Change(at, "", text) for at, text in leaves(form(kind, after)).items()]
    return list(changes_of(kind, before, after))


def as_json(server: str, key: str, entry: Waiting, found: Iterable[Change]) -> dict[str, Any]:
    """One item for programs: nothing is cut."""
    return {
        "server": server,
        "item": key,
        "digest": entry.digest,
        "why": entry.why,
        "since": entry.since,
        "rejected": entry.rejected,
        "odd": entry.odd,
        "findings": entry.findings,
        "changes": [asdict(change) for change in found],
    }


def lines(key: str, entry: Waiting, found: list[Change]) -> Iterator[Text]:
    """One item for a person."""
    from rich.text import Text

    rejected = f", rejected by {entry.rejected}" if entry.rejected else ""
    yield Text.assemble((clean(key), "bold"), f"  since {clean(entry.since)}{clean(rejected)}")
    for why in entry.why:
        yield Text(f"  {clean(why)}", "yellow")
    for finding in entry.findings:
        if finding["level"] != "hold":
            yield Text(f"  {clean(finding['why'])}, at {clean(finding['at'])}: {clean(finding['excerpt'])}", "dim")
    yield from of_leaves(found)
    if entry.odd:
        yield Text("  nobody can approve this: the server has to be mended", "red")


def of_leaves(found: list[Change]) -> Iterator[Text]:
    """Each leaf with what it was and what it is."""
    from rich.text import Text

    for change in found[:_MOST_LEAVES]:
        yield Text(f"  {clean(change.at) or '(the whole)'}")
        before, after = _cut(change.before, change.after)
        if before:
            yield Text(f"    - {before}", "red")
        if after:
            yield Text(f"    + {after}", "green")
    if len(found) > _MOST_LEAVES:
        yield Text(f"  and {len(found) - _MOST_LEAVES} more leaves: --json shows all", "red")


def print_lines(printed: Iterable[Text]) -> None:
    """Each whole, whatever the width."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    for line in printed:
        console.print(line, soft_wrap=True)


def clean(text: str) -> str:
    """One line that a terminal takes as it is, in which nothing is invisible."""
    return plain(shown(text[:_MOST_TEXT]))


def _cut(before: str, after: str) -> tuple[str, str]:
    first = next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, first - _BEFORE) if max(len(before), len(after)) > _MOST_TEXT else 0
    return _part(before, start), _part(after, start)


def _part(text: str, start: int) -> str:
    left = len(text) - start - _MOST_TEXT
    head = f"({start} characters) ... " if start else ""
    return head + clean(text[start:]) + (f" ... ({left} more characters: --json shows all)" if left > 0 else "")


def _masked(change: Change) -> Change:
    texts = (f'{_EXEC}[...]"' if text.startswith(_EXEC) else text for text in (change.before, change.after))
    return Change(change.at, *texts)
