"""errors.py: exit codes as INTERFACE promises them, JSON-RPC codes outside the reserved range, stable words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bulkhead import errors
from bulkhead.errors import BulkheadError
from bulkhead.wire import messages

if TYPE_CHECKING:
    from collections.abc import Iterator

# What programs depend on: exit code, JSON-RPC code, and the word where no other is given.
PROMISED = {
    "BulkheadError": (5, -31005, "internal"),
    "ToolError": (1, -31001, "tool_error"),
    "UsageError": (2, -31002, "usage"),
    "UnreadableError": (2, -31002, "usage"),
    "ProfileError": (2, -31002, "profile"),
    "DeniedError": (3, -31003, "denied"),
    "EngineError": (4, -31004, "engine"),
    "UnenforceableError": (4, -31004, "unenforceable"),
    "GoneError": (4, -31004, "engine"),
    "ConflictError": (4, -31004, "engine"),
    "StartError": (5, -31005, "start"),
    "ProtocolError": (5, -31005, "malformed"),
    "LimitError": (6, -31006, "limit"),
    "SecretError": (7, -31007, "secret"),
    "IntegrityError": (8, -31008, "pin"),
}


def kinds(kind: type[BulkheadError] = BulkheadError) -> Iterator[type[BulkheadError]]:
    yield kind
    for under in kind.__subclasses__():
        yield from kinds(under)


OURS = [kind for kind in kinds() if kind.__module__ == "bulkhead.errors"]


def test_every_class_is_promised() -> None:
    made = {kind.__name__: (kind.exit_code, kind("x").code, kind("x").reason) for kind in OURS}
    assert made == PROMISED


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_codes_are_outside_what_json_rpc_reserves(kind: type[BulkheadError]) -> None:
    assert not -32768 <= kind("x").code <= -32000
    assert kind.exit_code in range(1, 9)


def test_no_error_is_defined_elsewhere() -> None:
    assert [kind for kind in kinds() if kind not in OURS] == []
    assert {name for name, value in vars(errors).items() if isinstance(value, type) and value in OURS} == set(PROMISED)


def test_data_has_what_there_is() -> None:
    assert BulkheadError("what").data() == {"reason": "internal"}
    full = errors.LimitError("what", why="why", hint="hint", reason="oom")
    assert full.data() == {"reason": "oom", "why": "why", "hint": "hint"}
    assert (str(full), full.what) == ("what", "what")
    assert errors.LimitError("another").reason == "limit", "a word of one error must not stay with its class"


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_from_its_frame(kind: type[BulkheadError]) -> None:
    sent = kind("what", why="why", hint="hint")
    error = json.loads(messages.failure(1, sent))["error"]
    read = BulkheadError.from_json(error)
    assert read is not None
    assert (read.exit_code, read.data(), read.what) == (sent.exit_code, sent.data(), "what")


@pytest.mark.parametrize(
    "error",
    [
        {"code": -32601, "message": "no such method"},
        {"code": -31006, "message": "somebody else's"},
        {"code": -31006, "message": "x", "data": {"reason": 1}},
        {"code": -31006, "message": "x", "data": ["reason"]},
        {"code": -31999, "message": "x", "data": {"reason": "oom"}},
        {"message": "x", "data": {"reason": "oom"}},
        {"code": "-31006", "message": "x", "data": {"reason": "oom"}},
    ],
)
def test_an_error_of_somebody_else(error: dict[str, object]) -> None:
    assert BulkheadError.from_json(error) is None
