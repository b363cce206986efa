"""The HTTP/2 server: Node's, for it is one that browsers meet, and speaks HTTP/1.1 with clients that cannot."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme

    from tests.clients.box import Place

_SCRIPT = Path(__file__).with_suffix(".js")


def content_sha256(size: int) -> str:
    """That of what /bytes/SIZE answers."""
    pattern = digest(b"clients", b"", "sha256")
    return sha256((pattern * (size // len(pattern) + 1))[:size]).hexdigest()


@contextmanager
def serving(place: Place, authority: trustme.CA, folder: Path) -> Iterator[None]:
    """/bytes/SIZE answers so many; any other path with the protocol's version and the sha256 of what arrived."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    issued = authority.issue_cert(place.name)
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    command = ["node", str(_SCRIPT), place.address, str(place.ports[0]), str(certificate), str(key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield
        assert server.stdin is not None
        server.stdin.close()
