"""azure: - the library itself, against a server of the API of Key Vault."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from bulkhead.credentials.azure import AzureProvider
from bulkhead.errors import SecretError
from tests.credentials.azure_server import VAULT

if TYPE_CHECKING:
    from tests.credentials.azure_server import FakeAzure

WHYS = {
    "forbidden": "may not read it",
    "limited": "too often",
    "garbage": "not one of a key vault",
    "stranger": "does not know who asks",
    "slow": "no answer came within 1 s",
}


def provider(place: str = "app", timeout: float = 10.0) -> AzureProvider:
    return AzureProvider(f"azure:{VAULT}/{place}", timeout)


def test_the_newest_version_and_one_by_name(azure: FakeAzure, canary: str) -> None:
    fetched = provider().fetch()
    assert (fetched.value, fetched.seconds, fetched.renew, fetched.revoke) == (canary.encode(), None, None, None)
    assert provider("app/v1").fetch().value == b"old"


@pytest.mark.parametrize("mood", WHYS)
def test_each_failure_says_why(azure: FakeAzure, mood: str) -> None:
    azure.mood = mood
    with pytest.raises(SecretError) as caught:
        provider(timeout=1.0 if mood == "slow" else 10.0).fetch()
    assert WHYS[mood] in caught.value.why
    assert caught.value.what == f"the secret at azure:{VAULT}/app is not available"
    assert caught.value.hint
    assert caught.value.__context__ is None  # the library's error has the token


def test_it_is_asked_once(azure: FakeAzure) -> None:
    azure.mood = "limited"
    with pytest.raises(SecretError):
        provider().fetch()
    assert len(azure.asked) == 1


def test_an_answer_that_never_ends_is_not_waited_for(azure: FakeAzure) -> None:
    azure.mood = "drip"
    with pytest.raises(SecretError) as caught:
        provider(timeout=1.0).fetch()
    assert caught.value.why == "no answer came within 1 s"


def test_the_library_does_not_wait_longer_either(azure: FakeAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.credentials.azure.within", lambda _seconds, ask, _source: ask())
    azure.mood = "slow"
    with pytest.raises(SecretError) as caught:
        provider(timeout=0.3).fetch()
    assert caught.value.why == "no answer came within 0.3 s"


def test_nothing_there(azure: FakeAzure) -> None:
    with pytest.raises(SecretError) as caught:
        provider("nowhere").fetch()
    assert caught.value.why == "nothing is there"


def test_a_certificate_of_nobody_is_not_believed(azure: FakeAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(SecretError) as caught:
        provider().fetch()
    assert caught.value.why == "the vault cannot be reached"
    assert azure.asked == []


def test_no_secret_over_plain_http(azure: FakeAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEYVAULT_URL", azure.identity)
    with pytest.raises(SecretError) as caught:
        provider().fetch()
    assert caught.value.why == "the vault cannot be reached"


def test_a_vault_that_asks_for_the_token_of_another(azure: FakeAzure) -> None:
    azure.authority = "elsewhere.test"
    with pytest.raises(SecretError) as caught:
        provider().fetch()
    assert caught.value.why == "the answer is not one of a key vault"


def test_no_identity(azure: FakeAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    with pytest.raises(SecretError) as caught:
        provider().fetch()
    assert (caught.value.why, caught.value.hint) == (
        "no identity of Azure is there to ask with",
        "log in with `az login`",
    )


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(SecretError) as caught:
        provider().fetch()
    assert caught.value.why == "Azure's libraries are not installed"
    assert caught.value.hint == "pip install 'mcp-bulkhead[azure]'"


def test_the_address_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_KEYVAULT_URL", raising=False)
    assert provider()._address() == f"https://{VAULT}.vault.azure.net"
