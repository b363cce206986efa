"""Which provider a source names. What a provider needs is imported when a profile names it, and not before."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bulkhead.errors import SecretError
from bulkhead.grammar import secret_source

if TYPE_CHECKING:
    from bulkhead.credentials.base import Provider

_PROVIDERS = {
    "env": "EnvProvider",
    "file": "FileProvider",
    "keyring": "KeyringProvider",
    "vault": "VaultProvider",
    "exec": "ExecProvider",
    "azure": "AzureProvider",
}


def provider_for(source: str) -> Provider:
    """The provider for "scheme:place", which is not asked yet. Raises SecretError for what is not understood."""
    try:
        scheme = secret_source(source).partition(":")[0]
    except ValueError as error:
        raise SecretError(
            "where a secret comes from is not understood", why=str(error), hint='write it like from = "keyring:github"'
        ) from None
    module = import_module(f"bulkhead.credentials.{scheme}")
    provider: Provider = getattr(module, _PROVIDERS[scheme])(source)
    return provider
