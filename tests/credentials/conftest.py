"""What the tests of providers share: a value that must be nowhere, and servers of what does not run here."""

from __future__ import annotations

import gc
import os
import secrets
import socket
import ssl
import threading
import warnings
from typing import TYPE_CHECKING, Any

import keyring
import keyring.backends.fail
import pytest
import trustme
from keyrings.alt.file import PlaintextKeyring

from bulkhead.credentials.base import THREAD
from tests.credentials.azure_server import DOMAIN, VAULT, FakeAzure
from tests.credentials.vault_server import FakeVault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def canary() -> str:
    return f"canary-{secrets.token_hex(12)}"


@pytest.fixture
def plain_keyring(tmp_path: Path) -> Iterator[PlaintextKeyring]:
    """A keyring in a file, in the place of the person's."""
    backend = PlaintextKeyring()
    backend.file_path = str(tmp_path / "keyring.cfg")
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]


@pytest.fixture
def vault(canary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVault]:
    """A Vault that knows its caller."""
    fields = {"key": canary, "other": "other", "number": 5, "empty": ""}
    paths = ("secret/app", "team/kv/app/one", "old/app", "secret/data", "database/creds/app")
    server = FakeVault(f"hvs-{secrets.token_hex(8)}", dict.fromkeys(paths, fields))
    for name in [name for name in os.environ if name.startswith(("VAULT_", "BAO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAULT_ADDR", server.url)
    monkeypatch.setenv("VAULT_TOKEN", server.token)
    yield server
    server.close()
    _wait_for_those_left_behind()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def azure(canary: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAzure]:
    """A key vault that is found by its name, and an identity that it knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(f"{VAULT}.{DOMAIN}").configure_cert(context)
    server = FakeAzure(context, secrets.token_hex(8), {"app": {"v1": "old", "v2": canary}})
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name, value in server.environment(tmp_path / "ca.pem").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "getaddrinfo", _at_home(socket.getaddrinfo))
    yield server
    server.close()
    _wait_for_those_left_behind()


def _wait_for_those_left_behind() -> None:
    """A library that was not waited for lets its socket go unclosed; another test would be told of it."""
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _at_home(lookup: Any) -> Any:
    def look(host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host or ""
        return lookup("127.0.0.1" if name.endswith(DOMAIN) else host, *args, **kwargs)

    return look
