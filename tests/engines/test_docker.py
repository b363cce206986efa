"""What only a real container shows: the translation takes effect, usage is right, and nothing of an image does."""

from __future__ import annotations

import gc
import io
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import docker
import pytest

from bulkhead.engines import docker_layers
from bulkhead.engines.base import Exit
from bulkhead.engines.docker import DockerEngine
from bulkhead.engines.docker_usage import Meter
from bulkhead.engines.hardening import TRUSTED, Bind, Tmpfs
from bulkhead.errors import EngineError, UnenforceableError
from tests.engines.conftest import UID, make_plan, root_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from bulkhead.engines.base import ImageInfo, Sandbox, Usage
    from bulkhead.engines.contract import MakePlan

    Run = Callable[[Callable[[DockerEngine, MakePlan], Awaitable[None]]], None]

pytestmark = pytest.mark.engine


@pytest.fixture
def run(endpoint: str, image: str, tmp_path: Path) -> Run:
    """Runs an async test with an engine and plans of its own; afterwards nothing is left."""

    def runner(test: Callable[[DockerEngine, MakePlan], Awaitable[None]]) -> None:
        async def main() -> None:
            engine = DockerEngine(endpoint, state=tmp_path / "state")
            try:
                with anyio.fail_after(60):
                    await test(engine, make_plan(image))
            finally:
                await engine.close()

        anyio.run(main)
        assert not list((tmp_path / "state" / "sandboxes").glob("*"))

    return runner


@pytest.fixture
def client(endpoint: str) -> Iterator[docker.APIClient]:
    client = docker.APIClient(endpoint)
    yield client
    client.close()


@asynccontextmanager
async def started(engine: DockerEngine, plan: Any) -> AsyncIterator[Sandbox]:
    sandbox = await engine.start(plan)
    try:
        yield sandbox
    finally:
        await sandbox.stop(0)


async def output(sandbox: Sandbox) -> str:
    text = b"".join([chunk async for chunk in sandbox.stdout])
    assert await sandbox.wait() == Exit("exited", 0), text
    return text.decode()


async def line(sandbox: Sandbox) -> str:
    text = b""
    while not text.endswith(b"\n"):
        text += await sandbox.stdout.receive()
    return text.decode().strip()


async def usage_until(sandbox: Sandbox, holds: Callable[[Usage], bool]) -> Usage:
    with anyio.fail_after(20):
        while not holds(usage := await sandbox.usage()):  # noqa: ASYNC110 - the kernel tells nobody
            await anyio.sleep(0.05)
    return usage


