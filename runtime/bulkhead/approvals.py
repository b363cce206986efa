"""Calls that wait for the person's word: what is shown of them, to the host and to `bulkhead approve`.

Rules: an answer is for exactly the call that was shown, once: it names the digest of tool and arguments. Silence is no
yes. What waits is a file of the user's own in the state folder, removed when it is decided.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bulkhead.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# What an elicitation shows of arguments; `bulkhead approve` shows all of them.
MOST_SHOWN = 4000


@dataclass(frozen=True, slots=True)
class Waiting:
    """One call. why: what made it a question. asked_at and until are Unix seconds."""

    id: str
    server: str
    tool: str
    arguments: Any
    digest: str
    why: str
    pid: int
    asked_at: float
    until: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said of the call whose digest it is."""

    digest: str
    allow: bool
    actor: str


def digest_of(server: str, method: str, tool: str, arguments: Any) -> str:
    """ "sha256:..." of exactly one call: keys sorted, no spaces."""
    text = json.dumps([server, method, tool, arguments], sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def waiting(server: str, tool: str, arguments: Any, *, digest: str, why: str, seconds: float) -> Waiting:
    """A call that waits from now on."""
    now = time.time()
    return Waiting(os.urandom(4).hex(), server, tool, arguments, digest, why, os.getpid(), now, now + seconds)


def put(state: Path, call: Waiting) -> None:
    """Shows it to `bulkhead approve`."""
    _write(_folder(state) / f"{call.id}.json", asdict(call))


def remove(state: Path, call: Waiting) -> None:
    """It does not wait any more."""
    for path in (_folder(state) / f"{call.id}.json", _decided(state, call.id)):
        path.unlink(missing_ok=True)


def all_waiting(state: Path) -> Iterator[Waiting]:
    """The calls of living runners, the oldest first; what a dead one left is removed."""
    found = []
    for path in _folder(state).glob("*.json"):
        try:
            found.append(Waiting(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue
    for call in sorted(found, key=lambda call: call.asked_at):
        if call.until > time.time() and _lives(call.pid):
            yield call
        else:
            remove(state, call)


def decide(state: Path, call: Waiting, *, allow: bool, actor: str) -> None:
    """The person's word, bound to what was shown. Raises UsageError where it does not wait any more."""
    if not (_folder(state) / f"{call.id}.json").exists():
        raise UsageError(f"the call {call.id} does not wait any more", hint="`bulkhead approve` lists what waits")
    _write(_decided(state, call.id), asdict(Decision(call.digest, allow, actor)))


def decision(state: Path, call: Waiting) -> Decision | None:
    """What was decided, if anything. One of another call's digest is none."""
    try:
        found = Decision(**json.loads(_decided(state, call.id).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.digest == call.digest else None


def question(call: Waiting) -> tuple[str, dict[str, Any]]:
    """What a host shows its person, and the JSON Schema of the answer, as ``elicitation/create`` takes them."""
    shown = _shown(call.arguments)
    cut = f"\n... {len(shown) - MOST_SHOWN} more characters" if len(shown) > MOST_SHOWN else ""
    text = f"Allow {call.server} to run {_shown(call.tool)}?\n{shown[:MOST_SHOWN]}{cut}\n({call.why}; {call.digest})"
    allow = {"type": "boolean", "title": "Allow this call", "description": "once, with exactly these arguments"}
    return text, {"type": "object", "properties": {"allow": allow}, "required": ["allow"]}


def said_yes(result: Mapping[str, Any] | None) -> bool:
    """Whether the result of an elicitation allows it: nothing but accept, with allow = true, does."""
    content = result.get("content") if result is not None and result.get("action") == "accept" else None
    return isinstance(content, dict) and content.get("allow") is True


def _shown(value: Any) -> str:
    """As JSON in ASCII: what is invisible or only looks like something else is an escape."""
    return json.dumps(value, indent=2)


def _folder(state: Path) -> Path:
    return state / "approvals"


def _decided(state: Path, call_id: str) -> Path:
    return _folder(state) / f"{call_id}.decision"


def _write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(value, file)
    new.replace(path)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
