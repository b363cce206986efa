"""Signed profiles: with trusted keys, no profile is used but one that such a key signed, byte for byte."""

from __future__ import annotations

import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bulkhead import resources
from bulkhead.cli import main
from bulkhead.config import check_profile, load_profile, signed
from bulkhead.config.documents import Document, read_document
from bulkhead.errors import BulkheadError, IntegrityError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.policy.conftest import WriteProfile


@pytest.fixture
def key(home: Path) -> Path:
    """A key that config.toml trusts."""
    path = home / "key"
    public = signed.generate(path)
    trust(home, public)
    return path


def trust(home: Path, *public: str) -> None:
    keys = ", ".join(f'"{key}"' for key in public)
    (home / ".config" / "bulkhead" / "config.toml").write_text(f"trusted_keys = [{keys}]\n", encoding="utf-8")


def beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sig")


def refusal(path: Path) -> BulkheadError:
    with pytest.raises(BulkheadError) as caught:
        load_profile(path)
    return caught.value


def refused(path: Path, why: str) -> None:
    error = refusal(path)
    assert isinstance(error, IntegrityError), error
    assert (error.reason, error.exit_code, error.why) == ("signature", 8, why)


CHANGED = "it, its name or its signature is not what was signed"


def test_a_signed_profile_is_used(write_profile: WriteProfile, key: Path) -> None:
    path = write_profile("x")
    assert signed.sign(path, key) == beside(path)
    assert load_profile(path).name == "x"
    assert load_profile(path).name == "x"  # as it was kept


def test_without_trusted_keys_none_is_asked_for(write_profile: WriteProfile) -> None:
    path = write_profile("x")
    beside(path).write_text("nonsense", encoding="utf-8")
    assert load_profile(path).name == "x"


def test_a_missing_signature(write_profile: WriteProfile, key: Path) -> None:
    path = write_profile("x")
    refused(path, "config.toml has trusted_keys, and there is no signature x.toml.sig")
    signed.sign(path, key)
    load_profile(path)
    beside(path).unlink()  # also once the profile was judged and kept
    refused(path, "config.toml has trusted_keys, and there is no signature x.toml.sig")


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_every_flipped_byte_of_a_profile(write_profile: WriteProfile, key: Path, bit: int) -> None:
    path = write_profile("x", '# \u00e4\n[tools]\ndeny = ["delete_*"]\n')
    signed.sign(path, key)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        refused(path, CHANGED)
    for other in (b"", whole[:-1], whole + b"\n"):
        path.write_bytes(other)
        refused(path, CHANGED)
    path.write_bytes(whole)
    load_profile(path)


def test_every_flipped_byte_of_a_signature(write_profile: WriteProfile, key: Path) -> None:
    path = write_profile("x")
    line = signed.sign(path, key).read_bytes()
    for bit in (1, 2, 4, 8, 16, 32, 64, 128):
        for at in range(len(line)):
            beside(path).write_bytes(line[:at] + bytes([line[at] ^ bit]) + line[at + 1 :])
            error = refusal(path)
            assert isinstance(error, IntegrityError), (at, bit)
            assert error.reason == "signature"
    for other in (b"", line[:40], b"\xff" * 200):
        beside(path).write_bytes(other)
        refused(path, "x.toml.sig is no signature")


def test_the_signature_of_another_file(write_profile: WriteProfile, key: Path) -> None:
    path, other = write_profile("x"), write_profile("y", '[tools]\ndeny = ["*"]\n')
    signed.sign(path, key)
    beside(other).write_bytes(beside(path).read_bytes())
    refused(other, CHANGED)


def test_a_copy_under_another_name(write_profile: WriteProfile, key: Path) -> None:
    path = write_profile("x")
    signed.sign(path, key)
    copy = write_profile("y")
    assert copy.read_bytes() == path.read_bytes()
    beside(copy).write_bytes(beside(path).read_bytes())
    refused(copy, CHANGED)


def test_a_key_that_is_not_trusted(write_profile: WriteProfile, key: Path, home: Path) -> None:
    path = write_profile("x")
    signed.generate(home / "other")
    signed.sign(path, home / "other")
    refused(path, "its signature is of a key that config.toml does not trust")


