"""Named pipes in the place of Docker's stdio: what only a container with a shell shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkhead.engines.base import Exit
from bulkhead.engines.docker import DockerEngine
from bulkhead.engines.hardening import Tmpfs
from bulkhead.errors import EngineError, UnenforceableError
from tests.engines.conftest import make_plan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bulkhead.engines.contract import MakePlan

    Run = Callable[[Callable[[DockerEngine, MakePlan], Awaitable[None]]], None]

pytestmark = pytest.mark.engine


@pytest.fixture
def run(endpoint: str, image_with_shell: str, tmp_path: Path) -> Run:
    """Runs an async test with an engine and plans of its own; afterwards no file and no descriptor is left."""

    def runner(test: Callable[[DockerEngine, MakePlan], Awaitable[None]]) -> None:
        async def main() -> None:
            engine = DockerEngine(endpoint, state=tmp_path / "state")
            try:
                with anyio.fail_after(60):
                    await test(engine, make_plan(image_with_shell))
            finally:
                await engine.close()

        before = _pipes()
        anyio.run(main)
        assert _pipes() == before
        assert not list((tmp_path / "state" / "sandboxes").glob("*"))

    return runner


def _pipes() -> list[Path]:
    """The named pipes that this process has open."""
    return [target for link in Path("/proc/self/fd").iterdir() if (target := _target(link)).parent.name == "stdio"]


def _target(link: Path) -> Path:
    try:
        return link.readlink()
    except FileNotFoundError:  # that of this very listing
        return link


async def all_of(stream: anyio.abc.ByteReceiveStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


def test_the_server_is_what_the_plan_says(run: Run) -> None:
    """Nothing of the shell stays: no process, no variable, no byte of its own."""

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        shown = await engine.start(plan("show", "/proc/self/environ", env={"PATH": "/x", "A": "b=c"}))
        assert set((await all_of(shown.stdout)).decode().split("\0")) == {
            "", "PATH=/x", "A=b=c", "HOSTNAME=bulkhead", "HOME=/home/bulkhead",
        }  # fmt: skip
        assert await shown.wait() == Exit("exited", 0)
        words = ("a b", "$(x)", "'\"", "")
        shown = await engine.start(plan("show", "/proc/self/cmdline", *words))
        assert (
            await all_of(shown.stdout) == "\0".join(("/behaviour", "show", "/proc/self/cmdline", *words, "")).encode()
        )
        assert await shown.wait() == Exit("exited", 0)

    run(test)


def test_what_it_said_last_on_stderr_is_there_at_its_end(run: Run) -> None:
    """It comes by another way than the end, and later."""

    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        for _ in range(8):
            sandbox = await engine.start(plan("stderr", "60000"))
            assert await sandbox.wait() == Exit("exited", 0)
            assert len(await all_of(sandbox.stderr)) == 60_000

    run(test)


def test_a_command_that_is_not_there_ends_with_127(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        sandbox = await engine.start(plan(command=("/no/such",)))
        assert await all_of(sandbox.stdout) == b""
        assert b"/no/such: not found" in await all_of(sandbox.stderr)
        assert await sandbox.wait() == Exit("exited", 127)

    run(test)


def test_closed_output_of_a_living_server_is_its_end(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        sandbox = await engine.start(plan("closed"))
        assert await all_of(sandbox.stdout) == b""
        with anyio.move_on_after(0.3) as waiting:
            await sandbox.wait()
        assert waiting.cancelled_caught
        await sandbox.stop(0)

    run(test)


def test_input_that_nobody_reads_waits_until_the_end(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        sandbox = await engine.start(plan("stubborn"))
        broken = anyio.Event()

        async def send() -> None:
            with pytest.raises((anyio.BrokenResourceError, anyio.ClosedResourceError)):
                await sandbox.stdin.send(bytes(2**20))
            broken.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            with anyio.move_on_after(0.5):
                await broken.wait()
            assert not broken.is_set()
            await sandbox.stop(0)
        assert broken.is_set()

    run(test)


SECRETS = (Tmpfs("/tmp", 2**20, 64), Tmpfs("/run/secrets", 2**20, 64, mode=0o700))  # noqa: S108


@pytest.mark.parametrize("value", [bytes(range(1, 256)), b"-n\n\n", b"%s\\n'\"$(x)`x`", b"x" * 60_000])
def test_secrets_arrive_byte_for_byte(run: Run, value: bytes) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        shown = await engine.start(plan("show", "/proc/self/environ", variables={"TOKEN": value}))
        assert b"TOKEN=" + value in (await all_of(shown.stdout)).split(b"\0")
        assert await shown.wait() == Exit("exited", 0)
        shown = await engine.start(plan("show", "/run/secrets/a.b", files={"a.b": value}, tmpfs=SECRETS))
        assert await all_of(shown.stdout) == value
        assert await shown.wait() == Exit("exited", 0)

    run(test)


def test_a_file_is_written_anew_and_removed(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        sandbox = await engine.start(plan("echo", files={"TOKEN": b"first"}, tmpfs=SECRETS))
        await sandbox.write_secret("TOKEN", bytes(range(256)) * 100)
        await sandbox.write_secret("TOKEN", None)
        await sandbox.write_secret("TOKEN", None)
        with pytest.raises(EngineError, match="the secret none/TOKEN could not be written"):
            await sandbox.write_secret("none/TOKEN", b"x")
        await sandbox.stdin.send(b"still")
        assert await sandbox.stdout.receive() == b"still"
        await sandbox.stop(0)

    run(test)


def test_more_than_a_pipe_holds_is_refused(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        with pytest.raises(UnenforceableError, match="too large"):
            await engine.start(plan("echo", files={str(number): b"\1" * 64_000 for number in range(5)}, tmpfs=SECRETS))

    run(test)


def test_a_start_that_fails_closes_its_pipes(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        with pytest.raises(EngineError):
            await engine.start(plan("echo", working_dir="nosuch"))

    run(test)


def test_a_discarded_start_closes_its_pipes(run: Run) -> None:
    async def test(engine: DockerEngine, plan: MakePlan) -> None:
        begun = await anyio.to_thread.run_sync(engine.begin, plan("echo"))
        await anyio.to_thread.run_sync(engine.discard, begun)

    run(test)