def test_environment_is_the_plan_s(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        sandbox = await engine.start(plan("show", "/proc/self/environ", env={"PATH": "/x", "A": "b=c"}))
        variables = dict(text.split("=", 1) for text in (await output(sandbox)).rstrip("\0").split("\0"))
        assert variables == {"PATH": "/x", "A": "b=c", "HOSTNAME": "bulkhead", "HOME": "/home/bulkhead"}

    run(test)


def test_no_name_of_the_host(run: Run) -> None:
    """An empty resolv.conf means 127.0.0.1 to a resolver, where a gate may be."""

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        assert (await output(await engine.start(plan("show", "/etc/resolv.conf")))) == ""
        hosts = await output(await engine.start(plan("show", "/etc/hosts")))
        assert hosts == "127.0.0.1 localhost bulkhead\n::1 localhost ip6-localhost ip6-loopback\n"

    run(test)


def test_its_user_has_an_account(run: Run) -> None:
    """For which OpenSSH, psql and others ask. A build's would be in the way of what it makes."""

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        accounts = await output(await engine.start(plan("show", "/etc/passwd")))
        assert f"bulkhead:x:{UID}:{UID}::/home/bulkhead:/bin/sh\n" in accounts
        assert len(accounts.splitlines()) == 3
        async with started(engine, plan("show", "/etc/passwd", read_only=False)) as build:
            assert b"".join([chunk async for chunk in build.stdout]) == b""

    run(test)


@pytest.mark.parametrize("handed", [{"variables": {"TOKEN": b"value"}}, {"files": {"TOKEN": b"value"}}])
def test_an_image_without_a_shell_is_handed_no_secret(run: Run, handed: dict[str, Any]) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        with pytest.raises(UnenforceableError, match="the secret TOKEN cannot be handed") as caught:
            await engine.start(plan("echo", **handed))
        assert "may have no shell" in caught.value.why
        assert await engine.list() == []

    run(test)


def test_certificates_stand_in_the_place_of_the_images(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        shown = await engine.start(plan("show", TRUSTED, trusted=b"certificates"))
        assert await output(shown) == "certificates"

    run(test)


def test_the_files_of_a_dead_runner_are_reaped(run: Run, tmp_path: Path) -> None:
    left = tmp_path / "state" / "sandboxes" / "0123456789ab.time-1"

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        async with started(engine, plan("echo")):
            left.mkdir()
            (tmp_path / "state" / "runners" / "0123456789ab").touch()
            await engine.reap()
            assert not left.exists()
            assert len(list(left.parent.iterdir())) == 1

    run(test)


def test_status_of_the_process(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        text = await output(await engine.start(plan("show", "/proc/self/status")))
        status = dict(row.split(":\t", 1) for row in text.splitlines())
        assert status["Uid"].split() == status["Gid"].split() == [str(UID)] * 4
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        limits = await output(await engine.start(plan("show", "/proc/self/limits")))
        rows = {row[:26].strip(): row[26:].split()[:2] for row in limits.splitlines()}
        assert (rows["Max core file size"], rows["Max open files"]) == (["0", "0"], ["64", "64"])

    run(test)


def test_mounts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "read").mkdir()
    (tmp_path / "write").mkdir()
    (tmp_path / "write").chmod(0o777)
    binds = (Bind(str(tmp_path / "read"), "/read", write=False), Bind(str(tmp_path / "write"), "/write", write=True))

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        text = await output(await engine.start(plan("show", "/proc/self/mountinfo", binds=binds)))
        rows = {row.split()[4]: row.split() for row in text.splitlines()}
        options = {target: set(row[5].split(",")) for target, row in rows.items()}
        assert "ro" in options["/"]
        for target, size, inodes in (("/tmp", "1024k", "64"), ("/dev/shm", "64k", "32")):  # noqa: S108
            assert {"rw", "nosuid", "nodev", "noexec"} <= options[target]
            assert {f"size={size}", f"nr_inodes={inodes}"} <= set(rows[target][-1].split(","))
        assert ("ro" in options["/read"], "rw" in options["/write"]) == (True, True)
        assert not any(word.startswith("shared:") for target in ("/read", "/write") for word in rows[target][6:8])
        codes = [await _code(engine, plan, path, binds) for path in ("/read/x", "/write/x", "/x")]
        assert codes == [30, 0, 30]  # EROFS

    run(test)
    assert (tmp_path / "write" / "x").stat().st_uid == UID


async def _code(engine: DockerEngine, plan: MakePlan, path: str, binds: tuple[Bind, ...]) -> int | None:
    return (await (await engine.start(plan("create", path, binds=binds))).wait()).code


def test_cgroup_namespace_is_private(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        text = await output(await engine.start(plan("show", "/proc/self/cgroup")))
        assert {row.split(":", 2)[2] for row in text.splitlines()} == {"/"}

    run(test)


def test_a_child_killed_for_memory_is_counted(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        async with started(engine, plan("hog-in-child")) as sandbox:
            assert (await sandbox.usage()).oom_kills == 0
            assert await line(sandbox) == "child gone"
            usage = await sandbox.usage()
            assert usage.oom_kills == 1
            assert 2**24 < usage.memory_peak_bytes <= 2**25
            await sandbox.stop(0, limit="oom")
            assert (await sandbox.wait()).limit == "oom"

    run(test)


def test_refused_forks_are_counted(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        async with started(engine, plan("forks", pids=8)) as sandbox:
            assert await line(sandbox) == "6 EAGAIN"  # beside the init and the server itself
            usage = await sandbox.usage()
            assert (usage.pids, usage.pids_refused) == (8, 1)

    run(test)


@pytest.mark.parametrize("target", ["/tmp", "/dev/shm"])  # noqa: S108
def test_a_full_file_system_is_named(target: str, run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        async with started(engine, plan("fill", f"{target}/x")) as sandbox:
            assert await line(sandbox) == "full"
            assert (await sandbox.usage()).full == (target,)

    run(test)


def test_inodes_run_out_too(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        tmpfs = (Tmpfs("/tmp", 2**20, 2),)  # noqa: S108 - the folder itself takes one
        async with started(engine, plan("fill", "/tmp/x", tmpfs=tmpfs, memory=2**25)) as sandbox:  # noqa: S108
            assert await line(sandbox) == "full"
            assert (await sandbox.usage()).full == ("/tmp",)  # noqa: S108

    run(test)


def test_processor_time_is_limited_and_told(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        async with started(engine, plan("spin", cpus=0.1)) as sandbox:
            usage = await usage_until(sandbox, lambda usage: usage.throttled_seconds > 0.5)
            assert 0 < usage.cpu_seconds < usage.throttled_seconds

    run(test)


def test_usage_is_cheap_on_this_machine(run: Run) -> None:
    """Read at every call: from files, without the daemon, whose answer alone takes a millisecond."""

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        async with started(engine, plan("echo")) as sandbox:
            times = []
            for _ in range(100):
                begun = time.perf_counter()
                await sandbox.usage()
                times.append(time.perf_counter() - begun)
            assert min(times) < 0.0005

    run(test)


def test_usage_of_a_daemon_elsewhere(run: Run) -> None:
    """Without a pid of this machine it is the daemon that is asked."""

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        async with started(engine, plan("echo")) as sandbox:
            await sandbox.stdin.send(b"x")
            await sandbox.stdout.receive()  # until the program runs, threads of the runtime are counted too
            meter = Meter(engine._client, f"bulkhead-{sandbox.id}", 0, ())
            usage = await meter.read()
            assert usage.cpu_seconds > 0
            assert usage.memory_bytes > 0
            assert usage.pids == 2

    run(test)


def test_closed_streams_are_no_end(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        async with started(engine, plan("closed")) as sandbox:
            with anyio.move_on_after(0.3) as waiting:
                await sandbox.wait()
            assert waiting.cancelled_caught
            await sandbox.stop(1)
            with pytest.raises(anyio.EndOfStream):
                await sandbox.stdout.receive()

    run(test)


@pytest.mark.parametrize(("behaviour", "ended"), [("abort", Exit("killed", 134)), ("no-such", Exit("exited", 7))])
def test_ends_by_itself(behaviour: str, ended: Exit, run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        assert await (await engine.start(plan(behaviour))).wait() == ended

    run(test)


def test_a_container_removed_by_somebody_else_is_lost(run: Run, client: docker.APIClient) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        sandbox = await engine.start(plan("echo"))
        client.remove_container(f"bulkhead-{sandbox.id}", force=True)
        assert await sandbox.wait() == Exit("lost")
        await sandbox.stop(1)

    run(test)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ENV LD_PRELOAD=/x.so", "Env LD_PRELOAD"),
        ("VOLUME /data", "Volumes"),
        ("EXPOSE 80", "ExposedPorts"),
        ("ONBUILD RUN x", "OnBuild"),
        ('LABEL com.example="x"', "Labels com.example"),
    ],
)
def test_an_image_that_brings_settings_is_refused(
    change: str, named: str, run: Run, client: docker.APIClient, program: Path
) -> None:
    digest = _import(client, program, change)

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        with pytest.raises(UnenforceableError) as caught:
            await engine.start(plan("exit", "0", image=digest))
        assert caught.value.why == f"its configuration has {named}"
        assert await engine.list() == []

    try:
        run(test)
    finally:
        client.remove_image(digest)


SETTINGS = """
HEALTHCHECK CMD /bin/true
STOPSIGNAL SIGUSR1
USER 0
WORKDIR /etc
ENTRYPOINT ["/x"]
CMD ["y"]
"""


def test_replaced_settings_of_an_image_take_no_effect(run: Run, client: Any, image: str) -> None:
    list(client.build(fileobj=io.BytesIO(f"FROM {image}{SETTINGS}".encode()), tag="engine-tests-settings", rm=True))
    digest = client.inspect_image("engine-tests-settings")["Id"]

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        async with started(engine, plan("echo", image=digest)) as sandbox:
            container = client.inspect_container(f"bulkhead-{sandbox.id}")
            config = container["Config"]
            assert (config["Healthcheck"], config["StopSignal"]) == ({"Test": ["NONE"]}, "SIGTERM")
            assert (config["WorkingDir"], config["User"]) == ("/", f"{UID}:{UID}")
            assert ((config["Entrypoint"] or []), config["Cmd"]) == ([], ["/behaviour", "echo"])
            assert container["HostConfig"]["LogConfig"]["Type"] == "none"
            await sandbox.stdin.send(b"x")
            assert await sandbox.stdout.receive() == b"x"

    try:
        run(test)
    finally:
        client.remove_image("engine-tests-settings")


def _import(client: docker.APIClient, program: Path, *changes: str) -> str:
    answer: str = client.import_image_from_data(b"".join(_chunks(program)), changes=list(changes))
    return answer.split('"')[3]


def _chunks(program: Path) -> list[bytes]:
    async def main() -> list[bytes]:
        return [chunk async for chunk in root_of(program)]

    return anyio.run(main)


async def _build(engine: DockerEngine, plan: MakePlan) -> ImageInfo:
    build = plan("create", "/made", read_only=False, uid=0, gid=0, env={"PATH": "/x", "SECRET": "y"})
    async with started(engine, build) as sandbox:
        assert await sandbox.wait() == Exit("exited", 0)
        return await engine.images.commit(sandbox, "bulkhead/engine-tests-build", {"bulkhead.test": "x"})


def _check_build(client: Any, image: str, built: ImageInfo) -> None:
    inspected = client.inspect_image(built.digest)
    config = inspected["Config"]
    assert {name for name in config if config[name]} == {"Labels"}
    assert config["Labels"] == {"bulkhead.test": "x", "bulkhead.image": "bulkhead/engine-tests-build"}
    assert inspected["RepoTags"] == ["bulkhead/engine-tests-build:latest"]
    committed = [other for other in client.images(quiet=True, all=True) if other not in (image, built.digest)]
    assert not any(client.inspect_image(other)["Parent"] == image for other in committed)


def test_a_build_shares_the_layers_below_it_and_nothing_else(run: Run, client: Any, image: str) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        built = await _build(engine, plan)
        try:
            _check_build(client, image, built)
            layers = [client.inspect_image(digest)["RootFS"]["Layers"] for digest in (image, built.digest)]
            assert layers[0] == layers[1][:-1]
            assert await output(await engine.start(plan("show", "/made", image=built.digest))) == ""
        finally:
            await engine.images.remove(built.digest)

    run(test)


def test_a_build_is_flat_where_layers_cannot_be_shared(
    run: Run, client: Any, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise EngineError("the container engine did not take the image")

    monkeypatch.setattr(docker_layers, "commit_layers", refuse)

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        built = await _build(engine, plan)
        try:
            _check_build(client, image, built)
            assert len(client.inspect_image(built.digest)["RootFS"]["Layers"]) == 1
            assert await output(await engine.start(plan("show", "/made", image=built.digest))) == ""
        finally:
            await engine.images.remove(built.digest)

    run(test)


def test_what_the_daemon_refuses_is_told_and_leaves_nothing(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        with pytest.raises(EngineError) as caught:
            await engine.start(plan("echo", binds=(Bind("/no/such/bind", "/x", write=False),)))
        assert "/no/such/bind" in caught.value.why
        with pytest.raises(EngineError) as caught:
            await engine.start(plan("echo", seccomp="no json"))
        assert "seccomp" in caught.value.why
        assert await engine.list() == []

    run(test)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK leaves its socket open
def test_no_daemon_is_an_error_with_a_hint(tmp_path: Path) -> None:
    engine = DockerEngine(f"unix://{tmp_path}/none.sock", state=tmp_path)
    with pytest.raises(EngineError, match="does not answer") as caught:
        anyio.run(engine.probe)
    assert caught.value.hint
    anyio.run(engine.close)
    del caught
    gc.collect()
