"""A profile's own rules, in Cedar: who may do what, with which arguments. They only restrict: `[tools]` stays first.

    principal  User::"NAME"          action  Action::"tools/call", "prompts/get" or "resources/read"
    resource   Tool::"NAME", Prompt::"NAME" or Resource::"URI", in Server::"NAME"
    context    { arguments: { ... } }

Rules: a `forbid` that matches denies; with `@decision("ask")` on it the person is asked instead. Where the text has no
`permit`, all that is not forbidden is permitted. Deny wins over ask, and a rule that cannot be evaluated denies.
How Cedar sees arguments stands in cedar_values.py.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from bulkhead.errors import DeniedError
from bulkhead.policy.cedar_values import UnmappableError, in_case, mapped
from bulkhead.policy.schemas import extent
from bulkhead.policy.verdict import ALLOW, Ask, Deny, Hold
from bulkhead.wire.messages import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cedarpy import AuthzResult, Entities, PolicySet

    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message

# What each method that is judged is about: the type of its resource, and the parameter that names it.
_ABOUT = {"tools/call": ("Tool", "name"), "prompts/get": ("Prompt", "name"), "resources/read": ("Resource", "uri")}
_TYPES = frozenset({"User", "Action", "Tool", "Prompt", "Resource", "Server", "Null", "Number"})
_PARAMS = frozenset({"name", "uri", "arguments"})
_PERMIT = {"effect": "permit", "conditions": []} | {part: {"op": "All"} for part in ("principal", "action", "resource")}
# Cedar takes 4 us for a value.
_MOST_VALUES = 20_000
_ID = re.compile(r"policy `(\w+)`")
_NO_ATTRIBUTE = re.compile(r"does not have the attribute `([^`]*)`")
_HINT = "change the rules in [guards] of the profile if it is meant to be allowed"


class _Rule(NamedTuple):
    asks: bool
    words: str


class _Rules(NamedTuple):
    """policies: all. unasked: all that do not ask. rules: by Cedar's id. keys: what the rules read, as written."""

    policies: PolicySet
    unasked: PolicySet
    rules: Mapping[str, _Rule]
    keys: Mapping[str, frozenset[str]]


def check(text: str) -> None:
    """Raises ValueError with the line, and what is wrong there."""
    policies = _parsed(text)
    if policies["templates"]:
        raise ValueError(f"line {_line(text, '?')}: a rule with a slot is a template, which nothing fills")
    for policy in policies["staticPolicies"].values():
        annotations = policy.get("annotations", {})
        if "decision" in annotations and (annotations["decision"], policy["effect"]) != ("ask", "forbid"):
            at = _line(text, "@decision")
            raise ValueError(f'line {at}: a decision is @decision("ask"), on a forbid: who may not, may be asked for')
        for kind, name in _entities(policy):
            if kind not in _TYPES:
                at = _line(text, kind)
                raise ValueError(f"line {at}: there is no type {kind}; known are {', '.join(sorted(_TYPES))}")
            if kind == "Action" and name not in _ABOUT:
                at = _line(text, f'"{name}"')
                raise ValueError(f"line {at}: no such action is judged; there are {', '.join(_ABOUT)}")


def judged(message: Message, context: Context) -> Verdict:
    """Denies, or asks the person about, what spec.guards.rules forbid."""
    if not context.spec.guards.rules or context.method not in _ABOUT or not isinstance(message, Request):
        return ALLOW
    rules = _compiled(context.spec.guards.rules)
    kind, key = _ABOUT[context.method]
    name = message.params.get(key)
    what = f"{kind.lower()} {name!r} is denied"
    try:
        _few(message)
        request = _request(message.params, context, rules)
    except UnmappableError as error:
        return _denied(what, str(error))
    result = _decided(request, rules.policies, kind, context)
    matched = [rules.rules[each] for each in sorted(result.diagnostics.reasons) if each in rules.rules]
    if why := _forbidden(result, matched, rules):
        return _denied(what, why)
    asks = [rule for rule in matched if rule.asks]
    if asks and not _decided(request, rules.unasked, kind, context).allowed:
        return _denied(what, "no rule permits it")
    effects = (Ask(rule.words) for rule in asks)
    return next((Hold(effect) for effect in effects if effect not in context.done), ALLOW)


def _forbidden(result: AuthzResult, matched: list[_Rule], rules: _Rules) -> str:
    """Why it is denied, whatever the person would say; "" if it is not."""
    if hard := [rule for rule in matched if not rule.asks and not result.allowed]:
        return hard[0].words
    if errors := result.diagnostics.errors:
        return _unevaluated(errors[0], rules)
    return "" if result.allowed or matched else "no rule permits it"


def _unevaluated(error: str, rules: _Rules) -> str:
    """In words of our own, because Cedar's can repeat an argument's value."""
    found, attribute = _ID.search(error), _NO_ATTRIBUTE.search(error)
    rule = rules.rules.get(found[1]) if found else None
    because = f": they have no {attribute[1]!r}, for which `has` would ask" if attribute else ""
    return f"{rule.words if rule else 'a rule'} cannot be evaluated for these arguments{because}"


