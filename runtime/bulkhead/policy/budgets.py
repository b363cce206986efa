"""How much: calls a minute, calls at once, and the size of a tool's result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.errors import LimitError
from bulkhead.policy.verdict import ALLOW, Deny

if TYPE_CHECKING:
    from bulkhead.policy.verdict import Context, Verdict
    from bulkhead.wire.messages import Message


def rate(message: Message, context: Context) -> Verdict:
    """Denies a tool call over limits.calls_per_minute."""
    del message
    most = context.spec.limits.calls_per_minute
    if context.method != "tools/call" or context.recent < most:
        return ALLOW
    return _over("rate", f"more than {most} tool calls in a minute", "calls_per_minute")


def concurrency(message: Message, context: Context) -> Verdict:
    """Denies a tool call over limits.concurrent_calls."""
    del message
    most = context.spec.limits.concurrent_calls
    if context.method != "tools/call" or context.in_flight < most:
        return ALLOW
    return _over("concurrency", f"more than {most} tool calls at once", "concurrent_calls")


def output(message: Message, context: Context) -> Verdict:
    """Denies a tool's result over limits.output."""
    most = context.spec.limits.output
    if context.method != "tools/call" or len(message.raw) <= most:
        return ALLOW
    return _over("output", f"the result has {len(message.raw)} bytes, the limit is {most}", "output")


def _over(reason: str, why: str, key: str) -> Deny:
    hint = f"wait, ask for less, or raise limits.{key} in the profile"
    return Deny(LimitError(f"limit reached: {reason}", why=why, hint=hint, reason=reason))
