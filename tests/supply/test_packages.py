"""Packages of npm and PyPI, resolved and installed for real: once, by hash, without privilege, and found again."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.errors import BulkheadError, IntegrityError, StartError
from bulkhead.spec import Server
from bulkhead.supply import host
from bulkhead.supply.images import PACKAGE, find, image_for, resolve_newest
from bulkhead.supply.names import lock_path, parse
from tests.supply.conftest import Builder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bulkhead.engines.base import Engine, ImageInfo
    from bulkhead.supply.images import BuiltImage
    from tests.supply.conftest import Inside, Watched

NPM, PYPI = "npm:semver@7.7.2", "pypi:tabulate@0.9.0"
COMMANDS = {NPM: ("/opt/server/bin/semver",), PYPI: ("/opt/server/bin/tabulate",)}
LOCKS = {NPM: "opt/server/package-lock.json", PYPI: "opt/server/requirements.txt"}
OTHER = "npm:ms@2.1.3"  # small, and no test needs it built


def _remove(builder: Builder, *packages: str) -> None:
    async def work(engine: Watched) -> None:
        for image in await engine.images.list():
            if image.labels.get(PACKAGE) in packages:
                await engine.images.remove(image.digest)

    builder.run(work)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """A builder for all tests of the file; what it builds is not there before, nor after."""
    builder = Builder(tmp_path_factory.mktemp("state"))
    _remove(builder, NPM, PYPI, OTHER)
    yield builder
    _remove(builder, NPM, PYPI, OTHER)


@pytest.fixture(scope="module", params=[NPM, PYPI])
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def built(shared: Builder, package: str, tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    """The package, built with marks in all that the host passes on."""
    bundle = host.ca_bundle()
    assert bundle is not None
    marked = tmp_path_factory.mktemp("host") / "marked.crt"
    marked.write_bytes(b"# marked-certificates-3f81\n" + bundle.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(marked))
        patch.setenv("no_proxy", "marked-proxy-3f81.invalid")
        patch.setenv("PIP_TRUSTED_HOST", "marked-mirror-3f81.invalid")
        image = shared.package(package)
    resolving, installing = shared.steps
    for plan in (resolving, installing):
        assert (plan.uid, plan.capabilities) == (65532, ())
        assert "marked-proxy-3f81" in plan.env["no_proxy"]
    return image


def test_the_command_and_the_lock_are_recorded(
    built: BuiltImage, shared: Builder, package: str, inside: Callable[[str], Inside]
) -> None:
    assert built.command == COMMANDS[package]
    root = inside(built.digest)
    lock = lock_path(shared.state, parse(package)).read_bytes()
    assert root.read(LOCKS[package]) == lock
    assert b"sha512-" in lock or b"--hash=sha256:" in lock
    assert b"://" not in lock.replace(b"https://github.com/sponsors", b"").replace(b"https://opencollective", b"")
    members = root.members()
    assert built.command[0].removeprefix("/") in {member.name for member in members} or package == NPM
    assert not [member.name for member in members if member.mode & 0o6000 and not member.issym()]
    assert not root.files_with(b"-3f81")
    assert not [member.name for member in members if member.name.startswith(("tmp/", "home/bulkhead/", "mnt/"))]


def test_the_second_time_nothing_is_started(built: BuiltImage, shared: Builder, package: str) -> None:
    assert shared.package(package) == built
    assert (shared.plans, shared.lines) == ([], [])


def test_another_state_folder_resolves_and_finds_the_same_image(
    built: BuiltImage, builder: Builder, package: str
) -> None:
    assert builder.package(package) == built
    assert [plan.command[1].rpartition("/")[2] for plan in builder.steps] == ["lock.sh"]


def test_a_file_that_is_not_the_locked_one_is_refused(
    built: BuiltImage, shared: Builder, builder: Builder, package: str
) -> None:
    path = lock_path(builder.state, parse(package))
    path.parent.mkdir(parents=True)
    lock = lock_path(shared.state, parse(package)).read_text()
    at = max(lock.index(kind) + len(kind) for kind in ("sha512-", "sha256:") if kind in lock)
    path.write_text(lock[:at] + ("0" if lock[at] != "0" else "1") + lock[at + 1 :])
    with pytest.raises(IntegrityError) as caught:
        builder.package(package)
    assert caught.value.reason == "lock"
    assert {NPM: "EINTEGRITY", PYPI: "DO NOT MATCH THE HASHES"}[package] in caught.value.why

    async def found(engine: Engine) -> ImageInfo | None:
        return find(Server(package=package), engine, state=builder.state)

    assert builder.run(found) is None


@pytest.mark.parametrize(
    ("missing", "why"),
    [("npm:semver@0.0.0-none", "ETARGET"), ("pypi:tabulate@99.0", "No matching distribution found")],
)
def test_a_version_that_does_not_exist(builder: Builder, missing: str, why: str) -> None:
    with pytest.raises(StartError) as caught:
        builder.package(missing)
    assert caught.value.what == f"resolving {missing} failed"
    assert why in caught.value.why
    assert caught.value.reason == "build"
    assert not list(builder.state.glob("locks/**/*.lock"))


def test_an_addon_that_does_not_build(builder: Builder) -> None:
    with pytest.raises(StartError) as caught:
        builder.package("npm:sleep@6.3.0")  # has no prebuilt addon, and there is no compiler
    assert caught.value.what == "installing npm:sleep@6.3.0 failed"
    assert "gyp" in caught.value.why
    assert not builder.run(lambda engine: engine.list())


def test_a_package_without_a_command_of_its_own(builder: Builder, shared: Builder) -> None:
    with pytest.raises(StartError, match="no command of its own"):
        builder.package(OTHER)
    image = builder.image(Server(package=OTHER, command=("node", "-e", "")))
    assert (image.command, builder.plans) == ((), [])


def test_two_builders_at_once_build_once(shared: Builder, builder: Builder) -> None:
    _remove(shared, OTHER)
    lines: list[str] = []

    async def work(engine: Watched) -> None:
        async def build() -> None:
            server = Server(package=OTHER, command=("node",))
            images.append(await image_for(server, engine, state=builder.state, say=lines.append))

        images: list[BuiltImage] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(build)
            tasks.start_soon(build)
        assert len(set(images)) == 1

    builder.run(work)
    assert len(builder.steps) == 2
    assert lines.count("waiting for another build") == 1


KILLED = """
import pathlib, sys, anyio
from bulkhead.engines.docker import DockerEngine
from bulkhead.engines.registry import find_endpoint
from bulkhead.spec import Server
from bulkhead.supply.images import image_for

