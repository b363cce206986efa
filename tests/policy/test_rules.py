"""A profile's rules: who may do what with which arguments, what asks, and what is written or sent wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.policy import approval, rules
from bulkhead.policy.verdict import ALLOW, Ask, Deny, Hold, Verdict
from bulkhead.spec import Tools
from tests.policy.made import call, context, denial, request, spec

FORBID_MAIN = """
@id("no-main")
@reason("main is protected")
forbid (principal, action == Action::"tools/call", resource == Tool::"push")
when { context.arguments has branch && context.arguments.branch == "main" };
"""
ASK = '@decision("ask") @id("big") forbid (principal, action, resource) when { context.arguments.n > 3 };'


def judged(text: str, arguments: Any = None, *, tool: str = "read", **more: Any) -> Verdict:
    return rules.judged(call(arguments, tool), context(spec(rules=text), tool, **more))


# Who, where, what, and with which arguments

TABLE = """
permit (principal == User::"ada", action, resource);
permit (principal == User::"bob", action == Action::"tools/call", resource == Tool::"read");
permit (principal == User::"bob", action == Action::"tools/call", resource == Tool::"write")
when { context.arguments has path && context.arguments.path like "/srv/*" };
permit (principal, action, resource in Server::"public");
@id("no-drop") forbid (principal, action, resource == Tool::"drop") unless { principal == User::"ada" };
"""


@pytest.mark.parametrize("user", ["ada", "bob", "eve", ""])
@pytest.mark.parametrize("server", ["private", "public"])
@pytest.mark.parametrize("tool", ["read", "write", "drop"])
@pytest.mark.parametrize("path", ["/srv/x", "/etc/x", None])
def test_the_decision_table_of_user_server_tool_and_arguments(
    user: str, server: str, tool: str, path: str | None
) -> None:
    def allowed() -> bool:
        if user == "ada":
            return True
        if tool == "drop":
            return False
        if server == "public":
            return True
        return user == "bob" and (tool == "read" or (path or "").startswith("/srv/"))

    of = replace(spec(rules=TABLE), name=server)
    verdict = rules.judged(call({"path": path} if path else {}, tool), context(of, tool, user=user))
    assert (verdict is ALLOW) is allowed(), verdict
    if not allowed():
        why = "no-drop" if tool == "drop" else "no rule permits it"
        assert denial(verdict).why == why


@pytest.mark.parametrize(
    ("method", "params", "why"),
    [
        ("prompts/get", {"name": "daily"}, ""),
        ("prompts/get", {"name": "secret"}, "p"),
        ("prompts/get", {"name": "daily", "arguments": {"who": "root"}}, "a"),
        ("resources/read", {"uri": "file:///notes"}, ""),
        ("resources/read", {"uri": "file:///etc/passwd"}, "r"),
        ("resources/read", {"uri": 5}, "the request names no resource: uri is not a string"),
        (
            "resources/read",
            {"uri": "file:///notes", "URI": "x"},
            "'URI' is, but for its case, a name that the rules read",
        ),
        (
            "prompts/get",
            {"name": "daily", "Arguments": {}},
            "'Arguments' is, but for its case, a name that the rules read",
        ),
        ("tools/list", {}, ""),
    ],
)
def test_prompts_and_resources(method: str, params: dict[str, Any], why: str) -> None:
    text = """
    @id("p") forbid (principal, action, resource == Prompt::"secret");
    @id("a") forbid (principal, action == Action::"prompts/get", resource)
    when { context.arguments has who && context.arguments.who == "root" };
    @id("r") forbid (principal, action == Action::"resources/read", resource)
    unless { resource == Resource::"file:///notes" };
    """
    rules.check(text)
    verdict = rules.judged(request(method, **params), context(spec(rules=text), "", method=method))
    assert (denial(verdict).why if verdict is not ALLOW else "") == why


def test_a_rule_that_forbids_says_its_id_and_reason() -> None:
    error = denial(judged(FORBID_MAIN, {"branch": "main"}, tool="push"))
    assert (error.reason, error.exit_code, error.what) == ("rules", 3, "tool 'push' is denied")
    assert error.why == "no-main: main is protected"
    assert "[guards]" in error.hint


@pytest.mark.parametrize("arguments", [None, {}, {"branch": "dev"}, {"branch": None}, {"branch": 1.5}])
def test_what_no_rule_forbids_is_permitted_where_there_is_no_permit(arguments: Any) -> None:
    assert judged(FORBID_MAIN, arguments, tool="push") is ALLOW
    assert judged("// nothing yet", arguments) is ALLOW


def test_with_a_permit_of_its_own_nothing_else_is_permitted() -> None:
    text = FORBID_MAIN + 'permit (principal, action, resource == Tool::"push");'
    assert judged(text, {"branch": "dev"}, tool="push") is ALLOW
    assert denial(judged(text, {"branch": "main"}, tool="push")).why == "no-main: main is protected"
    assert denial(judged(text, {}, tool="read")).why == "no rule permits it"


def test_no_rules_no_verdict() -> None:
    assert judged("", {"branch": "main"}, tool="push") is ALLOW


# Asking

HELD = Hold(Ask("big"))


def test_a_rule_that_asks_holds_until_it_was_asked() -> None:
    assert judged(ASK, {"n": 4}) == HELD
    assert judged(ASK, {"n": 3}) is ALLOW
    assert judged(ASK, {"n": 4}, done=frozenset({Ask("big")})) is ALLOW
    assert judged(ASK, {"n": 4}, done=frozenset({Ask("else")})) == HELD


def test_deny_wins_over_ask_also_once_it_was_asked() -> None:
    text = ASK + '@id("never") forbid (principal, action, resource) when { context.arguments.n > 5 };'
    assert judged(text, {"n": 4}) == HELD
    for done in (frozenset[Any](), frozenset({Ask("big")})):
        assert denial(judged(text, {"n": 6}, done=done)).why == "never"


def test_what_no_rule_permits_is_not_asked_for() -> None:
    text = ASK + 'permit (principal == User::"ada", action, resource);'
    assert judged(text, {"n": 4}, user="ada") == HELD
    assert denial(judged(text, {"n": 4}, user="eve")).why == "no rule permits it"


def test_two_rules_that_ask_are_asked_one_after_the_other() -> None:
    text = ASK + '@decision("ask") @id("odd") forbid (principal, action, resource) when { context.arguments.n == 5 };'
    assert judged(text, {"n": 5}) == HELD
    assert judged(text, {"n": 5}, done=frozenset({Ask("big")})) == Hold(Ask("odd"))
    assert judged(text, {"n": 5}, done=frozenset({Ask("big"), Ask("odd")})) is ALLOW


@pytest.mark.parametrize(("tool", "held"), [("create_x", True), ("Create_x", False), ("read", False)])
def test_the_approve_list_holds(tool: str, *, held: bool) -> None:
    of = spec(tools=Tools(approve=("create_*",)))
    effect = Ask("tools.approve of the profile test names it")
    verdict = approval.asked(call({}, tool), context(of, tool))
    assert verdict == (Hold(effect) if held else ALLOW)
    assert approval.asked(call({}, tool), context(of, tool, done=frozenset({effect}))) is ALLOW
    assert approval.asked(call({}, tool), context(of, tool, method="prompts/get")) is ALLOW


# What cannot be evaluated, and what Cedar could read otherwise than the server

SECRET = "hunter" + "2" * 20


@pytest.mark.parametrize(
    ("condition", "arguments", "why"),
    [
        (
            "context.arguments.branch == 1",
            {},
            "x cannot be evaluated for these arguments: they have no 'branch', for which",
        ),
        ("context.arguments.n > 3", {"n": SECRET}, "x cannot be evaluated for these arguments"),
        ("context.arguments.n > 3", {"n": 1.5}, "x cannot be evaluated for these arguments"),
        ("context.arguments.n > 3", {"n": 2**70}, "x cannot be evaluated for these arguments"),
        ("context.arguments.n > 3", {"n": None}, "x cannot be evaluated for these arguments"),
        ("ip(context.arguments.ip).isLoopback()", {"ip": SECRET}, "x cannot be evaluated for these arguments"),
        ("context.arguments.a == 1", ["list"], "x cannot be evaluated for these arguments"),
    ],
)
def test_a_rule_that_cannot_be_evaluated_denies_and_repeats_no_value(condition: str, arguments: Any, why: str) -> None:
    for effect in ('@id("x") forbid', '@id("x") @decision("ask") forbid', '@id("x") permit'):
        error = denial(judged(f"{effect} (principal, action, resource) when {{ {condition} }};", arguments))
        assert error.why.startswith(why)
        assert SECRET not in error.why


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"who": {"__entity": {"type": "User", "id": "ada"}}}, "an argument has a name that only Cedar uses"),
        ({"who": [{"__extn": {"fn": "decimal", "arg": "1.0"}}]}, "an argument has a name that only Cedar uses"),
        ({"branch": "dev", "Branch": "main"}, "'Branch' is, but for its case, a name that the rules read"),
        ({"BRANCH": "main"}, "'BRANCH' is, but for its case, a name that the rules read"),
        ({"\u017fay": 1}, ""),
        ({"other": {"Other": 1}}, ""),
    ],
)
def test_arguments_that_could_be_read_in_two_ways(arguments: Any, why: str) -> None:
    verdict = judged(FORBID_MAIN, arguments, tool="push")
    assert (denial(verdict).why if why else verdict is ALLOW) == (why or True)


@pytest.mark.parametrize(
    ("condition", "given"),
    [
        ("n == 2", 2.0),
        ("n == -9223372036854775808", -(2**63)),
        ('n.greaterThan(decimal("1.4999"))', 1.5),
        ('n == decimal("-0.25")', -0.25),
        ('n == Null::"null"', None),
        ("n is Null", None),
        ('n == Number::"1e+300"', 1e300),
        ('n == Number::"9223372036854775808"', 2**63),
        ('n == Number::"1.23456"', 1.23456),
        ("n == true", True),
        ('n like "a*"', "abc"),
        ('n.containsAll([1, "x"])', [1, "x", 1]),
        ("n has a.b", {"a": {"b": []}}),
    ],
)
def test_how_arguments_are_written_in_rules(condition: str, given: Any) -> None:
    text = f"permit (principal, action, resource) when {{ context.arguments.{condition} }};"
    rules.check(text)
    assert judged(text, {"n": given}) is ALLOW
    assert isinstance(judged(text, {"n": "else"}), Deny)


def test_arguments_nested_deeper_than_cedar_reads_are_denied() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = {"a": deep}
    assert judged(FORBID_MAIN, {"branch": "dev", "x": deep}, tool="push") is ALLOW
    message = call({}, "push")._replace(params={"name": "push", "arguments": {"branch": "dev", "x": {"y": [deep] * 2}}})
    for _ in range(30):
        message.params["arguments"]["x"] = {"a": message.params["arguments"]["x"]}
    verdict = rules.judged(message, context(spec(rules=FORBID_MAIN), "push"))
    assert denial(verdict).why == "a rule cannot be evaluated for these arguments"


def test_more_values_than_can_be_judged_in_time_are_denied() -> None:
    assert judged(FORBID_MAIN, {"branch": "x" * 100_000, "n": [1] * 19_000}, tool="push") is ALLOW
    error = denial(judged(FORBID_MAIN, {"n": [1] * 20_000}, tool="push"))
    assert error.why == "the arguments have more than 20000 values, too many for rules"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["branch", "n", "x"]), VALUES))
def test_whatever_the_arguments_a_verdict_and_main_is_never_pushed(arguments: dict[str, Any]) -> None:
    verdict = judged(FORBID_MAIN, arguments, tool="push")
    readable = "__" not in str(arguments)
    assert (verdict is ALLOW) is (arguments.get("branch") != "main") or not readable
    assert isinstance(judged(FORBID_MAIN, arguments | {"branch": "main"}, tool="push"), Deny)


# Rules that are written wrong

FINE = "permit (principal, action, resource);\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("forbid", "line 1: unexpected end of input"),
        (FINE + "forbid (principal, action, resource)\nwhen { 1.5 };\n" + FINE, "line 3: unexpected token `5`"),
        (FINE + "\nforbid (principal, actionn, resource);\n", "line 3: found an invalid variable in the policy scope"),
        (
            FINE + 'forbid (principal, action, resource == Tol::"x");',
            "line 2: there is no type Tol; known are Action, Null",
        ),
        (FINE + "forbid (principal is Uzer, action, resource);", "line 2: there is no type Uzer"),
        (FINE + 'forbid (principal, action in [Action::"tool/call"], resource);', "line 2: no such action is judged"),
        (FINE + "forbid (principal, action, resource == ?resource);", "line 2: a rule with a slot is a template"),
        (
            FINE + '@decision("ask") permit (principal, action, resource);',
            'line 2: a decision is @decision("ask"), on a',
        ),
        (
            FINE + '@decision("aks") forbid (principal, action, resource);',
            'line 2: a decision is @decision("ask"), on a',
        ),
        (FINE + "@decision forbid (principal, action, resource);", 'line 2: a decision is @decision("ask"), on a'),
    ],
)
def test_rules_that_are_wrong_are_refused_with_their_line(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}"):
        rules.check(text)


@pytest.mark.parametrize("text", [FORBID_MAIN, ASK, TABLE, "// a remark", FINE])
def test_rules_that_are_right(text: str) -> None:
    rules.check(text)
