"""The shipped servers that reach out, as a person calls them: their own profiles, and --allow."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tomllib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from bulkhead.egress.allowlist import TLS_PORTS
from bulkhead.engines.hardening import WORK
from bulkhead.resources import folder
from tests.clients.box import CA, Place
from tests.clients.servers.content import content, digest
from tests.clients.servers.git import SIZE, WORDS, git, repository
from tests.clients.servers.web import Web
from tests.conftest import BULKHEAD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import docker
    import trustme

    from tests.clients.box import Boxes

PAGE = "<html><head><title>A page</title></head><body><article><h1>Words</h1><p>{}</p></article></body></html>"
TEXT = "These are the words of the page, and they are enough to be its text. " * 5
TLS = [port for port in sorted(TLS_PORTS) if port > 1024]
OWNER = 65532


@pytest.fixture(scope="module")
def own(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web server that this machine's own name leads to, which is what a runner of its own can resolve."""
    name = socket.gethostname()
    address = socket.gethostbyname(name)
    place = Place(name, address, (_free(address, [0]), _free(address, TLS)))
    with Web(place, authority, tmp_path_factory.mktemp("own")).serving() as web:
        (web.root / "page.html").write_text(PAGE.format(TEXT))
        repository(web.root / "git" / "project.git")
        yield web


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BULKHEAD, "call", *arguments], capture_output=True, text=True, timeout=60, check=False)


class TestFetch:
    def test_a_page(self, own: Web) -> None:
        port = own.place.ports[0]
        own.arrived.clear()
        url = f"http://{own.place.name}:{port}/page.html"
        done = call("fetch", "fetch", f'{{"url": "{url}"}}', "--allow", f"{own.place.name}:{port}:private")
        assert done.returncode == 0, done.stderr
        assert TEXT.strip() in done.stdout
        host = f"{own.place.name}:{port}"
        assert [(it.path, it.host) for it in own.arrived] == [("/robots.txt", host), ("/page.html", host)]

    def test_without_allow_nothing_arrives(self, own: Web) -> None:
        own.arrived.clear()
        done = call("fetch", "fetch", f'{{"url": "http://{own.place.name}:{own.place.ports[0]}/page.html"}}')
        assert done.returncode == 3
        assert "the profile grants no host, so its sandbox has no network" in done.stderr
        assert own.arrived == []

    def test_https_with_a_ca_that_its_profile_names(self, own: Web, tmp_path: Path, shared: dict[str, Path]) -> None:
        profile = tmp_path / "fetch-with-ca.toml"
        shipped = (folder("profiles") / "servers" / "fetch.toml").read_text()
        added = f'[[mounts]]\nsource = "{shared["ca"]}"\ntarget = "{CA.rpartition("/")[0]}"\n'
        env = f'env = {{ SSL_CERT_FILE = "{CA}" }}\n'
        profile.write_text(f"{shipped.replace('[limits]', env + '[limits]')}\n{added}")
        question = f'{{"url": "https://{own.place.name}:{own.place.ports[1]}/page.html"}}'
        done = call("--profile", str(profile), "fetch", question, *_allow(own))
        assert done.returncode == 0, done.stderr
        assert TEXT.strip() in done.stdout


class TestGit:
    def test_its_tools_fetch_what_a_clone_lacks(self, own: Web, tmp_path: Path, shared: dict[str, Path]) -> None:
        """It has no tool that clones; but git itself asks the remote for what is missing, over HTTPS here."""
        work = _partial_clone(own, tmp_path / "work", shared["ca"] / "ca.pem")
        own.arrived.clear()
        question = '{"repo_path": "/work", "revision": "HEAD:words"}'
        done = call("git", "git_show", question, "--mount", f"{work}:/work:rw", *_allow(own))
        assert done.returncode == 0, done.stderr
        assert WORDS in done.stdout
        assert [it.path for it in own.arrived if it.method == "POST"] == ["/git/project.git/git-upload-pack"]

    def test_a_clone_in_its_image(self, boxes: Boxes, web: Web, commit: str, daemon: docker.DockerClient) -> None:
        package = tomllib.loads((folder("profiles") / "servers" / "git.toml").read_text())["server"]["package"]
        image = daemon.images.list(filters={"label": f"bulkhead.package={package}"})[0]
        with boxes.box(web.place, image=str(image.id)) as box:
            script = 'git clone -q "$1" /tmp/clone; cd /tmp/clone; git rev-parse HEAD; sha256sum <content'
            head, sha256 = box.run("sh", "-ec", script, "-", web.url("/git/project.git")).splitlines()
        assert (head, sha256.split()[0]) == (commit, digest(content(SIZE)))


def _free(address: str, ports: list[int]) -> int:
    """The first that nobody has; 0 is any."""
    for port in ports:
        with suppress(OSError), socket.create_server((address, port)) as server:
            return int(server.getsockname()[1])
    raise AssertionError(ports)


def _allow(own: Web) -> tuple[str, str]:
    return "--allow", f"{own.place.name}:{own.place.ports[1]}:private"


def _partial_clone(own: Web, work: Path, ca: Path) -> Path:
    """Without the files' contents, which are at the remote alone; a sandbox runs as its owner."""
    here = f"file://{own.root}/git/project.git"
    git(work.parent, "clone", "-q", "--no-checkout", "--filter=blob:none", here, str(work))
    git(work, "remote", "set-url", "origin", f"https://{own.place.name}:{own.place.ports[1]}/git/project.git")
    shutil.copy(ca, work / "ca.pem")
    git(work, "config", "http.sslCAInfo", f"{WORK}/ca.pem")
    if os.geteuid() == 0:
        for path in (work, *work.rglob("*")):
            os.chown(path, OWNER, OWNER)
    return work
