"""OpenSSH's clients, which begin with a greeting of either side and then hide all that they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.clients.box import MEGABYTE
from tests.clients.servers.content import content, digest

if TYPE_CHECKING:
    from tests.clients.box import Box
    from tests.clients.servers.ssh import Shell
    from tests.clients.servers.web import Web

SIZE = 16 * MEGABYTE


def test_a_command_and_its_code(box: Box, shell: Shell) -> None:
    assert box.run("ssh", shell.alias, "cat; echo said >&2", stdin="heard") == "heard"
    assert box.fails("ssh", shell.alias, "exit 7") == (7, "")


def test_a_large_transfer_each_way(box: Box, shell: Shell) -> None:
    (shell.root / "large").write_bytes(content(SIZE))
    script = 'ssh "$1" cat large | tee large | ssh "$1" sha256sum; sha256sum <large'
    said = box.run("sh", "-c", script, "-", shell.alias)
    assert {line.split()[0] for line in said.splitlines()} == {digest(content(SIZE))}


def test_scp(box: Box, shell: Shell) -> None:
    """In the protocol of its own: with SFTP's it wants an exit status at the end, which this server has not."""
    (shell.root / "there").write_bytes(content(SIZE))
    box.run("scp", "-q", "-O", f"{shell.alias}:{shell.root}/there", "here")
    box.run("scp", "-q", "-O", "here", f"{shell.alias}:{shell.root}/back")
    assert (shell.root / "back").read_bytes() == content(SIZE)


def test_sftp(box: Box, shell: Shell) -> None:
    (shell.root / "there").write_bytes(content(SIZE))
    box.run("sftp", "-q", "-b", "-", shell.alias, stdin=f"get {shell.root}/there got\nput got {shell.root}/put\n")
    assert (shell.root / "put").read_bytes() == content(SIZE)


def test_a_forwarded_port(box: Box, web: Web, shell: Shell) -> None:
    """The sandbox's own loopback is as it was."""
    forward = f"7777:{web.place.address}:80"
    script = 'ssh -fN -o ExitOnForwardFailure=yes -o ControlMaster=yes -S ~/.ssh/one -L "$1" "$2" >/dev/null 2>&1'
    script += '; curl -sS http://localhost:7777/hello/forwarded; ssh -S ~/.ssh/one -O exit "$2" 2>/dev/null'
    assert box.run("sh", "-c", script, "-", forward, shell.alias) == "hello forwarded"
