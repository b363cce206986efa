"""Which provider a source names, what all have in common, and that no value is told by any."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
import traceback
from typing import TYPE_CHECKING

import pytest

from bulkhead.credentials import base, keyring
from bulkhead.credentials.sources import provider_for
from bulkhead.errors import SecretError
from tests.credentials.azure_server import VAULT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAVY = ("hvac", "keyring", "azure", "requests", "subprocess", "msal", "importlib.metadata")
SOURCES = {
    "env": "env:TOKEN",
    "file": "file:/run/token",
    "keyring": "keyring:github/me",
    "vault": "vault:secret/app#key",
    "exec": 'exec:["pass","show","name"]',
    "azure": "azure:team/app",
}


@pytest.mark.parametrize("scheme", SOURCES)
def test_each_scheme_has_its_provider(scheme: str) -> None:
    assert type(provider_for(SOURCES[scheme])).__module__ == f"bulkhead.credentials.{scheme}"


@pytest.mark.parametrize("source", ["", "hunter2", "hunter2:x", "vault:hunter2", "exec:hunter2", "env:hunter-2"])
def test_what_is_not_understood_is_not_repeated(source: str) -> None:
    with pytest.raises(SecretError, match="not understood") as caught:
        provider_for(source)
    told = "".join(traceback.format_exception(caught.value)) + caught.value.why + caught.value.hint
    assert "hunter" not in told
    assert "from" in caught.value.why
    assert (caught.value.exit_code, caught.value.reason) == (7, "secret")


def test_nothing_is_imported_before_it_is_named() -> None:
    program = (
        "import sys\nfrom bulkhead.credentials.sources import provider_for\n"
        f"for source in {[*SOURCES.values()]}:\n"
        "    if not source.startswith('exec:'): provider_for(source)\n"
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    modules = set(done.stdout.split())
    assert "bulkhead.credentials.vault" in modules
    assert [name for name in HEAVY if name in modules] == []


class Given:
    """A working source of the canary for each scheme, and a way to make it fail afterwards."""

    def __init__(self, request: pytest.FixtureRequest, canary: str, tmp_path: Path) -> None:
        self.request, self.canary, self.tmp_path = request, canary, tmp_path
        self.patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")

    def env(self) -> tuple[str, Callable[[], object]]:
        self.patch.setenv("TOKEN", self.canary)
        return "env:TOKEN", lambda: self.patch.setenv("TOKEN", self.canary * 4000)

    def file(self) -> tuple[str, Callable[[], object]]:
        path = self.tmp_path / "token"
        path.write_text(self.canary)
        path.chmod(0o600)
        return f"file:{path}", lambda: path.write_text(f"{self.canary}\0")

    def keyring(self) -> tuple[str, Callable[[], object]]:
        plain = self.request.getfixturevalue("plain_keyring")
        keyring.store("github", self.canary)
        return "keyring:github", lambda: plain.set_password("github", "bulkhead", f"{self.canary}\0")

    def vault(self) -> tuple[str, Callable[[], object]]:
        server = self.request.getfixturevalue("vault")
        return "vault:database/creds/app#key", lambda: server.stored.update(
            {"database/creds/app": {"key": [self.canary]}}
        )

    def exec(self) -> tuple[str, Callable[[], object]]:
        path = self.tmp_path / "program"
        path.write_text(f"#!/bin/sh\necho {self.canary}\n")
        path.chmod(0o700)
        return f"exec:{json.dumps([str(path)])}", lambda: path.write_text(
            f"#!/bin/sh\necho {self.canary}; echo {self.canary} >&2; exit 1\n"
        )

    def azure(self) -> tuple[str, Callable[[], object]]:
        server = self.request.getfixturevalue("azure")
        return f"azure:{VAULT}/app", lambda: server.stored.update({"app": {"v": f"{self.canary}\0"}})


@pytest.mark.parametrize("scheme", SOURCES)
def test_a_value_is_never_told(
    scheme: str, request: pytest.FixtureRequest, canary: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source, spoil = getattr(Given(request, canary, tmp_path), scheme)()
    provider = provider_for(source)
    fetched = provider.fetch()
    assert fetched.value == canary.encode()
    spoil()
    with pytest.raises(SecretError) as caught:
        provider.fetch()
    error = caught.value
    told = [
        str(error),
        repr(error),
        error.why,
        error.hint,
        str(error.data()),
        repr(fetched),
        str(fetched),
        repr(provider),
    ]
    told += [*traceback.format_exception(error), *caplog.messages]
    assert [text for text in told if canary in text] == []
    assert error.why


def test_the_arguments_of_a_program_are_not_told() -> None:
    with pytest.raises(SecretError) as caught:
        provider_for('exec:["false","hunter2"]').fetch()
    assert "hunter2" not in caught.value.what + caught.value.why + caught.value.hint


def test_within_gives_what_the_function_gives() -> None:
    assert base.within(5, lambda: "it", "env:A") == "it"
    with pytest.raises(ZeroDivisionError):
        base.within(5, lambda: 1 // 0, "env:A")
    with pytest.raises(SecretError) as caught:
        base.within(0.05, lambda: time.sleep(0.5), "env:A")
    assert caught.value.why == "no answer came within 0.05 s"


def test_a_process_ends_although_a_provider_hangs() -> None:
    program = (
        "import time\nfrom bulkhead.credentials import base\n"
        "try: base.within(0.1, lambda: time.sleep(60), 'env:A')\nexcept Exception as error: print(error.why)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=20)
    assert done.stdout == "no answer came within 0.1 s\n"


@pytest.mark.parametrize(
    ("value", "why"), [("", "empty"), (b"", "empty"), ("a\0", "NUL"), ("ä" * 2**15 + "a", "64 KiB")]
)
def test_values_that_are_none(value: str | bytes, why: str) -> None:
    with pytest.raises(SecretError) as caught:
        base.checked(value, "env:A")
    assert why in caught.value.why


def test_values_that_are_some() -> None:
    assert base.checked("ä" * 2**15, "env:A") == "ä".encode() * 2**15
    assert base.checked(b"\xff\n", "env:A") == b"\xff\n"
