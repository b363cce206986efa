"""A table of cases for `bulkhead policy test`: messages, and the verdicts that are expected of them.

profile = "github"                  # a name, or a file seen from the table's own folder
[tools.push]                        # a tool as the server declares it; its inputSchema is what arguments have to fit
inputSchema = { type = "object" }
[[case]]
name = "nobody pushes to main"
user = "ada"                        # whose session it is
request = { method = "tools/call", params = { name = "push", arguments = { branch = "main" } } }
result = { content = [] }           # then this is judged, as the answer to request
expect = "deny"                     # allow, deny, hold or rewrite
reason = "rules"                    # a denial's; "ask" or "show" of what is held
becomes = { content = [] }          # of what is rewritten: the params, or the result
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bulkhead.config.documents import read_document
from bulkhead.config.problems import Problem, problems_of
from bulkhead.wire import messages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bulkhead.config.documents import Document
    from bulkhead.wire.messages import Answer, Request

Expected = Literal["allow", "deny", "hold", "rewrite"]
_HINT = "docs/policy.md shows a whole table"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Asked(_Model):
    method: str
    params: dict[str, Any] = Field(default_factory=dict)


class _Case(_Model):
    name: str = Field(min_length=1)
    user: str = ""
    request: _Asked
    result: dict[str, Any] | None = None
    expect: Expected
    reason: str = ""
    becomes: dict[str, Any] | None = None


class _Table(_Model):
    profile: str = ""
    tools: dict[str, dict[str, Any]] = Field(default_factory=dict)
    case: tuple[_Case, ...] = Field(min_length=1, strict=False)


@dataclass(frozen=True, slots=True)
class Case:
    """One message, and what is expected. answer: judged in the place of request. where: FILE:LINE."""

    name: str
    where: str
    user: str
    request: Request
    answer: Answer | None
    expect: Expected
    reason: str
    becomes: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Table:
    """A whole file. profile: as written, "" where it is not. schemas: the inputSchema of each tool that has one."""

    profile: str
    schemas: Mapping[str, dict[str, Any]]
    cases: tuple[Case, ...]


def load_cases(path: Path) -> Table:
    """The table in a file. Raises ProfileError with file and line."""
    document = read_document(path)
    try:
        found = _Table.model_validate(document.data)
    except ValidationError as error:
        raise replace(problems_of(error, _Table)[0], hint=_HINT).error(document.where) from None
    schemas = {name: tool["inputSchema"] for name, tool in found.tools.items() if "inputSchema" in tool}
    cases = tuple(_case(document, index, case) for index, case in enumerate(found.case))
    return Table(found.profile, schemas, cases)


def _case(document: Document, index: int, case: _Case) -> Case:
    where = document.where(("case", index))
    request = _message(document, ("case", index, "request"), case.request.model_dump())
    answer = None if case.result is None else _message(document, ("case", index, "result"), {"result": case.result})
    return Case(case.name, where, case.user, request, answer, case.expect, case.reason, case.becomes)


def _message(document: Document, at: tuple[str | int, ...], body: dict[str, Any]) -> Any:
    """As it would come from the wire."""
    try:
        return messages.parse(messages.encode({"jsonrpc": "2.0", "id": 1} | body))
    except (messages.Malformed, TypeError) as error:
        raise Problem(at, f"this cannot be sent: {error}", _HINT).error(document.where) from None
