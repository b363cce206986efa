"""azure:VAULT/SECRET, or azure:VAULT/SECRET/VERSION - Azure Key Vault, through its own libraries (the extra "azure").

Who asks is found out by DefaultAzureCredential: the environment, a workload's or a machine's identity, or `az login`.
The vault's address is https://VAULT.vault.azure.net, unless AZURE_KEYVAULT_URL says another, for other clouds;
"{vault}" in it stands for VAULT, and must be there where profiles name more than one.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.credentials.base import TIMEOUT, Fetched, checked, late, place, unavailable, within

if TYPE_CHECKING:
    from azure.keyvault.secrets import SecretClient

_ADDRESS = "https://{vault}.vault.azure.net"
_SEE = "see whether AZURE_KEYVAULT_URL, or the vault's name, is right"
# By the status of the answer, or else by the name of the library's error, or of one that it is made from.
_WHYS = {
    401: ("the vault does not know who asks", "see with `az account show` who it is, and of which tenant"),
    403: ("who asks may not read it, or it is disabled", "give the role Key Vault Secrets User, and see its firewall"),
    404: ("nothing is there", "see with `az keyvault secret list`"),
    429: ("the vault is asked too often", "try again later"),
    "ImportError": ("Azure's libraries are not installed", "pip install 'mcp-bulkhead[azure]'"),
    "ClientAuthenticationError": ("no identity of Azure is there to ask with", "log in with `az login`"),
    "ServiceRequestError": ("the vault cannot be reached", _SEE),
    "ServiceResponseError": ("the vault broke off", _SEE),
}
_STRANGE = ("the answer is not one of a key vault", _SEE)


@dataclass(frozen=True, slots=True)
class AzureProvider:
    """See base.Provider. timeout: seconds."""

    source: str
    timeout: float = TIMEOUT

    def fetch(self) -> Fetched:
        return Fetched(checked(within(self.timeout, self._asked, self.source), self.source))

    def _asked(self) -> str:
        _, name, version = (*place(self.source).split("/"), "")[:3]
        try:
            with ExitStack() as closing:
                return self._client(closing).get_secret(name, version or None).value or ""
        except Exception as error:  # of three libraries, or of an answer that nobody expects
            kinds = [getattr(error, "status_code", None), *(kind.__name__ for kind in type(error).__mro__)]
        # Not while the library's error is handled: it would be kept with this one, and it has the token.
        if "ServiceResponseTimeoutError" in kinds or "ServiceRequestTimeoutError" in kinds:
            raise late(self.source, self.timeout)
        raise unavailable(self.source, *next((_WHYS[kind] for kind in kinds if kind in _WHYS), _STRANGE))

    def _client(self, closing: ExitStack) -> SecretClient:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - an extra, and 0.5 s
        from azure.keyvault.secrets import SecretClient  # noqa: PLC0415 - the same

        who = closing.enter_context(DefaultAzureCredential())
        seconds = {"connection_timeout": self.timeout, "read_timeout": self.timeout}
        return closing.enter_context(SecretClient(self._address(), who, retry_total=0, **seconds))

    def _address(self) -> str:
        vault = place(self.source).partition("/")[0]
        return (os.environ.get("AZURE_KEYVAULT_URL") or _ADDRESS).replace("{vault}", vault)
