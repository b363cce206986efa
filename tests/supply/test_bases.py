"""The images of our recipes, from the inside: the layout that the runner counts on, and nothing of the host."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from pip._vendor import certifi

from bulkhead.resources import folder
from bulkhead.spec import Server
from bulkhead.supply import apt, host, recipes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.supply.conftest import Builder, Inside

CACHES = re.compile(
    r"var/(cache|lib/apt/lists|log|tmp|backups)/|tmp/|root/\.(cache|npm|config)|usr/share/(doc|man|locale)/"
)
SECRETS = re.compile(
    r"etc/ssh/|.*/\.ssh(/|$)|.*_history$|(root|home/.*|etc|usr/local/etc)/\.?(npmrc|gitconfig|pip\.conf)$|mnt/"
    r"|etc/apt/sources\.list(\.d/.+)?$"
)
NAMES = ("bulkhead/base", "bulkhead/python", "bulkhead/node")


def _image(name: str) -> Server:
    return Server(image=name, command=("-",))


def _own_certificates(inside: Inside) -> list[bytes]:
    """A line of each certificate that this host alone trusts: what a build must not leave behind."""
    bundle = host.ca_bundle()
    assert bundle is not None
    public = b"".join(content for _, content in inside.files("usr/share/ca-certificates/mozilla/"))
    public += Path(certifi.where()).read_bytes()
    signatures = re.findall(rb"(\S{64})\n\S+\n-----END CERTIFICATE", bundle.read_bytes())
    return [line for line in signatures if line not in public]


def _mirrors() -> list[bytes]:
    return [urlsplit(line.split()[1]).netloc.encode() for line in apt.sources()]


@pytest.mark.parametrize("name", NAMES)
def test_layout(builder: Builder, inside: Callable[[str], Inside], name: str) -> None:
    root = inside(builder.image(_image(name)).digest)
    members = {member.name.rstrip("/"): member for member in root.members()}
    for path, owner in (("home/bulkhead", 65532), ("work", 65532), ("opt/server", 65532), ("run/secrets", 0)):
        assert members[path].isdir()
        assert members[path].uid == owner
    assert b"bulkhead:x:65532:65532:" in root.read("etc/passwd")
    assert not [member.name for member in members.values() if member.mode & 0o6000 and not member.issym()]
    assert not [path for path in members if CACHES.match(path) and members[path].isfile()]
    assert not [path for path in members if SECRETS.match(path)]
    assert [members[path].size for path in ("etc/machine-id", "etc/resolv.conf", "etc/hostname")] == [0, 0, 0]
    assert {"usr/bin/git", "etc/ssl/certs/ca-certificates.crt"} <= members.keys()


@pytest.mark.parametrize("name", [*NAMES, "bulkhead/gate"])
def test_nothing_of_the_host_is_left(builder: Builder, inside: Callable[[str], Inside], name: str) -> None:
    root = inside(builder.image(_image(name)).digest)
    if certificates := _own_certificates(root):
        assert not root.files_with(*certificates)
    # Programs and their documentation may name a public mirror; what apt, pip, npm and git read may not.
    configured = [path for path in root.files_with(*_mirrors()) if not path.startswith("usr/")]
    assert not configured


def test_a_gate_has_python_and_no_system_around_it(builder: Builder, inside: Callable[[str], Inside]) -> None:
    members = inside(builder.image(_image("bulkhead/gate")).digest).members()
    names = {member.name for member in members}
    assert "usr/bin/python3" in names
    assert not names & {"bin/sh", "usr/bin/sh", "usr/bin/apt-get", "usr/bin/perl"}
    assert not [name for name in names if SECRETS.match(name) or CACHES.match(name)]
    assert not [member.name for member in members if member.mode & 0o6000]


def test_found_without_a_container(builder: Builder) -> None:
    assert builder.image(_image("bulkhead/node")).name == "bulkhead/node:latest"
    assert not builder.plans
    assert not builder.lines


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe of its own on top of bulkhead/base, for a package that Debian has and the base has not."""
    shutil.copytree(folder("images"), tmp_path / "images")
    home = tmp_path / "images" / "trial"
    home.mkdir()
    (home / "recipe.toml").write_text('description = "x"\nparent = "bulkhead/base"\npackages = ["tree"]\n')
    (home / "setup.sh").write_text(
        "mkdir -p /root/.ssh\ntouch /root/.ssh/id_ed25519 /root/.bash_history\nchmod u+s /usr/bin/tree || true\n"
    )
    monkeypatch.setattr(recipes, "folder", lambda name: tmp_path / name)
    recipes.recipe.cache_clear()
    recipes.names.cache_clear()
    return "bulkhead/trial"


def test_a_build_uses_what_the_host_passes_on_and_keeps_nothing(
    builder: Builder, inside: Callable[[str], Inside], trial: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = host.ca_bundle()
    assert bundle is not None
    marked = tmp_path / "marked.crt"
    marked.write_bytes(b"# marked-certificates-3f81\n" + bundle.read_bytes())
    configuration = tmp_path / "apt.conf"
    configuration.write_text('Acquire::http::Proxy::marked-mirror-3f81.invalid "DIRECT";\n')
    monkeypatch.setenv("SSL_CERT_FILE", str(marked))
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    monkeypatch.setenv("no_proxy", "marked-proxy-3f81.invalid")
    try:
        image = builder.image(_image(trial))
        (plan,) = builder.steps
        root = inside(image.digest)
        assert "marked-proxy-3f81" in plan.env["no_proxy"]
        assert "usr/bin/tree" in {member.name for member in root.members()}
        assert not root.files_with(b"-3f81")
        members = root.members()
        assert not [member.name for member in members if SECRETS.match(member.name)]
        assert not [member.name for member in members if member.mode & 0o6000 and not member.issym()]
        builder.image(_image(trial))
        assert not builder.plans
        (tmp_path / "images" / "trial" / "setup.sh").write_text("true\n")
        recipes.recipe.cache_clear()
        assert builder.image(_image(trial)) != image
        assert len(builder.steps) == 1  # a changed recipe is built again
        builder.remove(image.digest)
    finally:
        builder.remove(f"{trial}:latest")
        recipes.recipe.cache_clear()
        recipes.names.cache_clear()
