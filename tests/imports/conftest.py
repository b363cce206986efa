"""A home of the test's own, with a keyring in a file, and the command as a person types it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Protocol

import keyring
import keyring.backends.fail
import pytest
from keyrings.alt.file import PlaintextKeyring

from bulkhead.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Import(Protocol):
    """Imports a document, and returns what --json says; expects exit code 0."""

    def __call__(self, document: Any, *args: str, yes: bool = False) -> dict[str, Any]: ...


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """$HOME, with a folder `notes`, and an empty current folder."""
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    (home / "notes").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    backend = PlaintextKeyring()
    backend.file_path = str(tmp_path / "keyring.cfg")
    keyring.set_keyring(backend)
    yield home
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]


@pytest.fixture
def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Import:
    """See Import."""

    def run(document: Any, *args: str, yes: bool = False) -> dict[str, Any]:
        path = written(tmp_path, document)
        options, command = (args[: args.index("--")], args[args.index("--") :]) if "--" in args else (args, ())
        done = main(["import", str(path), "--json", *options, *["--yes"] * yes, *command])
        said = capsys.readouterr()
        assert done == 0, said.err
        found: dict[str, Any] = json.loads(said.out)
        return found

    return run


def written(folder: Path, document: Any) -> Path:
    """The document as a file: bytes and texts as they are, all else as JSON."""
    path = folder / "document"
    text = document if isinstance(document, str | bytes) else json.dumps(document, indent=1)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def told(found: dict[str, Any], kind: str) -> dict[str, str]:
    """Where -> why, of one kind."""
    return {row["at"]: row["why"] for row in found["told"] if row["kind"] == kind}
