"""Every exception of the project: what happened, why, and what to do; an exit code and a JSON-RPC code a class.

JSON-RPC codes are ``-31000 - exit code``, outside the range that JSON-RPC 2.0 reserves (-32768 to -32000).
``reason`` is the stable word that programs may depend on; it stands in ``error.data.reason`` and on the span.
"""

from __future__ import annotations

from typing import Any, ClassVar


class BulkheadError(Exception):
    """The base of all errors that Bulkhead raises on purpose.

    what: one line, what happened. why: one line, the cause. hint: one line, what to do next.
    """

    exit_code: ClassVar[int] = 5
    reason: str = "internal"

    def __init__(self, what: str, *, why: str = "", hint: str = "", reason: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        if reason:
            self.reason = reason

    @property
    def code(self) -> int:
        """The JSON-RPC error code."""
        return -31000 - self.exit_code

    @classmethod
    def from_json(cls, error: dict[str, Any]) -> BulkheadError | None:
        """The exception of which a JSON-RPC error was made; None if no runner made it."""
        kinds = {-31000 - kind.exit_code: kind for kind in reversed(cls.__subclasses__())}
        kind, data = kinds.get(error.get("code", 0)), error.get("data")
        if kind is None or not isinstance(data, dict) or not isinstance(data.get("reason"), str):
            return None
        return kind(
            str(error.get("message")),
            why=str(data.get("why", "")),
            hint=str(data.get("hint", "")),
            reason=data["reason"],
        )

    def data(self) -> dict[str, Any]:
        """``error.data`` of a JSON-RPC error: reason, and why and hint where there are any."""
        return {"reason": self.reason} | {k: v for k, v in (("why", self.why), ("hint", self.hint)) if v}


class ToolError(BulkheadError):
    """The tool itself answered with an error."""

    exit_code = 1
    reason = "tool_error"


class UsageError(BulkheadError):
    """A command line that cannot be understood."""

    exit_code = 2
    reason = "usage"


class UnreadableError(UsageError):
    """A host's configuration that is not understood, so nothing of it is used and nothing in it is touched."""


class ProfileError(BulkheadError):
    """A profile that is wrong or unsafe; ``what`` names file and line."""

    exit_code = 2
    reason = "profile"


class DeniedError(BulkheadError):
    """Policy refused."""

    exit_code = 3
    reason = "denied"


class EngineError(BulkheadError):
    """No engine, or it does not answer, or it failed at what was asked."""

    exit_code = 4
    reason = "engine"


class UnenforceableError(EngineError):
    """The engine cannot enforce a line of the Plan, so nothing was started."""

    reason = "unenforceable"


class GoneError(EngineError):
    """What was asked for does not exist (any more)."""


class ConflictError(EngineError):
    """What was asked for does not fit the container's state: it has ended, or is being removed."""


class StartError(BulkheadError):
    """The server did not come up, or it ended; reason is ``start``, ``exited``, ``lost`` or ``build``."""

    exit_code = 5
    reason = "start"


class LimitError(BulkheadError):
    """A limit of the profile was reached.

    reason: ``oom`` ``pids`` ``tmp`` ``timeout`` ``message`` ``output`` ``rate`` ``concurrency`` or ``restarts``.
    """

    exit_code = 6
    reason = "limit"


class SecretError(BulkheadError):
    """A secret is not available."""

    exit_code = 7
    reason = "secret"


class IntegrityError(BulkheadError):
    """Something is not what was approved or recorded."""

    exit_code = 8
    reason = "pin"


class ProtocolError(BulkheadError):
    """A frame that is no message, where an answer was due."""

    exit_code = 5
    reason = "malformed"
