"""The fixture's tools that need their client in the middle of a call, written once for both eras.

A tool is rounds of questions, and what it says of the answers. Legacy: each question is a request to the client.
Modern: a round is an ``input_required`` result, and the client calls again with ``inputResponses`` and the
``requestState`` that it was given, which carries the round and the answers so far under a checksum.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.servers.media import ANY_OBJECT, DEFAULTS, ENUMS, object_schema
from tests.servers.speaker import META, RpcError, Speaker, is_modern, meta, text

if TYPE_CHECKING:
    from collections.abc import Callable

Answers: TypeAlias = dict[str, Any]
Question: TypeAlias = tuple[str, dict[str, Any]]
Round: TypeAlias = dict[str, Question]

# What a client must be able to do to be asked.
_NEEDS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}


def elicit(message: str, properties: dict[str, Any], required: tuple[str, ...] = ()) -> Question:
    """A question to the person."""
    return "elicitation/create", {"message": message, "requestedSchema": object_schema(properties, required)}


def sample(prompt: str, most: int = 100) -> Question:
    """A question to the model."""
    message = {"role": "user", "content": {"type": "text", "text": prompt}}
    return "sampling/createMessage", {"messages": [message], "maxTokens": most}


ROOTS: Question = ("roots/list", {})


def _one(key: str, said: str) -> Callable[[Answers], str]:
    return lambda answers: f"{said}{_short(answers[key])}"


def _short(answer: dict[str, Any]) -> str:
    """action=..., content=... of an elicitation; the text of a sampling; else all of it."""
    if "action" in answer:
        return f"action={answer['action']}, content={json.dumps(answer.get('content', {}))}"
    if "content" in answer:
        return str(answer["content"]["text"])
    return json.dumps(answer)


@dataclass(frozen=True, slots=True)
class Asking:
    """A tool that asks. rounds get the call's arguments; says gets the answers by the questions' keys."""

    description: str
    rounds: tuple[Callable[[dict[str, Any]], Round], ...]
    says: Callable[[Answers], str]
    schema: dict[str, Any] = field(default_factory=lambda: ANY_OBJECT)


def _always(**questions: Question) -> Callable[[dict[str, Any]], Round]:
    return lambda _arguments: questions


_STRING = {"type": "string"}
_NAME = elicit("What is your name?", {"name": _STRING}, ("name",))
_USER = {
    "username": {"type": "string", "description": "User's response"},
    "email": {"type": "string", "description": "User's email address"},
}

TOOLS: dict[str, Asking] = {
    "test_sampling": Asking(
        "Asks the client's model",
        (lambda arguments: {"said": sample(arguments["prompt"])},),
        _one("said", "LLM response: "),
        object_schema({"prompt": _STRING}, ("prompt",)),
    ),
    "test_elicitation": Asking(
        "Asks the person",
        (lambda arguments: {"said": elicit(arguments["message"], _USER, ("username", "email"))},),
        _one("said", "User response: "),
        object_schema({"message": _STRING}, ("message",)),
    ),
    "test_elicitation_sep1034_defaults": Asking(
        "Asks with a default of every primitive type",
        (_always(said=elicit("Please check", DEFAULTS)),),
        _one("said", "Elicitation completed: "),
    ),
    "test_elicitation_sep1330_enums": Asking(
        "Asks with every kind of choice",
        (_always(said=elicit("Please choose", ENUMS)),),
        _one("said", "Elicitation completed: "),
    ),
    "test_input_required_result_elicitation": Asking(
        "Asks for a name", (_always(user_name=_NAME),), _one("user_name", "Hello, ")
    ),
    "test_input_required_result_sampling": Asking(
        "Asks for a capital",
        (_always(capital_question=sample("What is the capital of France?")),),
        _one("capital_question", "The model says: "),
    ),
    "test_input_required_result_list_roots": Asking(
        "Asks for the roots", (_always(client_roots=ROOTS),), _one("client_roots", "Roots: ")
    ),
    "test_input_required_result_request_state": Asking(
        "Asks to confirm",
        (_always(confirm=elicit("Please confirm", {"ok": {"type": "boolean"}}, ("ok",))),),
        _one("confirm", "state-ok: "),
    ),
    "test_input_required_result_multi_round": Asking(
        "Asks twice",
        (
            _always(step1=elicit("Step 1: What is your name?", {"name": _STRING}, ("name",))),
            _always(step2=elicit("Step 2: What is your favorite color?", {"color": _STRING}, ("color",))),
        ),
        lambda answers: f"{_short(answers['step1'])} and {_short(answers['step2'])}",
    ),
}


def tool(item: Asking) -> Callable[[Speaker, dict[str, Any]], dict[str, Any]]:
    """The handler of tools/call for one tool that asks."""

    def call(speaker: Speaker, message: dict[str, Any]) -> dict[str, Any]:
        return _modern(item, message) if is_modern(message) else _legacy(item, speaker, message)

    return call


def _legacy(item: Asking, speaker: Speaker, message: dict[str, Any]) -> dict[str, Any]:
    answers: Answers = {}
    capabilities = speaker.client.get("capabilities", {})
    for questions in item.rounds:
        for key, (method, params) in questions(message["params"].get("arguments", {})).items():
            if _NEEDS[method] not in capabilities:
                raise RpcError(-32602, f"the client cannot answer {method}")
            answer = speaker.ask(method, params)
            if "error" in answer:
                return text(f"the client refused: {answer['error']['message']}") | {"isError": True}
            answers[key] = answer["result"]
    return text(item.says(answers))


def _modern(item: Asking, message: dict[str, Any]) -> dict[str, Any]:
    params = message["params"]
    number, answers = _unsealed(params["requestState"]) if "requestState" in params else (-1, {})
    given = params.get("inputResponses", {})
    if number >= 0:
        asked = item.rounds[number](params.get("arguments", {}))
        answers |= {key: given[key] for key in asked if key in given}
        number -= any(key not in answers for key in asked)
    if number + 1 == len(item.rounds):
        return text(item.says(answers))
    questions = item.rounds[number + 1](params.get("arguments", {}))
    can = meta(message).get(f"{META}clientCapabilities", {})
    if lacking := {_NEEDS[method] for method, _ in questions.values()} - can.keys():
        raise RpcError(-32003, f"the client lacks {sorted(lacking)}")
    return {
        "resultType": "input_required",
        "inputRequests": {key: {"method": method, "params": asked} for key, (method, asked) in questions.items()},
        "requestState": _sealed(number + 1, answers),
    }


def _sealed(number: int, answers: Answers) -> str:
    body = json.dumps([number, answers])
    return f"{hashlib.sha256(body.encode()).hexdigest()} {body}"


def _unsealed(sealed: str) -> tuple[int, Answers]:
    digest, _, body = sealed.partition(" ")
    if hashlib.sha256(body.encode()).hexdigest() != digest:
        raise RpcError(-32602, "requestState was altered")
    number, answers = json.loads(body)
    return number, answers
