"""Programs without the image's libc, which ask the resolver themselves: rclone is Go, uv is Rust with musl."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clients.box import MEGABYTE, SHARED
from tests.clients.servers.content import content, digest
from tests.clients.servers.packages import NAME
from tests.clients.servers.ssh import USER

if TYPE_CHECKING:
    from tests.clients.box import Box
    from tests.clients.servers.ssh import Shell
    from tests.clients.servers.web import Web

RCLONE, UV = f"{SHARED}/python/bin/rclone", f"{SHARED}/python/bin/uv"


@pytest.mark.parametrize("program", [RCLONE, UV])
def test_they_have_no_libc_of_the_images(box: Box, program: str) -> None:
    """No interpreter is named in it, so the kernel loads nothing else."""
    assert (
        box.python("import sys; print(b'/lib64/ld-linux' in open(sys.argv[1], 'rb').read(4096))", program) == "False\n"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_go_over_http(box: Box, web: Web, scheme: str) -> None:
    size = 3 * MEGABYTE
    said = box.run("sh", "-c", '"$1" copyurl --stdout "$2" | sha256sum', "-", RCLONE, web.url(f"/bytes/{size}", scheme))
    assert said.split()[0] == digest(content(size))


def test_go_over_ssh(box: Box, shell: Shell) -> None:
    (shell.root / "for-go").write_bytes(content(MEGABYTE))
    at = {"HOST": shell.place.name, "PORT": str(shell.place.ports[0]), "USER": USER}
    at |= {"KEY_PEM": shell.key.replace("\n", "\\n"), "KNOWN_HOSTS_FILE": "none"}
    env = {f"RCLONE_SFTP_{name}": value for name, value in at.items()}
    box.run(RCLONE, "copyto", f":sftp:{shell.root}/for-go", f":sftp:{shell.root}/from-go", env=env)
    assert (shell.root / "from-go").read_bytes() == content(MEGABYTE)


def test_rust_over_https(box: Box, web: Web) -> None:
    index = f"--index-url={web.url('/simple/')}"
    box.run(UV, "pip", "install", "--python=/usr/bin/python3", index, "--target=uv", NAME)
    said = box.run("python3", "-c", "import bulkhead_hello; print(bulkhead_hello.said)", env={"PYTHONPATH": "uv"})
    assert said == "hello from pip\n"
