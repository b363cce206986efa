"""git, over HTTPS, plain HTTP and SSH: a clone is whole, and a push arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clients.servers.content import content, digest
from tests.clients.servers.git import SIZE, git

if TYPE_CHECKING:
    from tests.clients.box import Box
    from tests.clients.servers.ssh import Shell
    from tests.clients.servers.web import Web

_CLONED = 'rm -rf /tmp/clone; git clone -q "$1" /tmp/clone; cd /tmp/clone; git rev-parse HEAD; sha256sum <content'
_PUSHED = """
    cd /tmp/clone
    git checkout -q -b "$1"
    head -c 3000000 /dev/urandom >more
    git add more
    git -c user.name=tester -c user.email=tester commit -q -m more
    git push -q origin "$1" 2>&1
    git rev-parse HEAD
"""


@pytest.mark.parametrize("scheme", ["http", "https", "ssh"])
def test_git(box: Box, web: Web, shell: Shell, commit: str, scheme: str) -> None:
    path = web.root / "git" / "project.git"
    url = f"{shell.alias}:{path}" if scheme == "ssh" else web.url("/git/project.git", scheme)
    head, sha256 = box.run("sh", "-ec", _CLONED, "-", url).splitlines()
    assert (head, sha256.split()[0]) == (commit, digest(content(SIZE)))
    pushed = box.run("sh", "-ec", _PUSHED, "-", f"from-{scheme}").strip()
    assert git(path, "rev-parse", f"from-{scheme}").strip() == pushed
