"""keyring:SERVICE/USER, or keyring:SERVICE - the keyring of the person's desktop, through the library ``keyring``.

Without a USER it is "bulkhead". Rules: a keyring may ask the person to unlock it, and may hang, so none is waited for
longer than the timeout; what the library's errors say is not repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from bulkhead.credentials.base import TIMEOUT, Fetched, checked, place, unavailable, within
from bulkhead.errors import SecretError
from bulkhead.grammar import secret_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    T = TypeVar("T")

USER = "bulkhead"
# By the name of the library's error, the most special one first.
_WHYS = {
    "NoKeyringError": (
        "there is no keyring on this machine",
        "start one, such as gnome-keyring or KWallet, or use file: or exec: instead",
    ),
    "KeyringLocked": ("the keyring is locked", "unlock it, then try again"),
    "InitError": ("the keyring cannot be opened", "see with `keyring diagnose` which one is used"),
    "PasswordSetError": ("the keyring refused to store it", "see with `keyring diagnose` which one is used"),
    "PasswordDeleteError": ("nothing is stored there", ""),
}
_FAILED = ("the keyring failed", "see with `keyring diagnose` which one is used")


@dataclass(frozen=True, slots=True)
class KeyringProvider:
    """See base.Provider. timeout: seconds."""

    source: str
    timeout: float = TIMEOUT

    def fetch(self) -> Fetched:
        value: str | None = _asked(
            lambda library: library.get_password(*_where(self.source)), self.source, self.timeout
        )
        if value is None:
            hint = f"store it with `bulkhead secrets set`, or `keyring set {' '.join(_where(self.source))}`"
            raise unavailable(self.source, "nothing is stored there", hint)
        return Fetched(checked(value, self.source))


def store(service_and_user: str, value: str, *, timeout: float = TIMEOUT) -> None:
    """Puts a value into the keyring, in the place of one that is there. Blocks. Raises SecretError."""
    source = _source(service_and_user)
    checked(value, source)
    _asked(lambda library: library.set_password(*_where(source), value), source, timeout)


def delete(service_and_user: str, *, timeout: float = TIMEOUT) -> None:
    """Takes a value out of the keyring. Blocks. Raises SecretError, also if there is none."""
    source = _source(service_and_user)
    _asked(lambda library: library.delete_password(*_where(source)), source, timeout)


def _source(service_and_user: str) -> str:
    try:
        return secret_source(f"keyring:{service_and_user}")
    except ValueError as error:
        raise SecretError("a place in the keyring is not understood", why=str(error)) from None


def _where(source: str) -> tuple[str, str]:
    service, _, user = place(source).partition("/")
    return service, user or USER


def _asked(ask: Callable[[ModuleType], T], source: str, timeout: float) -> T:
    def work() -> T:
        import keyring  # noqa: PLC0415 - 0.2 s, for profiles that name it

        try:
            return ask(keyring)
        except Exception as error:  # each keyring has errors of its own
            why, hint = _why(error)
        raise unavailable(source, why, hint)

    return within(timeout, work, source)


def _why(error: Exception) -> tuple[str, str]:
    return _WHYS.get(type(error).__name__, (f"{_FAILED[0]}: {type(error).__name__}", _FAILED[1]))
