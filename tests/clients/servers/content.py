"""Bytes that are always the same, so both sides know them."""

from __future__ import annotations

import hashlib
from functools import cache


@cache
def content(size: int) -> bytes:
    """So many bytes, which nothing compresses."""
    return hashlib.shake_128(b"clients").digest(size)


def digest(data: bytes) -> str:
    """The sha256, as sha256sum prints it."""
    return hashlib.sha256(data).hexdigest()
