"""Profiles, requests and contexts as the tests of guards need them."""

from __future__ import annotations

from typing import Any

from bulkhead.policy.verdict import Context, Deny, Verdict
from bulkhead.spec import Guards, Server, ServerSpec
from bulkhead.wire import messages
from bulkhead.wire.messages import Request


def spec(*, rules: str = "", arguments: bool = True, **parts: Any) -> ServerSpec:
    """A profile named test."""
    guards = Guards(rules=rules, arguments=arguments)
    return ServerSpec(name="test", server=Server(package="npm:x@1.0.0"), guards=guards, **parts)


def request(method: str = "tools/call", **params: Any) -> Request:
    """A request as it comes from the wire."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    message = messages.parse(messages.encode(body))
    assert isinstance(message, Request)
    return message


def call(arguments: Any = None, tool: str = "read") -> Request:
    """A tool call; without arguments where there are none."""
    return request(name=tool) if arguments is None else request(name=tool, arguments=arguments)


def context(of: ServerSpec, tool: str = "read", **more: Any) -> Context:
    """What a guard knows of a tool call."""
    return Context(of, **({"method": "tools/call", "tool": tool} | more))


def denial(verdict: Verdict) -> Any:
    """The error of a denial."""
    assert isinstance(verdict, Deny), verdict
    return verdict.error
