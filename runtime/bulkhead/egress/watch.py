"""Placeholders where they may not be: which hosts a secret is for, and a look into what programs send. PURE.

A placeholder is no secret. A program that sends one to another host believes that it sends the secret: that is told.
It is looked for as it stands; whoever encodes, encrypts or masks it gets it through, and has gained nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.egress.http1 import Requests
from bulkhead.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.egress.injectable import Injectable


def covers(hosts: Sequence[str], name: str) -> bool:
    """Whether name is among hosts, or below one that begins with ``*.``."""
    return any(name == host or (host.startswith("*.") and name.endswith(host[1:])) for host in hosts)


def misplaced(injectable: Injectable, name: str, why: str) -> DeniedError:
    """The placeholder was sent to name, and is not replaced. why: what is against it, if the secret is for name."""
    if covers(injectable.hosts, name):
        return DeniedError(f"the placeholder of {injectable.name} {why}", reason="binding")
    host = name or "an address"
    return DeniedError(f"the placeholder of {injectable.name} was on its way to {host}", reason="exfiltration")


class Watch:
    """Looks for placeholders in one stream of bytes, whatever its pieces. where: what is said of one that is found."""

    def __init__(self, injectables: Sequence[Injectable], name: str, where: str) -> None:
        self._injectables, self._name, self._where = injectables, name, where
        self._overlap = max(len(injectable.placeholder) for injectable in injectables) - 1
        self._seen = b""

    def look(self, data: bytes) -> None:
        """Raises DeniedError, with reason "exfiltration" or "binding", for the piece that completes a placeholder."""
        border = self._seen + data[: self._overlap]
        for injectable in self._injectables:
            if injectable.placeholder in data or injectable.placeholder in border:
                raise misplaced(injectable, self._name, self._where)
        if len(data) < self._overlap:
            data = self._seen + data
        self._seen = bytes(data[-self._overlap :])


class WatchedRequests(Requests):
    """Requests in the clear: a secret never goes into one."""

    def __init__(self, name: str, port: int, injectables: Sequence[Injectable]) -> None:
        super().__init__(name, port)
        self._watch = Watch(injectables, name, "was in a request that is not encrypted")

    def feed(self, data: bytes) -> bytes:
        self._watch.look(data)
        return super().feed(data)


class WatchedBytes:
    """Any bytes that are not encrypted. See clienthello.Hellos for what its names mean."""

    opaque = False
    waiting = False

    def __init__(self, name: str, injectables: Sequence[Injectable]) -> None:
        self._watch = Watch(injectables, name, "was in a connection that is no TLS")

    def feed(self, data: bytes) -> bytes:
        self._watch.look(data)
        return data
