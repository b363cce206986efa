"""A secret as the egress proxy sees it: what stands for it in the sandbox, where its value goes, and its value."""

from __future__ import annotations

from typing import Protocol


class Injectable(Protocol):
    """One [[secrets]] table with ``use = "inject"``.

    name: for people. placeholder: what the sandbox holds instead, as long as the value. hosts: names and ``*.``
    patterns as in [[egress]]. methods and paths: shell-style patterns of an HTTP request's; a path is compared without
    its query. places: where in a request it is replaced, of "header", "path" and "query".
    """

    name: str
    placeholder: bytes
    hosts: tuple[str, ...]
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    places: tuple[str, ...]

    def value(self) -> bytes | None:
        """The secret, while a call that may use it is in flight; None otherwise."""
