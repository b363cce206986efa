"""keyring: - the library itself, with its keyring in a file, and with keyrings that fail in every way."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import keyring
import keyring.errors
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring

from bulkhead.credentials.keyring import KeyringProvider, delete, store
from bulkhead.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keyrings.alt.file import PlaintextKeyring

WHYS = {
    keyring.errors.KeyringLocked: "the keyring is locked",
    keyring.errors.InitError: "the keyring cannot be opened",
    keyring.errors.PasswordSetError: "the keyring refused to store it",
    ZeroDivisionError: "the keyring failed: ZeroDivisionError",
}


class Failing(KeyringBackend):
    """Each call does one thing."""

    priority = 1.0

    def __init__(self, act: Callable[[], str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.act = act

    def get_password(self, *_where: str) -> str | None:
        return self.act()

    def set_password(self, *_what: str) -> None:
        self.act()

    def delete_password(self, *_where: str) -> None:
        self.act()


@pytest.fixture
def use(plain_keyring: PlaintextKeyring) -> Iterator[Callable[[KeyringBackend], None]]:
    yield keyring.set_keyring
    keyring.set_keyring(plain_keyring)


def why(act: Callable[[], object]) -> str:
    with pytest.raises(SecretError) as caught:
        act()
    assert caught.value.__context__ is None  # what a keyring says may be the value
    return caught.value.why


def acts(timeout: float = 10.0) -> list[Callable[[], object]]:
    return [
        KeyringProvider("keyring:github/me", timeout).fetch,
        lambda: store("github/me", "value", timeout=timeout),
        lambda: delete("github/me", timeout=timeout),
    ]


def test_stored_fetched_and_deleted(plain_keyring: PlaintextKeyring, canary: str) -> None:
    provider = KeyringProvider("keyring:github/me")
    store("github/me", canary)
    assert provider.fetch().value == canary.encode()
    assert plain_keyring.get_password("github", "me") == canary
    store("github/me", "other")
    assert provider.fetch().value == b"other"
    delete("github/me")
    assert why(provider.fetch) == "nothing is stored there"
    assert why(lambda: delete("github/me")) == "nothing is stored there"


def test_the_user_is_bulkhead_unless_it_is_named(plain_keyring: PlaintextKeyring) -> None:
    store("github", "value")
    assert plain_keyring.get_password("github", "bulkhead") == "value"
    assert KeyringProvider("keyring:github").fetch().value == b"value"


def test_nothing_there_says_how_to_store_it(plain_keyring: PlaintextKeyring) -> None:
    with pytest.raises(SecretError) as caught:
        KeyringProvider("keyring:github").fetch()
    assert "keyring set github bulkhead" in caught.value.hint


def test_a_machine_without_a_keyring(use: Callable[[KeyringBackend], None]) -> None:
    use(NoKeyring())  # type: ignore[no-untyped-call]
    assert [why(act) for act in acts()] == ["there is no keyring on this machine"] * 3


@pytest.mark.parametrize("kind", WHYS)
def test_each_failure_says_why(use: Callable[[KeyringBackend], None], kind: type[Exception], canary: str) -> None:
    def fail() -> str:
        raise kind(canary)

    use(Failing(fail))
    assert [why(act) for act in acts()] == [WHYS[kind]] * 3


def test_a_keyring_that_hangs_is_not_waited_for(use: Callable[[KeyringBackend], None]) -> None:
    released = threading.Event()
    use(Failing(lambda: str(released.wait(30))))
    assert [why(act) for act in acts(timeout=0.1)] == ["no answer came within 0.1 s"] * 3
    released.set()


@pytest.mark.parametrize("value", ["", "a\0b", "a" * 70000])
def test_what_could_not_be_fetched_is_not_stored(plain_keyring: PlaintextKeyring, value: str) -> None:
    why(lambda: store("github", value))
    assert plain_keyring.get_password("github", "bulkhead") is None


@pytest.mark.parametrize("place", ["", "a/b/c", "/a", "a/"])
def test_a_place_that_is_none(plain_keyring: PlaintextKeyring, place: str) -> None:
    told: list[Callable[[], object]] = [lambda: store(place, "value"), lambda: delete(place)]
    for act in told:
        with pytest.raises(SecretError) as caught:
            act()
        assert caught.value.why == "from is written keyring:SERVICE or keyring:SERVICE/USER"