async def main(state):
    engine = DockerEngine(find_endpoint(), state=state)
    server = Server(package=sys.argv[2], command=("node",))
    await image_for(server, engine, state=state, say=lambda line: print(line, flush=True))

anyio.run(main, pathlib.Path(sys.argv[1]))
"""


@pytest.mark.parametrize("step", ["installing", "saving"])
def test_a_builder_that_is_killed_leaves_no_half_image_and_no_container(
    shared: Builder, builder: Builder, inside: Callable[[str], Inside], step: str
) -> None:
    _remove(shared, OTHER)
    command = [sys.executable, "-c", KILLED, str(builder.state), OTHER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any(line.endswith(f"{step}\n") for line in process.stdout)
        process.kill()
    builder.run(lambda engine: engine.reap())
    assert not builder.run(lambda engine: engine.list())
    image = builder.image(Server(package=OTHER, command=("node",)))
    assert b"2.1.3" in inside(image.digest).read("opt/server/node_modules/ms/package.json")
    assert not list((builder.state / "building").glob("*"))


def test_the_newest_version_is_looked_up_once(builder: Builder) -> None:
    def newest(package: str) -> str:
        return builder.run(
            lambda engine: resolve_newest(package, engine, state=builder.state, say=builder.lines.append)
        )

    npm = newest("npm:semver")
    assert tuple(map(int, npm.split("."))) >= (7, 7, 3)
    assert len(builder.steps) == 1
    assert newest("npm:semver") == npm
    assert builder.plans == []
    pypi = newest("pypi:tabulate")
    assert tuple(map(int, pypi.split("."))) >= (0, 9, 0)
    assert json.loads((builder.state / "versions.json").read_text()) == {"npm:semver": npm, "pypi:tabulate": pypi}


@pytest.mark.parametrize("name", ["npm:no-such-package-3f81", "pypi:no-such-package-3f81", "npm:-g", "pypi:"])
def test_no_newest_version_of_what_does_not_exist(builder: Builder, name: str) -> None:
    with pytest.raises(BulkheadError) as caught:
        builder.run(lambda engine: resolve_newest(name, engine, state=builder.state, say=builder.lines.append))
    assert caught.value.reason == ("build" if "3f81" in name else "usage")
    assert not (builder.state / "versions.json").exists()
