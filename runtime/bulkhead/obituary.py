"""Why a sandbox ended, as the error that every request in flight gets. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.errors import LimitError, StartError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.engines.base import Exit, Usage
    from bulkhead.errors import BulkheadError
    from bulkhead.spec import ServerSpec

_AGAIN = "the next request starts it again"
# Why a limit stopped the sandbox, and the profile's key that raises it.
_WHY = {
    "oom": ("a process of it was killed for memory", "memory"),
    "pids": ("it wanted more processes than it may have", "pids"),
    "tmp": ("its /tmp or home is full", "tmp"),
    "timeout": ("a call ran over its deadline", "call"),
    "start": ("no answer came before its start deadline", "start"),
}


def obituary(end: Exit, spec: ServerSpec, usage: Usage, *, spoken: bool, last_words: Sequence[str]) -> BulkheadError:
    """The error. usage is what was last read; spoken: whether the server ever answered; last_words: of its stderr."""
    name = spec.name
    match end.cause:
        case "oom":
            return _limit("oom", f"{name} used more than its {spec.limits.memory >> 20} MiB of memory", "memory")
        case "limit" if end.limit in _WHY:
            why, key = _WHY["start" if end.limit == "timeout" and not spoken else end.limit]
            return _limit(end.limit, f"{name}: {why}{_held_back(spec, usage)}", key)
        case "limit" if end.limit == "gate":
            return StartError(
                "the server has lost its network", why=f"{name}: its gate ended", hint=_AGAIN, reason="lost"
            )
        case "exited":
            said = " | ".join(last_words)
            why = f"{name} exited {end.code}" + (f"; its last words: {said}" if said else "")
            return StartError("the server ended", why=why, hint=_AGAIN, reason="exited")
        case _:
            return StartError("the server is gone", why=f"{name}: {end}", hint=_AGAIN, reason="lost")


def _held_back(spec: ServerSpec, usage: Usage) -> str:
    seconds = usage.throttled_seconds
    return f" (it was held back {seconds:.1f} s at its {spec.limits.cpus:g} cpus)" if seconds > 1 else ""


def _limit(reason: str, why: str, key: str) -> LimitError:
    hint = f"raise limits.{key} in the profile if this is what the server needs; {_AGAIN}"
    return LimitError(f"limit reached: {reason}", why=why, hint=hint, reason=reason)