def test_a_trusted_key_beside_a_strangers_signature(write_profile: WriteProfile, key: Path, home: Path) -> None:
    path = write_profile("x")
    trusted, _, _ = signed.sign(path, key).read_text(encoding="ascii").partition(" ")
    signed.generate(home / "other")
    _, _, signature = signed.sign(path, home / "other").read_text(encoding="ascii").partition(" ")
    beside(path).write_text(f"{trusted} {signature}", encoding="ascii")
    refused(path, CHANGED)


def test_a_projects_profile_needs_one_and_a_shipped_one_does_not(
    write_profile: WriteProfile, key: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "project" / ".bulkhead" / "x.toml"
    theirs.parent.mkdir()
    theirs.write_bytes(write_profile("x").read_bytes())
    refused(theirs, "config.toml has trusted_keys, and there is no signature x.toml.sig")
    shipped = resources.folder("profiles") / "servers" / "time.toml"
    assert load_profile(shipped).name == "time"


def test_a_file_that_changes_while_it_is_read(
    write_profile: WriteProfile, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_profile("x")
    signed.sign(path, key)

    def swapped(path: Path) -> Document:
        path.write_text(path.read_text(encoding="utf-8") + "[tools]\n", encoding="utf-8")
        return read_document(path)

    monkeypatch.setattr(signed, "read_document", swapped)
    refused(path, "it changed while it was read")


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:AAAA", "rsa:" + "A" * 43 + "=", "ed25519:" + "?" * 44])
def test_what_is_no_key(home: Path, write_profile: WriteProfile, text: str) -> None:
    trust(home, text)
    error = refusal(write_profile("x"))
    assert error.what.endswith("config.toml:1: trusted_keys[0] is not valid")
    assert "32 bytes in base64" in error.why


# The commands


def test_keygen_sign_verify(home: Path, write_profile: WriteProfile, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "keygen", "-o", str(home / "key")]) == 0
    public = capsys.readouterr().out.strip()
    assert signed.is_key(public)
    assert stat.S_IMODE((home / "key").stat().st_mode) == 0o600
    trust(home, public)
    x, y = write_profile("x"), write_profile("y")
    assert main(["policy", "sign", str(x.parent), "--key", str(home / "key")]) == 0
    assert main(["policy", "verify", str(x.parent)]) == 0
    capsys.readouterr()
    y.write_bytes(y.read_bytes() + b"\n")
    assert main(["policy", "verify", str(x.parent)]) == 8
    printed = capsys.readouterr()
    assert printed.out == f"signed by a trusted key: {x}\n"
    assert f"{y} is not used" in printed.err
    assert CHANGED in printed.err
    assert main(["policy", "verify", str(x)]) == 0
    assert main(["profile", "show", "y"]) == 8


def test_a_key_is_never_overwritten_and_only_its_owner_reads_it(home: Path, write_profile: WriteProfile) -> None:
    signed.generate(home / "key")
    before = (home / "key").read_bytes()
    with pytest.raises(UsageError, match="cannot be made"):
        signed.generate(home / "key")
    assert (home / "key").read_bytes() == before
    (home / "key").chmod(0o640)
    with pytest.raises(UsageError) as caught:
        signed.sign(write_profile("x"), home / "key")
    assert caught.value.why == "others can read this key"


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n"])
def test_what_is_no_private_key(home: Path, write_profile: WriteProfile, content: bytes) -> None:
    (home / "key").write_bytes(content)
    (home / "key").chmod(0o600)
    with pytest.raises(UsageError) as caught:
        signed.sign(write_profile("x"), home / "key")
    assert caught.value.why == "it is not an Ed25519 private key"


def test_verify_without_trusted_keys(write_profile: WriteProfile, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "verify", str(write_profile("x"))]) == 2
    assert "no key is trusted" in capsys.readouterr().err


def test_nothing_heavy_is_imported_where_no_key_is_trusted(write_profile: WriteProfile) -> None:
    path = write_profile("x")
    check_profile(path)  # judged once, and kept
    look = f"""
import sys
from pathlib import Path
from bulkhead.config import load_profile
load_profile(Path({str(path)!r}))
assert not {{"cryptography", "cedarpy", "jsonschema_rs", "pydantic"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", look], check=True)
