"""`bulkhead policy test` and `show`: a table of messages, judged by the guards of `run` without a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.cli import main
from bulkhead.policy import approval, arguments, budgets, chain, network, rules, tools
from bulkhead.policy.verdict import ALLOW, Hold, Rewrite, Show
from bulkhead.wire.messages import Answer, with_result

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message
    from tests.policy.conftest import WriteProfile

PROFILE = """
[limits]
output = "1KiB"
[tools]
deny = ["drop"]
approve = ["create_*"]
[guards]
rules = '''
@id("no-main") forbid (principal, action, resource == Tool::"push")
when { context.arguments has branch && context.arguments.branch == "main" };
@id("eve") forbid (principal == User::"eve", action, resource);
'''
"""
TOOLS = """
[tools.push]
description = "as the server declares it"
inputSchema = { type = "object", properties = { branch = { type = "string" } }, required = ["branch"] }
"""


def shown(message: Message, context: Context) -> Verdict:
    """Holds every message for a screen."""
    effect = Show(("text",))
    return ALLOW if effect in context.done else Hold(effect)


def shouted(message: Message, context: Context) -> Verdict:
    """Puts the nonce into every result."""
    assert isinstance(message, Answer)
    return Rewrite(with_result(message, {"said": context.nonce}), ("shouted",))


@pytest.fixture(autouse=True)
def guards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this folder, whatever else there is."""
    monkeypatch.setattr(chain, "REQUEST", (tools.allowed, arguments.fitting, rules.judged, approval.asked, shown))
    monkeypatch.setattr(chain, "RESULT", (budgets.output, network.denied, shouted))


def case(params: str, expect: str, more: str = "", method: str = "tools/call") -> str:
    asked = f'request = {{ method = "{method}", params = {{ {params} }} }}'
    return f'[[case]]\nname = "one"\n{asked}\nexpect = "{expect}"\n{more}\n'


def push(branch: str) -> str:
    return f'name = "push", arguments = {{ branch = {branch} }}'


@pytest.fixture
def table(write_profile: WriteProfile, tmp_path: Path) -> Path:
    """Where a table goes; the profile is x."""
    write_profile("x", PROFILE)
    return tmp_path / "table.toml"


def judged(table: Path, text: str, *args: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]]]:
    table.write_text('profile = "x"\n' + TOOLS + text, encoding="utf-8")
    code = main(["policy", "test", str(table), "--json", *args])
    return code, json.loads(capsys.readouterr().out)


LARGE = f'result = {{ text = "{"a" * 2000}" }}'


