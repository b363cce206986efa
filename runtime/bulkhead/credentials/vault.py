"""vault:PATH#FIELD - HashiCorp Vault or OpenBao, through the library hvac.

Settings are the command line's own: VAULT_ADDR, VAULT_TOKEN (or ~/.vault-token), VAULT_NAMESPACE and VAULT_CACERT, or
the same with BAO_ in place of VAULT_. Nothing turns the check of certificates off, and no redirect is followed: it
would take the token along. Of a KV version 2 mount, PATH may be written with or without "data/": the mount tells its
version.

A dynamic secret comes with a lease: its seconds are the lease's, and it can be renewed and revoked. One that turns out
not to have the field is revoked at once.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from bulkhead.credentials.base import TIMEOUT, Fetched, checked, late, place, unavailable, within
from bulkhead.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hvac import Client

    T = TypeVar("T")

_SEE = "see `vault status`, and VAULT_ADDR"
# By the name of an error of hvac or requests, or of one that it is made from.
_WHYS = {
    "InvalidRequest": ("Vault does not take the request", "see with `vault read` what the path gives"),
    "Unauthorized": ("Vault does not know the token", "log in with `vault login`"),
    "Forbidden": (
        "the token is not valid, or may not do this",
        "log in with `vault login`, or have a policy allow the path",
    ),
    "InvalidPath": ("nothing is there, or its newest version is deleted", "see with `vault kv get` or `vault read`"),
    "RateLimitExceeded": ("Vault is asked too often", "try again later"),
    "VaultNotInitialized": ("Vault is not initialised", _SEE),
    "VaultDown": ("Vault is sealed, or not ready", "have it unsealed"),
    "VaultError": ("Vault failed", _SEE),
    "SSLError": ("Vault's certificate is not valid", "name the authority that signed it in VAULT_CACERT"),
    "ConnectionError": ("Vault cannot be reached", _SEE),
}
_STRANGE = ("the answer is not one of Vault's", "VAULT_ADDR must be a Vault itself: no redirect is followed")


@dataclass(frozen=True, slots=True)
class VaultProvider:
    """See base.Provider. timeout: seconds."""

    source: str
    timeout: float = TIMEOUT

    def fetch(self) -> Fetched:
        path, _, field = place(self.source).partition("#")
        answer, data = self._ask(partial(_read, path))
        lease = str(answer.get("lease_id") or "")
        revoke = partial(self._revoke, lease) if lease else None
        try:
            value = self._value(data, field)
            seconds = self._seconds(answer) if revoke else None
        except SecretError:
            if revoke:
                with suppress(SecretError):
                    revoke()
            raise
        renew = partial(self._renew, lease) if revoke and answer.get("renewable") is True else None
        return Fetched(value, seconds, renew, revoke)

    def _value(self, data: dict[str, Any], field: str) -> bytes:
        if field not in data:
            raise unavailable(self.source, "the secret there has no such field", "see its fields with `vault kv get`")
        value = data[field]
        if not isinstance(value, str):
            raise unavailable(self.source, "the field is no text", "store it as a text")
        return checked(value, self.source)

    def _seconds(self, answer: dict[str, Any]) -> float:
        seconds = answer.get("lease_duration")
        if not isinstance(seconds, int) or seconds <= 0:
            raise unavailable(self.source, "its lease is over", "fetch it anew")
        return float(seconds)

    def _renew(self, lease: str) -> float:
        return self._seconds(self._ask(lambda client: _object(client.sys.renew_lease(lease))))

    def _revoke(self, lease: str) -> None:
        self._ask(lambda client: _accepted(client.sys.revoke_lease(lease)))

    def _ask(self, ask: Callable[[Client], T]) -> T:
        """What ask returns, within the timeout. Raises SecretError."""
        return within(self.timeout, partial(self._asked, ask), self.source)

    def _asked(self, ask: Callable[[Client], T]) -> T:
        client = self._client()
        try:
            return ask(client)
        except Exception as error:  # of hvac, of requests, or of an answer that nobody expects
            kinds = [kind.__name__ for kind in type(error).__mro__]
        finally:
            client.adapter.close()
        # Not while the library's error is handled: it would be kept with this one, and it has the token.
        if "Timeout" in kinds:
            raise late(self.source, self.timeout)
        raise unavailable(self.source, *next((_WHYS[kind] for kind in kinds if kind in _WHYS), _STRANGE))

    def _client(self) -> Client:
        address, token = _setting("ADDR"), _setting("TOKEN") or _token_file()
        if not address.startswith(("http://", "https://")):
            raise unavailable(self.source, "VAULT_ADDR is not set, or no URL", "set it to https://HOST:PORT")
        if not token or not token.isascii() or not token.isprintable():
            raise unavailable(
                self.source, "there is no token for Vault", "log in with `vault login`, or set VAULT_TOKEN"
            )
        import hvac  # noqa: PLC0415 - 0.3 s, for profiles that name it

        return hvac.Client(
            url=address,
            token=token,
            namespace=_setting("NAMESPACE") or None,
            verify=_setting("CACERT") or True,
            timeout=self.timeout,
            allow_redirects=False,
        )


def _read(path: str, client: Client) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer for path, and the fields in it."""
    where, nested = _resolved(client, path)
    answer = _object(client.adapter.get(f"/v1/{quote(where)}"))
    data = _object(answer["data"])
    return answer, _object(data["data"]) if nested else data


def _resolved(client: Client, path: str) -> tuple[str, bool]:
    """The path to read, and whether it is of a KV version 2, as the command line finds out."""
    mount = _object(_object(client.adapter.get(f"/v1/sys/internal/ui/mounts/{quote(path)}"))["data"])
    root, options = mount["path"], mount.get("options") or {}
    if options.get("version") != "2":
        return path, False
    below = path.removeprefix(root)
    return root + "data/" + below.removeprefix("data/"), True


def _object(answer: Any) -> dict[str, Any]:
    """hvac gives the response itself for what is no JSON."""
    if not isinstance(answer, dict):
        raise TypeError
    return answer


def _accepted(answer: Any) -> None:
    """Vault revokes it now, or soon: hvac gives the response for 202 and 204, and for a redirect."""
    if not isinstance(answer, dict) and answer.status_code not in (202, 204):
        raise TypeError


def _setting(name: str) -> str:
    return os.environ.get(f"VAULT_{name}") or os.environ.get(f"BAO_{name}") or ""


def _token_file() -> str:
    """What `vault login` has left; "" if it has not."""
    try:
        return (Path.home() / ".vault-token").read_text().strip()
    except (OSError, RuntimeError, ValueError):
        return ""
