"""The keys of one state folder: a secret that seals each record, and one that signs checkpoints.

Both are made of the 32 random bytes in the file `key`, which is the user's alone. Who has the user's rights can read
it; a checkpoint that was taken elsewhere is what holds against that. The library for signatures takes 30 to 80 ms to
import, so it is imported when the first checkpoint is made.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from bulkhead.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "key"
PUBLIC = "key.pub"
_BLOCK = 64


class Keys:
    """What one secret is good for."""

    def __init__(self, secret: bytes) -> None:
        self._signing = _hmac(secret)(b"bulkhead audit checkpoint")
        self._keyed = _hmac(_hmac(secret)(b"bulkhead audit record"))

    def mac(self, text: str) -> str:
        """HMAC-SHA256 of a record's hash, its first 16 bytes as hexadecimal text."""
        return self._keyed(text.encode("ascii"))[:16].hex()

    def head_mac(self, text: str) -> str:
        """As mac(), and unlike it for every hash: the head cannot be made of a record's own seal."""
        return self._keyed(b"head " + text.encode("ascii"))[:16].hex()

    def sign(self, text: str) -> str:
        """The Ed25519 signature, as hexadecimal text."""
        # Imported late: see above.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        return Ed25519PrivateKey.from_private_bytes(self._signing).sign(text.encode()).hex()

    def public(self) -> bytes:
        """The public key, 32 bytes."""
        # Imported late: see above.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        return Ed25519PrivateKey.from_private_bytes(self._signing).public_key().public_bytes_raw()


def open_keys(folder: Path) -> Keys:
    """The folder's keys, made at the first use; two runners that do so at once have the same. Raises OSError.

    Raises IntegrityError for a file that is no key.
    """
    path = folder / KEY
    with suppress(FileExistsError):
        if not path.exists():
            _write_once(path, os.urandom(32).hex().encode() + b"\n", 0o600)
    return Keys(_secret_in(path))


def read_keys(folder: Path) -> Keys | None:
    """The folder's keys; None where there are none. Raises OSError, and IntegrityError as open_keys()."""
    with suppress(FileNotFoundError):
        return Keys(_secret_in(folder / KEY))
    return None


def publish(folder: Path, keys: Keys) -> None:
    """Writes key.pub, for whoever is to verify without the secret. One that is there stays. Raises OSError."""
    with suppress(FileExistsError):
        if not (folder / PUBLIC).exists():
            _write_once(folder / PUBLIC, pem_of(keys.public()), 0o644)


def key_id(public: bytes) -> str:
    """16 hexadecimal digits that name a public key."""
    return sha256(public).hexdigest()[:16]


def pem_of(public: bytes) -> bytes:
    """The key as `openssl pkey -pubin` reads it."""
    # Imported late: see above.
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    key = Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_from(pem: bytes, where: str) -> bytes:
    """The 32 bytes of a PEM file. Raises IntegrityError, which names where, for what is no Ed25519 public key."""
    # Imported late: see above.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    with suppress(ValueError):
        key = load_pem_public_key(pem)
        if isinstance(key, Ed25519PublicKey):
            return key.public_bytes_raw()
    hint = "give the key.pub that was copied from the state folder"
    raise IntegrityError(
        f"{where} is no public key", why="an Ed25519 key in PEM is expected", hint=hint, reason="audit"
    )


def is_signed(public: bytes, signature: str, text: str) -> bool:
    """Whether signature, as Keys.sign() gives it, is public's."""
    # Imported late: see above.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(signature), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def _hmac(key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA256 with a key of 32 bytes (RFC 2104), prepared: a third of the time of hmac.digest()."""
    padded = key.ljust(_BLOCK, b"\0")
    inner, outer = (sha256(bytes(byte ^ pad for byte in padded)) for pad in (0x36, 0x5C))

    def digest(text: bytes) -> bytes:
        one, two = inner.copy(), outer.copy()
        one.update(text)
        two.update(one.digest())
        return two.digest()

    return digest


def _secret_in(path: Path) -> bytes:
    with suppress(ValueError):
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
        if len(secret) == 32:
            return secret
    why = "it is not 32 bytes in hexadecimal digits, so nothing that it sealed can be told from a forgery"
    hint = "put it back from a backup, or move the audit folder away to begin a new log"
    raise IntegrityError(f"{path} is not the audit log's key", why=why, hint=hint, reason="audit")


def _write_once(path: Path, content: bytes, mode: int) -> None:
    """All of it or nothing, and never over what is there. Raises FileExistsError."""
    new = path.with_name(f"{path.name}.{os.urandom(6).hex()}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(fd, content)
        os.fsync(fd)
        path.hardlink_to(new)
    finally:
        os.close(fd)
        new.unlink()
