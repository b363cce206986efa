"""Signed profiles: where config.toml names `trusted_keys`, a profile is used only with a signature of one of them.

The signature of NAME.toml is NAME.toml.sig beside it, one line: the key and the Ed25519 signature of name and bytes.
The name is signed too, or one server's rights could be given to another by a copy. Shipped profiles are part of the
program, and need none. A file is compared byte for byte before anything reads it as TOML.
"""

from __future__ import annotations

import base64
import os
import stat
from contextlib import closing
from typing import TYPE_CHECKING

from bulkhead import resources
from bulkhead.config.documents import Document, read_document
from bulkhead.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_KIND = "ed25519:"
_SEED = 32
_LONGEST = 4096
_HINT = "look at what changed; who holds a trusted key signs it with `bulkhead policy sign`"


def is_key(text: str) -> bool:
    """Whether a text is a public key as config.toml has it: "ed25519:" and 32 bytes in base64."""
    return text.startswith(_KIND) and len(_decoded(text.removeprefix(_KIND))) == _SEED


def read_signed(path: Path, trusted: Sequence[str]) -> Document:
    """A profile; where there are trusted keys, one that was signed. Raises IntegrityError, and as read_document()."""
    if not trusted or path.parent == resources.folder("profiles") / "servers":
        return read_document(path)
    data = b""
    if path.is_file():
        data = path.read_bytes()
        check(path, data, trusted)
    document = read_document(path)
    if document.text.encode() != data:
        raise _refused(path, "it changed while it was read")
    return document


def check(path: Path, data: bytes, trusted: Sequence[str]) -> None:
    """Raises IntegrityError unless the signature beside path is one of its name and data, by a trusted key."""
    key, signature = _signature(path)
    if key not in trusted:
        raise _refused(path, "its signature is of a key that config.toml does not trust")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(_decoded(key.removeprefix(_KIND))).verify(signature, _signed(path, data))
    except InvalidSignature:
        raise _refused(path, "it, its name or its signature is not what was signed") from None


def sign(path: Path, key: Path) -> Path:
    """Writes the signature of a profile; returns its path. Raises UsageError for the key, and as read_document()."""
    private = _private(key)
    data = read_document(path).text.encode()
    signature = base64.b64encode(private.sign(_signed(path, data))).decode()
    target = _beside(path)
    target.write_text(f"{_public(private)} {signature}\n", encoding="ascii")
    return target


def generate(path: Path) -> str:
    """Writes a new private key for this user alone; returns the public one. Raises UsageError where a file is."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be made", why=str(error.strerror), hint="name a new file") from None
    with closing(os.fdopen(descriptor, "wb")) as file:
        file.write(_pem(private))
    return _public(private)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sig")


def _signed(path: Path, data: bytes) -> bytes:
    return b"bulkhead profile 1\n" + os.fsencode(path.name) + b"\n" + data


def _signature(path: Path) -> tuple[str, bytes]:
    try:
        with _beside(path).open("rb") as file:
            line = file.read(_LONGEST).decode("ascii", "replace")
    except OSError:
        raise _refused(path, f"config.toml has trusted_keys, and there is no signature {path.name}.sig") from None
    key, _, signature = line.removesuffix("\n").partition(" ")
    if not is_key(key):
        raise _refused(path, f"{path.name}.sig is no signature")
    return key, _decoded(signature)


def _refused(path: Path, why: str) -> IntegrityError:
    return IntegrityError(f"{path} is not used", why=why, hint=_HINT, reason="signature")


def _decoded(text: str) -> bytes:
    """The bytes; none of what is not base64 as encoders write it: bits of its last digit could be flipped unseen."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return data if base64.b64encode(data).decode() == text else b""


def _private(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    why = "it is not an Ed25519 private key"
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"{path} is not used", why="others can read this key", hint=f"chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), password=None)
        if isinstance(key, Ed25519PrivateKey):
            return key
    except OSError as error:
        why = str(error.strerror)
    except (ValueError, TypeError):
        pass
    raise UsageError(f"{path} is not used", why=why, hint="`bulkhead policy keygen -o FILE` makes one")


def _public(private: Ed25519PrivateKey) -> str:
    return _KIND + base64.b64encode(private.public_key().public_bytes_raw()).decode()


def _pem(private: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
