"""A PostgreSQL server in a folder of its own, which takes connections with TLS and a password alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme

    from tests.clients.box import Place

USER, PASSWORD = "tester", "not a secret"
# It refuses to run as root.
_NOBODY = 65534 if os.geteuid() == 0 else None
_READY = "database system is ready to accept connections"


@contextmanager
def serving(place: Place, authority: trustme.CA) -> Iterator[None]:
    """Until then; nothing of it is left."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-postgres-"))
    try:
        data = folder / "data"
        (folder / "password").write_text(PASSWORD)
        issued = authority.issue_cert(place.name)
        (folder / "server.crt").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(folder / "server.key"))
        (folder / "server.key").chmod(0o600)
        (folder / "hba").write_text("hostssl all all all scram-sha-256\n")
        _give(folder)
        made: list[str | Path] = [
            programs / "initdb",
            "--no-sync",
            "--auth=scram-sha-256",
            f"--username={USER}",
            f"--pwfile={folder}/password",
            data,
        ]
        subprocess.run(made, check=True, user=_NOBODY, group=_NOBODY, cwd=folder, stdout=subprocess.DEVNULL)
        settings = {
            "listen_addresses": place.address, "port": place.ports[0], "unix_socket_directories": "", "fsync": "off",
            "ssl": "on", "ssl_cert_file": folder / "server.crt", "ssl_key_file": folder / "server.key",
            "hba_file": folder / "hba",
        }  # fmt: skip
        with _running([programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())]):
            yield
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(command: list[str | Path]) -> Iterator[None]:
    with subprocess.Popen(
        command, user=_NOBODY, group=_NOBODY, cwd="/", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stderr is not None
        said: list[str] = []
        while not said or _READY not in said[-1]:
            line = server.stderr.readline()
            assert line, said
            said.append(line)
        yield
        server.send_signal(signal.SIGINT)  # which ends sessions; SIGTERM waits for theirs
        server.stderr.read()


def _give(folder: Path) -> None:
    if _NOBODY is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, _NOBODY, _NOBODY)
