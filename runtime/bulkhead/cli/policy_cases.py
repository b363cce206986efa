"""`bulkhead policy test`: judges a table of messages without a server, by the guards that `run` has.

A screen is taken to find nothing: what it is shown would go to a service. The nonce of a marking is "nonce".
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from bulkhead.config.cases import Case, Table
    from bulkhead.policy.verdict import Verdict
    from bulkhead.spec import ServerSpec

_NONCE = "nonce"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case. wrong: how it differs from what was expected; "" if it does not."""

    name: str
    where: str
    expected: str
    verdict: str
    reason: str
    why: str
    wrong: str


def run(args: argparse.Namespace) -> int:
    """Judges all cases of a table; 3 if one is not as expected."""
    from bulkhead.cli.profile import plain
    from bulkhead.config import load_profile
    from bulkhead.config.cases import load_cases

    file = args.file.absolute()
    table = load_cases(file)
    spec = load_profile(_profile_of(table, file, args.name))
    outcomes = [judged(case, spec, table) for case in table.cases]
    failed = sum(bool(outcome.wrong) for outcome in outcomes)
    if args.json:
        sys.stdout.write(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")
        return 3 if failed else 0
    for outcome in outcomes:
        line = f"wrong {outcome.where}: {outcome.name}: {outcome.wrong}" if outcome.wrong else f"ok    {outcome.name}"
        sys.stdout.write(plain(line) + "\n")
    sys.stdout.write(f"{len(outcomes) - failed} of {len(outcomes)} as expected\n")
    return 3 if failed else 0


def _profile_of(table: Table, file: Path, name: str | None) -> Path:
    from bulkhead.config import find_profile
    from bulkhead.errors import UsageError

    named = table.profile or name
    if not named:
        hint = f'write profile = "NAME" at its top, or `bulkhead policy test {file.name} NAME`'
        raise UsageError("by which profile?", why=f"{file} names none", hint=hint)
    return file.parent / named if named.endswith(".toml") else find_profile(named, Path.cwd())


def judged(case: Case, spec: ServerSpec, table: Table) -> Outcome:
    """Judges one case, and compares."""
    verdict = _verdict(case, spec, table)
    kind = type(verdict).__name__.lower()
    reason, why, became = _said(verdict)
    return Outcome(case.name, case.where, case.expect, kind, reason, why, _difference(case, kind, reason, why, became))


def _verdict(case: Case, spec: ServerSpec, table: Table) -> Verdict:
    from bulkhead.policy import chain
    from bulkhead.policy.verdict import Context, Hold, Show

    name = case.request.params.get("name")
    tool = name if isinstance(name, str) and case.request.method == "tools/call" else ""
    guards = chain.REQUEST if case.answer is None else chain.RESULT
    context = Context(spec, case.request.method, tool, schema=table.schemas.get(tool), user=case.user, nonce=_NONCE)
    while True:
        verdict = chain.judge(guards, case.answer or case.request, context)
        if not (isinstance(verdict, Hold) and isinstance(verdict.effect, Show)) or verdict.effect in context.done:
            return verdict
        context = context._replace(done=context.done | {verdict.effect})


def _said(verdict: Verdict) -> tuple[str, str, Any]:
    """A verdict's reason, why it is so, and what became of the message."""
    from bulkhead.policy.verdict import Allow, Ask, Deny, Hold, Rewrite
    from bulkhead.wire.messages import Answer

    match verdict:
        case Deny(error):
            return error.reason, f"{error.what}: {error.why}", None
        case Hold(Ask(why)):
            return "ask", why, None
        case Hold():
            return "show", "", None
        case Rewrite(message, notes):
            return "", "; ".join(notes), message.result if isinstance(message, Answer) else message.params
        case Allow(notes):
            return "", "; ".join(notes), None


def _difference(case: Case, verdict: str, reason: str, why: str, became: Any) -> str:
    because = f" ({why})" if why else ""
    if verdict != case.expect:
        return f"expected {case.expect}, it is {verdict}{because}"
    if case.reason and reason != case.reason:
        return f"expected the reason {case.reason!r}, it is {reason!r}{because}"
    if case.becomes is not None and became != case.becomes:
        return f"it becomes {json.dumps(became, ensure_ascii=False)}"
    return ""