@pytest.mark.parametrize(
    ("text", "verdict", "reason"),
    [
        (case(push('"dev"'), "allow"), "allow", ""),
        (case(push('"main"'), "deny", 'reason = "rules"'), "deny", "rules"),
        (case(push("5"), "deny", 'reason = "arguments"'), "deny", "arguments"),
        (case('name = "push"', "deny", 'reason = "arguments"'), "deny", "arguments"),
        (case('name = "drop"', "deny", 'reason = "denied"'), "deny", "denied"),
        (case('name = "create_x"', "hold", 'reason = "ask"'), "hold", "ask"),
        (case('name = "read"', "deny", 'user = "eve"\nreason = "rules"'), "deny", "rules"),
        (case('name = "read"', "allow", 'user = "ada"'), "allow", ""),
        (case('uri = "x:y"', "allow", method="resources/read"), "allow", ""),
        (case('name = "read"', "rewrite", 'result = { a = 1 }\nbecomes = { said = "nonce" }'), "rewrite", ""),
        (case('name = "read"', "deny", f'reason = "output"\n{LARGE}'), "deny", "output"),
    ],
)
def test_what_is_as_expected(
    table: Path, text: str, verdict: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, [outcome] = judged(table, text, capsys=capsys)
    assert (code, outcome["wrong"], outcome["verdict"], outcome["reason"]) == (0, "", verdict, reason)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (case(push('"main"'), "allow"), "expected allow, it is deny (tool 'push' is denied: no-main)"),
        (case(push('"dev"'), "deny"), "expected deny, it is allow"),
        (case('name = "create_x"', "allow"), "expected allow, it is hold (tools.approve of the profile x names it)"),
        (case('name = "drop"', "deny", 'reason = "rules"'), "expected the reason 'rules', it is 'denied'"),
        (case('name = "a"', "rewrite", "result = {}\nbecomes = { b = 1 }"), 'it becomes {"said": "nonce"}'),
    ],
)
def test_what_is_not_as_expected(table: Path, text: str, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, [_, outcome] = judged(table, case('name = "read"', "allow") + text, capsys=capsys)
    assert code == 3
    assert outcome["wrong"].startswith(wrong)
    assert outcome["where"].startswith(f"{table}:")


def test_a_line_a_case(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table.write_text(case('name = "drop"', "deny") + case('name = "drop"', "allow"), encoding="utf-8")
    assert main(["policy", "test", str(table), "x"]) == 3
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "ok    one"
    assert second.startswith(f"wrong {table}:6: one: expected allow, it is deny")
    assert third == "1 of 2 as expected"


def test_a_profile_beside_the_table(table: Path, write_profile: WriteProfile) -> None:
    (table.parent / "own.toml").write_bytes(write_profile("y").read_bytes())
    table.write_text('profile = "own.toml"\n' + case('name = "drop"', "allow"), encoding="utf-8")
    assert main(["policy", "test", str(table)]) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: case is not valid\n  why: it must be given"),
        ("case = []", ":1: case is not valid\n  why: it must not be empty"),
        ("[[case]\n", ":1: this is not TOML"),
        (case("", "alow"), ":4: case[0].expect is not valid"),
        (case("", "deny", 'resaon = "x"'), ":5: case[0].resaon is not known"),
        (case("", "deny", "user = 5"), ":5: case[0].user is not valid\n  why: it must be a text in quotes"),
        (
            case("a = 1979-05-27", "deny"),
            ":3: case[0].request is not valid\n  why: this cannot be sent: Object of type",
        ),
        (case("a = nan", "deny"), ":3: case[0].request is not valid\n  why: this cannot be sent: NaN is not JSON"),
        (case("", "deny", "result = { a = inf }"), ":5: case[0].result is not valid\n  why: this cannot be sent"),
    ],
)
def test_a_table_that_is_wrong(table: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    table.write_text(text, encoding="utf-8")
    assert main(["policy", "test", str(table), "x"]) == 2
    assert f"{table}{said}" in capsys.readouterr().err


def test_a_table_by_no_profile(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table.write_text(case("", "deny"), encoding="utf-8")
    assert main(["policy", "test", str(table)]) == 2
    assert "by which profile?" in capsys.readouterr().err


def test_rules_that_are_wrong_are_told_with_file_and_line(
    write_profile: WriteProfile, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_profile("x", "[guards]\nrules = '''\nforbid (principal, actionn, resource);\n'''\n")
    assert main(["policy", "show", "x"]) == 2
    said = capsys.readouterr().err
    assert f"{path}:4: guards.rules is not valid" in said
    assert "line 1: found an invalid variable in the policy scope: actionn" in said


def test_show_lists_the_guards_in_order_with_what_the_profile_says(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "show", "x", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["judges"], row["guard"]) for row in rows] == [
        ("request", "tools.allowed"),
        ("request", "arguments.fitting"),
        ("request", "rules.judged"),
        ("request", "approval.asked"),
        ("request", "test_cases.shown"),
        ("result", "budgets.output"),
        ("result", "network.denied"),
        ("result", "test_cases.shouted"),
    ]
    assert rows[0]["profile"] == {"tools.allow": ["*"], "tools.deny": ["drop"]}
    assert rows[5]["profile"] == {"limits.output": 1024}
    assert all(row["does"] for row in rows)
    assert main(["policy", "show", "x"]) == 0
    assert "tools.approve = " in capsys.readouterr().out
