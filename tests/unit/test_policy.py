"""Guards, each both ways with its reason, and the chain: the first Deny wins, and a guard that raises is a Deny."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bulkhead.errors import DeniedError, LimitError
from bulkhead.policy import budgets, chain, network, tools
from bulkhead.policy.verdict import ALLOW, Context, Deny, Verdict
from bulkhead.spec import EgressRule, Guards, Limits, Screen, Server, ServerSpec, Tools
from bulkhead.wire.messages import Answer, Message, Request

RESULT = Answer(b"{}", 1, {"content": []}, None)


def spec(**parts: Any) -> ServerSpec:
    return ServerSpec(name="test", server=Server(package="npm:x@1.0.0"), **parts)


def call(name: Any = "read", **others: Any) -> Request:
    return Request(b"{}", 1, "tools/call", {"name": name} | others)


def context(of: ServerSpec, tool: str = "read", method: str = "tools/call") -> Context:
    return Context(of, method, tool)


def counted(of: Context, count: str, number: int) -> Context:
    changed: Any = {count: number}
    return of._replace(**changed)


def denial(verdict: Verdict) -> Any:
    assert isinstance(verdict, Deny)
    return verdict.error


# tools


@pytest.mark.parametrize(
    ("rules", "tool", "why"),
    [
        ({}, "read", ""),
        ({"deny": ("delete_*",)}, "read", ""),
        ({"deny": ("delete_*",)}, "delete_all", "tools.deny of the profile test names it"),
        ({"deny": ("delete_*",)}, "Delete_all", ""),
        ({"deny": ("*_all",)}, "delete\n_all", "tools.deny of the profile test names it"),
        ({"deny": ("?ead",)}, "read", "tools.deny of the profile test names it"),
        ({"allow": ("read", "list_*")}, "list_x", ""),
        ({"allow": ("read", "list_*")}, "write", "tools.allow of the profile test does not name it"),
        ({"allow": ("read",)}, "read\n", "tools.allow of the profile test does not name it"),
        ({"allow": ()}, "read", "tools.allow of the profile test does not name it"),
        ({"allow": ("read",), "deny": ("read",)}, "read", "tools.deny of the profile test names it"),
    ],
)
def test_tools_that_may_be_called(rules: dict[str, Any], tool: str, why: str) -> None:
    verdict = tools.allowed(call(tool), context(spec(tools=Tools(**rules)), tool))
    if not why:
        assert verdict == ALLOW
        return
    error = denial(verdict)
    assert isinstance(error, DeniedError)
    assert (error.reason, error.why) == ("denied", why)
    assert repr(tool) in error.what


@pytest.mark.parametrize("name", [None, 1, ["delete_all"], {"a": 1}, True])
def test_a_tool_without_a_name_is_not_called(name: object) -> None:
    error = denial(tools.allowed(call(name), context(spec(tools=Tools(deny=("delete_*",))), "")))
    assert error.why == "the call names no tool: name is not a string"
    assert denial(tools.allowed(Request(b"{}", 1, "tools/call", {}), context(spec(), ""))).reason == "denied"


@pytest.mark.parametrize("key", ["Name", "NAME", "n\u0041me", "Arguments", "argument\u017f"])
def test_a_key_that_some_servers_read_as_the_name_is_refused(key: str) -> None:
    error = denial(tools.allowed(call("read", **{key: "delete_all"}), context(spec())))
    assert error.why == f"the call has the key {key!r}, which some servers read in another case"
    assert tools.allowed(call("read", arguments={key: "x"}, names=1), context(spec())) == ALLOW


def test_tools_rules_hold_for_calls_alone() -> None:
    rules = spec(tools=Tools(allow=()))
    listing = Request(b"{}", 1, "prompts/get", {"name": "read", "Name": "x"})
    assert tools.allowed(listing, context(rules, method="prompts/get")) == ALLOW


# budgets


@pytest.mark.parametrize(
    ("guard", "field", "count", "reason"),
    [
        (budgets.rate, "calls_per_minute", "recent", "rate"),
        (budgets.concurrency, "concurrent_calls", "in_flight", "concurrency"),
    ],
)
def test_budgets_of_calls(guard: Any, field: str, count: str, reason: str) -> None:
    limited = spec(limits=Limits(**{field: 3}))
    assert guard(call(), counted(context(limited), count, 2)) == ALLOW
    assert guard(call(), counted(context(limited, method="tools/list"), count, 9)) == ALLOW
    error = denial(guard(call(), counted(context(limited), count, 3)))
    assert isinstance(error, LimitError)
    assert (error.reason, error.code) == (reason, -31006)
    assert "more than 3 tool calls" in error.why
    assert f"limits.{field}" in error.hint


def test_the_size_of_a_result() -> None:
    limited = spec(limits=Limits(output=1024))
    small, large = RESULT._replace(raw=b"x" * 1024), RESULT._replace(raw=b"x" * 1025)
    assert budgets.output(small, context(limited)) == ALLOW
    assert budgets.output(large, context(limited, method="resources/read")) == ALLOW
    error = denial(budgets.output(large, context(limited)))
    assert (error.reason, error.why) == ("output", "the result has 1025 bytes, the limit is 1024")
    assert "limits.output" in error.hint


# network


def test_a_failed_call_of_a_server_without_its_network() -> None:
    online, offline = spec(egress=(EgressRule(host="api.example.com", ports=(443,)),)), spec()
    failed = RESULT._replace(result={"isError": True, "content": [{"type": "text", "text": "getaddrinfo ENOTFOUND x"}]})
    error = denial(network.denied(failed, context(offline, "fetch")))
    assert (error.reason, error.code) == ("denied", -31003)
    assert error.what == "tool 'fetch' failed without a network"
    for allowed in (
        network.denied(failed, context(online)),
        network.denied(RESULT, context(offline)),
        network.denied(failed._replace(result={"isError": "yes"}), context(offline)),
        network.denied(failed, context(offline, method="resources/read")),
        network.denied(Answer(b"", 1, None, {"code": 1, "message": ""}), context(offline)),
    ):
        assert allowed == ALLOW


def test_a_failed_call_of_a_server_that_was_refused_something() -> None:
    online = spec(egress=(EgressRule(host="api.example.com", ports=(443, 22)),))
    failed = RESULT._replace(result={"isError": True, "content": []})
    refused = context(online, "fetch")._replace(refused=("evil.example.org:443", "other.example.org"))
    error = denial(network.denied(failed, refused))
    assert error.what == "tool 'fetch' failed: it was refused to reach evil.example.org:443, other.example.org"
    assert error.why == "the profile grants api.example.com:443,22"
    assert network.denied(RESULT, refused) == ALLOW


# chain


def guard_that(verdict: Verdict | Exception, asked: list[str], name: str) -> Any:
    def guard(message: Message, seen: Context) -> Verdict:
        asked.append(name)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    return guard


def test_the_first_denial_wins_and_no_other_is_asked() -> None:
    first, second, asked = Deny(DeniedError("first")), Deny(DeniedError("second")), list[str]()
    verdicts: list[Verdict] = [ALLOW, first, second]
    guards = [guard_that(verdict, asked, str(n)) for n, verdict in enumerate(verdicts)]
    assert chain.judge(guards, call(), context(spec())) is first
    assert asked == ["0", "1"]


@pytest.mark.parametrize("error", [ValueError("boom"), KeyError("x"), RecursionError("deep"), AssertionError("no")])
def test_a_guard_that_raises_is_a_denial(error: Exception) -> None:
    asked: list[str] = []
    guards = [guard_that(error, asked, "raises"), guard_that(ALLOW, asked, "next")]
    denied = denial(chain.judge(guards, call(), context(spec())))
    assert (denied.what, denied.reason) == ("a guard failed, so the message was refused", "denied")
    assert denied.why == f"test_policy.guard raised {type(error).__name__}", "a library's words could hold a value"
    assert asked == ["raises"]


def test_nobody_against_it() -> None:
    assert chain.judge([], call(), context(spec())) == ALLOW
    assert chain.judge(chain.REQUEST, call(), context(spec())) == ALLOW
    assert chain.judge(chain.RESULT, RESULT, context(spec())) == ALLOW


def test_the_chains_hold_every_guard() -> None:
    names = [
        [f"{guard.__module__.rpartition('.')[2]}.{guard.__name__}" for guard in it]
        for it in (chain.REQUEST, chain.RESULT)
    ]
    assert names == [
        [
            "tools.allowed", "budgets.concurrency", "budgets.rate", "arguments.fitting", "leaks.arguments",
            "rules.judged", "approval.asked", "screening.request",
        ],
        [
            "budgets.output", "network.denied", "leaks.results", "invisible.results", "screening.result",
            "marking.marked",
        ],
    ]  # fmt: skip
    assert [len(guards) for guards in chain.for_profile(spec())] == [5, 4], "what a plain profile never needs"
    full = replace(
        spec(tools=Tools(approve=("*",))),
        guards=Guards(rules="permit(principal, action, resource);", marking=True),
        screen=Screen(endpoint="https://screen.example.com"),
    )
    assert chain.for_profile(full) == (chain.REQUEST, chain.RESULT)
    both = spec(tools=Tools(deny=("*",)), limits=Limits(calls_per_minute=1))
    assert denial(chain.judge(chain.REQUEST, call(), counted(context(both), "recent", 5))).reason == "denied"
