"""What a provider of secrets is, and what all of them share.

Rules: a provider fails with SecretError and nothing else, and never waits longer than its timeout. No error holds a
value, nor a library's own error, which may hold the request with its token, or the answer. A value is between 1 byte
and 64 KiB, without NUL: it becomes a header, a variable or a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING, Protocol, TypeVar

from bulkhead.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

TIMEOUT = 10.0  # seconds for one fetch, renewal or revocation
MOST = 64 * 2**10
THREAD = "bulkhead-provider"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A secret, as its provider gave it. seconds: how long it says that it is valid; None: without an end.

    renew gives the new seconds, revoke ends it at its provider; both block, and raise SecretError. None: there is none.
    """

    value: bytes = field(repr=False)
    seconds: float | None = None
    renew: Callable[[], float] | None = None
    revoke: Callable[[], None] | None = None


class Provider(Protocol):
    """One source of one secret."""

    def fetch(self) -> Fetched:
        """Asks for the value now. Blocks, so it is called in a thread. Raises SecretError."""


def place(source: str) -> str:
    """What stands behind the scheme."""
    return source.partition(":")[2]


def unavailable(source: str, why: str, hint: str = "") -> SecretError:
    """The error of a provider. Of exec: the command alone is told: whoever wrote a key into its arguments shows it."""
    told = f'exec:["{json.loads(place(source))[0]}", ...]' if source.startswith("exec:") else source
    return SecretError(f"the secret at {told} is not available", why=why, hint=hint)


def checked(value: str | bytes, source: str) -> bytes:
    """The value as bytes, text in UTF-8. Raises SecretError if it is empty, too long, or has a NUL."""
    data = value if isinstance(value, bytes) else value.encode(errors="surrogatepass")
    if not data:
        raise unavailable(source, "it is empty", "put the value there")
    if len(data) > MOST:
        raise unavailable(source, f"it is longer than {MOST // 1024} KiB", "a secret is a key or a password")
    if b"\0" in data:
        raise unavailable(source, "it has a NUL byte", "a secret is text; store it without encoding it")
    return data


def without_newline(output: bytes) -> bytes:
    """What files and programs put behind a value is no part of it: one newline."""
    return output.removesuffix(b"\n").removesuffix(b"\r") if output.endswith(b"\n") else output


def late(source: str, seconds: float) -> SecretError:
    return unavailable(source, f"no answer came within {seconds:g} s", "see whether its provider is up, then try again")


def within(seconds: float, function: Callable[[], T], source: str) -> T:
    """What function returns or raises. Raises SecretError when it takes longer.

    It is left behind then, in a thread that does not hold the process's end.
    """
    found: list[T] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            found.append(function())
        except Exception as error:  # it is raised where it is waited for
            failed.append(error)

    thread = Thread(target=work, name=THREAD, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        raise unavailable(source, "the machine has no thread left to ask in") from None
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise late(source, seconds)
    return found[0]
