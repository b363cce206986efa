"""vault: - the library itself, against a server of Vault's API."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from bulkhead.credentials.vault import VaultProvider
from bulkhead.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import trustme

    from tests.credentials.vault_server import FakeVault

DYNAMIC = "database/creds/app#key"
MOODS = {
    "sealed": "Vault is sealed",
    "slow": "no answer came within 0.5 s",
    "garbage": "not one of Vault's",
    "list": "not one of Vault's",
    "limited": "too often",
    "broken": "Vault failed",
    "uninitialised": "not initialised",
}
PLACES = {
    "secret/nowhere#key": "nothing is there",
    "secret/app#nothing": "no such field",
    "secret/app#number": "the field is no text",
    "secret/app#empty": "it is empty",
    "old/nowhere#key": "nothing is there",
    "stranger/app#key": "may not do this",
}


def provider(place: str = "secret/app#key", timeout: float = 10.0) -> VaultProvider:
    return VaultProvider(f"vault:{place}", timeout)


def why(act: Callable[[], object]) -> str:
    with pytest.raises(SecretError) as caught:
        act()
    assert caught.value.__context__ is None  # the library's error has the token
    return caught.value.why


@pytest.mark.parametrize(
    "place",
    [
        "secret/app#key",
        "secret/data/app#key",
        "secret/data/data#key",
        "team/kv/app/one#key",
        "team/kv/data/app/one#key",
        "old/app#key",
    ],
)
def test_both_versions_of_kv(vault: FakeVault, canary: str, place: str) -> None:
    fetched = provider(place).fetch()
    assert (fetched.value, fetched.seconds, fetched.renew, fetched.revoke) == (canary.encode(), None, None, None)


def test_a_path_is_written_as_a_url_needs_it(vault: FakeVault) -> None:
    assert "nothing is there" in why(provider("secret/a%2Fb;c#key").fetch)
    assert [path for _, path, _ in vault.asked] == [
        "sys/internal/ui/mounts/secret/a%252Fb%3Bc",
        "secret/data/a%252Fb%3Bc",
    ]


def test_a_dynamic_secret_is_renewed_and_revoked(vault: FakeVault, canary: str) -> None:
    fetched = provider(DYNAMIC).fetch()
    assert (fetched.value, fetched.seconds) == (canary.encode(), 60.0)
    assert fetched.renew is not None
    assert fetched.revoke is not None
    assert list(vault.leases.values()) == [60]
    assert fetched.renew() == 60.0
    assert list(vault.leases.values()) == [120]
    fetched.revoke()
    assert vault.leases == {}
    assert why(fetched.renew) == "Vault does not take the request"


def test_a_lease_that_cannot_be_renewed(vault: FakeVault) -> None:
    vault.renewable = False
    fetched = provider(DYNAMIC).fetch()
    assert fetched.renew is None
    assert fetched.revoke is not None


def test_a_lease_is_not_left_behind(vault: FakeVault) -> None:
    assert "no such field" in why(provider("database/creds/app#nothing").fetch)
    assert vault.given == 1
    assert vault.leases == {}


def test_a_lease_that_is_over(vault: FakeVault) -> None:
    vault.duration = 0
    assert why(provider(DYNAMIC).fetch) == "its lease is over"


def test_renewing_and_revoking_fail_with_why(vault: FakeVault) -> None:
    fetched = provider(DYNAMIC).fetch()
    assert fetched.renew is not None
    assert fetched.revoke is not None
    for mood in ("sealed", "redirect", "garbage"):
        vault.mood, vault.redirect = mood, "http://127.0.0.1:9"
        for act in (fetched.renew, fetched.revoke):
            assert why(act) == (
                "Vault is sealed, or not ready" if mood == "sealed" else "the answer is not one of Vault's"
            )
    assert len(vault.leases) == 1


@pytest.mark.parametrize("mood", MOODS)
def test_each_failure_says_why(vault: FakeVault, mood: str) -> None:
    vault.mood = mood
    assert MOODS[mood] in why(provider(timeout=0.5 if mood == "slow" else 10.0).fetch)


def test_the_library_does_not_wait_longer_either(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.credentials.vault.within", lambda _seconds, ask, _source: ask())
    vault.mood = "slow"
    assert why(provider(timeout=0.2).fetch) == "no answer came within 0.2 s"


@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_there(vault: FakeVault, place: str) -> None:
    assert PLACES[place] in why(provider(place).fetch)


def test_a_token_that_is_not_valid(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs-wrong")
    assert "the token is not valid" in why(provider().fetch)


def test_a_token_that_no_header_may_hold(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs\nwrong")
    assert why(provider().fetch) == "there is no token for Vault"


def test_down(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # bound, and not listening
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert why(provider().fetch) == "Vault cannot be reached"


def test_a_certificate_is_verified(
    vault: FakeVault, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    vault.speak_tls(context)
    monkeypatch.setenv("VAULT_ADDR", vault.url)
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "true")
    assert why(provider().fetch) == "Vault's certificate is not valid"
    assert vault.tokens == []
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("VAULT_CACERT", str(tmp_path / "ca.pem"))
    assert provider().fetch().value


def test_the_token_follows_no_redirect(vault: FakeVault) -> None:
    vault.mood, vault.redirect = "redirect", vault.url
    assert why(provider().fetch) == "the answer is not one of Vault's"
    assert len(vault.tokens) == 1


def test_the_token_that_login_has_left(vault: FakeVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAULT_TOKEN")
    assert why(provider().fetch) == "there is no token for Vault"
    (tmp_path / ".vault-token").write_text(vault.token + "\n")
    assert provider().fetch().value


def test_the_settings_of_openbao(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ADDR", vault.url), ("TOKEN", vault.token)):
        monkeypatch.delenv(f"VAULT_{name}")
        monkeypatch.setenv(f"BAO_{name}", value)
    assert provider().fetch().value


def test_a_namespace_is_sent(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_NAMESPACE", "team/")
    provider().fetch()
    assert {namespace for _, _, namespace in vault.asked} == {"team/"}


@pytest.mark.parametrize("address", ["", "127.0.0.1:8200", "unix:///run/vault"])
def test_an_address_that_is_none(vault: FakeVault, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", address)
    assert why(provider().fetch) == "VAULT_ADDR is not set, or no URL"
