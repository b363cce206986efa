"""Every leaf of all that a server declares: changed, removed or added, it is told, held, hidden, and refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.policy.declared import LISTS
from tests.pins.rich import DISCOVERED, INTRODUCTION, PROMPT, RESOURCE, TEMPLATE, TOOL, mutants

if TYPE_CHECKING:
    from tests.pins.rich import Mutant

DECLARED = [("tools/list", TOOL), ("prompts/list", PROMPT), ("resources/list", RESOURCE)]
DECLARED += [("resources/templates/list", TEMPLATE)]
_CALL_OF = {"tool": "tools/call", "prompt": "prompts/get", "resource": "resources/read"}
# What of an identity depends on who asks.
_OF_THE_ASKER = frozenset({"protocolVersion", "capabilities", "supportedVersions", "resultType", "ttlMs", "cacheScope"})


def _judged(session: Any, method: str, value: Any) -> list[tuple[str, Mutant]]:
    """(what went wrong, mutant) of each that was not held, told or refused."""
    kind = LISTS[method]
    session().list(method, value)
    wrong = []
    for mutant in mutants(value, skipped=frozenset({kind.id})):
        now = session()
        judged = now.list(method, mutant.value)
        changes = [change.at for one in judged.changes for change in one.changes]
        if judged.result[kind.member]:
            wrong.append(("shown", mutant))
        if not any(at.startswith(mutant.at) or mutant.at.startswith(at) for at in changes):
            wrong.append(("not told where", mutant))
        if kind.name in _CALL_OF and "is held: changed at /" not in now.why(value[kind.id], _CALL_OF[kind.name]):
            wrong.append(("called", mutant))
    return wrong


@pytest.mark.parametrize(("method", "value"), DECLARED, ids=[method for method, _ in DECLARED])
def test_every_leaf_is_held_told_and_refused(session: Any, method: str, value: Any) -> None:
    assert _judged(session, method, value) == []


def test_how_many_that_were() -> None:
    counts = {method: len(list(mutants(value, frozenset({LISTS[method].id})))) for method, value in DECLARED}
    assert counts == {"tools/list": 187, "prompts/list": 31, "resources/list": 33, "resources/templates/list": 21}


@pytest.mark.parametrize("era", [INTRODUCTION, DISCOVERED], ids=["initialize", "server/discover"])
def test_every_leaf_of_the_identity_is_replaced_by_the_pinned_one(session: Any, era: dict[str, Any]) -> None:
    assert session().book.introduced(INTRODUCTION).result is INTRODUCTION
    assert session().book.introduced(era).result is era
    wrong = []
    for mutant in mutants(era, skipped=_OF_THE_ASKER):
        judged = session().book.introduced(mutant.value)
        if mutant.at == "/added":
            continue
        seen = {key: value for key, value in judged.result.items() if key not in _OF_THE_ASKER}
        if seen != {key: value for key, value in era.items() if key not in _OF_THE_ASKER} or not judged.changes:
            wrong.append(mutant)
    assert wrong == []


@pytest.mark.parametrize("member", sorted(_OF_THE_ASKER))
def test_what_depends_on_who_asks_is_no_change(session: Any, member: str) -> None:
    session().book.introduced(INTRODUCTION)
    other = INTRODUCTION | {member: "other"}
    assert session().book.introduced(other).result is other