def _denied(what: str, why: str) -> Deny:
    return Deny(DeniedError(what, why=why, hint=_HINT, reason="rules"))


def _decided(request: dict[str, Any], policies: PolicySet, kind: str, context: Context) -> AuthzResult:
    from cedarpy import is_authorized  # noqa: PLC0415 - 70 ms, and few profiles have rules

    entities = _entities_of(kind, request["resource"]["id"], context.spec.name)
    return is_authorized(request, policies, entities)


@lru_cache(256)
def _entities_of(kind: str, name: str, server: str) -> Entities:
    from cedarpy import Entities  # noqa: PLC0415 - as above

    entity = {"uid": {"type": kind, "id": name}, "attrs": {}, "parents": [{"type": "Server", "id": server}]}
    return Entities.from_json_str(json.dumps([entity]))


def _few(request: Request) -> None:
    """Raises UnmappableError for more values than can be judged in time. A value has two bytes at least."""
    if len(request.raw) > 2 * _MOST_VALUES and extent(request.params.get("arguments"))[0] > _MOST_VALUES:
        raise UnmappableError(f"the arguments have more than {_MOST_VALUES} values, too many for rules")


def _request(params: Mapping[str, Any], context: Context, rules: _Rules) -> dict[str, Any]:
    kind, key = _ABOUT[context.method]
    if type(params.get(key)) is not str:
        raise UnmappableError(f"the request names no {kind.lower()}: {key} is not a string")
    in_case(params, {name: frozenset({name}) for name in _PARAMS})
    return {
        "principal": {"type": "User", "id": context.user},
        "action": {"type": "Action", "id": context.method},
        "resource": {"type": kind, "id": params[key]},
        "context": {"arguments": mapped(params.get("arguments") or {}, rules.keys)},
    }


@lru_cache(16)
def _compiled(text: str) -> _Rules:
    policies = _parsed(text)["staticPolicies"]
    rules = {key: _rule(number, policy) for number, (key, policy) in enumerate(policies.items(), 1)}
    if not any(policy["effect"] == "permit" for policy in policies.values()):
        policies["permitted"] = _PERMIT
    keys: dict[str, frozenset[str]] = {}
    for key in _keys(policies):
        keys[key.casefold()] = keys.get(key.casefold(), frozenset()) | {key}
    unasked = {key: policy for key, policy in policies.items() if key not in rules or not rules[key].asks}
    return _Rules(_policy_set(policies), _policy_set(unasked), rules, keys)


def _policy_set(policies: dict[str, Any]) -> PolicySet:
    from cedarpy import PolicySet  # noqa: PLC0415 - as above

    whole = {"templates": {}, "staticPolicies": policies, "templateLinks": []}
    return PolicySet.from_json_str(json.dumps(whole))


def _rule(number: int, policy: dict[str, Any]) -> _Rule:
    said = policy.get("annotations", {})
    words = ": ".join(text for text in (said.get("id") or f"rule {number}", said.get("reason")) if text)
    return _Rule(said.get("decision") == "ask", words)


def _parsed(text: str) -> dict[str, Any]:
    """The policies as JSON. Raises ValueError with the line of what Cedar does not read."""
    if words := _refusal(text):
        raise ValueError(f"line {_first_wrong(text, words)}: {words}")
    from cedarpy import policies_to_json_str  # noqa: PLC0415 - as above

    policies: dict[str, Any] = json.loads(policies_to_json_str(text))
    return policies


def _refusal(text: str) -> str:
    from cedarpy import policies_to_json_str  # noqa: PLC0415 - as above

    try:
        policies_to_json_str(text)
    except ValueError as error:
        return str(error)
    return ""


def _first_wrong(text: str, words: str) -> int:
    """Cedar says what, not where: the first line up to which the text is wrong in the same way."""
    lines = text.splitlines()
    low, high = 1, max(1, len(lines))
    while low < high:
        middle = (low + high) // 2
        if _refusal("\n".join(lines[:middle])) == words:
            high = middle
        else:
            low = middle + 1
    return low


def _line(text: str, word: str) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) if word in line), 1)


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    """All tables in a policy's JSON."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _walk(inner)


def _entities(policy: Any) -> Iterator[tuple[str, str]]:
    """Type and name of all entities that a policy names; the name is "" where only the type is."""
    for table in _walk(policy):
        if isinstance(table.get("entity_type"), str):
            yield table["entity_type"], ""
        elif isinstance(table.get("type"), str) and isinstance(table.get("id"), str):
            yield table["type"], table["id"]


def _keys(policies: Any) -> Iterator[str]:
    """The names of attributes that the policies read."""
    return (table["attr"] for table in _walk(policies) if isinstance(table.get("attr"), str))
