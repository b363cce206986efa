"""What a sandbox holds in the place of a secret, of the same shape, so that a program which looks at it is content.

Rules: as long as the secret; an issuer's own prefix stays; every other letter or digit becomes a random one of its
kind, and what stands between them stays. So nothing of a secret is in its placeholder but its length and its shape.
PURE, but for chance.
"""

from __future__ import annotations

import re
import secrets
import string

from bulkhead.errors import SecretError

# Shorter ones would be found by chance, and could be guessed from the shape.
SHORTEST = 12
_PREFIX = re.compile(
    rb"(?:gh[pousr]_|github_pat_|gl(?:pat|dt|rt|cbt)-|[sr]k-(?:ant-|proj-|live_|test_)?|[sr]k_(?:live_|test_)?"
    rb"|xox[abeoprs]-|xapp-|A[KSBC][IC]A|AIza|ya29\.|npm_|pypi-|hf_|dop_v1_|shpat_|SG\.|eyJ)"
)
_KINDS = (string.ascii_lowercase.encode(), string.ascii_uppercase.encode(), string.digits.encode())
_BETWEEN = b"-_.:/+=~"


def placeholder_for(name: str, value: bytes) -> bytes:
    """The placeholder of the secret that is called name. Raises SecretError for a value that cannot have one."""
    if len(value) < SHORTEST or not value.isascii() or not value.decode("ascii").isprintable() or b" " in value:
        raise SecretError(
            f"the secret {name} cannot be injected",
            why=f"it is shorter than {SHORTEST} characters, or has a space or a character that no header may hold",
            hint='let the server read it: use = "file"',
        )
    while True:
        prefix = match[0] if (match := _PREFIX.match(value)) else b""
        made = prefix + bytes(_like(byte) for byte in value[len(prefix) :])
        if made != value:
            return made


def _like(byte: int) -> int:
    if byte in _BETWEEN:
        return byte
    return secrets.choice(next((kind for kind in _KINDS if byte in kind), _KINDS[0]))
