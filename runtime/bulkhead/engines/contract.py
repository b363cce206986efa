"""What every engine must pass: one async function a promise, for whoever writes another engine.

A check is given a Subject and fails with AssertionError. It starts servers by what they do; the Subject's plan() knows
how its engine comes by a program that does it:
  echo        copies stdin to stdout, and exits with 0 at the end of stdin
  exit N      exits with N
  stubborn    writes "ready" and a newline, then sleeps, whatever signal or end of file comes
  stderr N    writes N bytes to stderr, then "done" and a newline to stdout, and exits with 0
  stdout N    writes N bytes to stdout, and exits with 0
  hog         takes memory until it is killed
"""

# ruff: noqa: S101, PT017 - assertions are what this file is made of, for pytest and for everybody else

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio

from bulkhead.engines.base import Exit
from bulkhead.engines.runners import hold
from bulkhead.errors import EngineError, UnenforceableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import Any

    from anyio.abc import ByteReceiveStream

    from bulkhead.engines.base import Engine, Sandbox, SandboxInfo
    from bulkhead.engines.hardening import Plan

    Check = Callable[["Subject"], Awaitable[None]]

T = TypeVar("T")

SOON = 20.0  # seconds for what takes no time on a machine that has nothing else to do


class MakeEngine(Protocol):
    """An engine of one state folder and runner, on the one daemon that is tested."""

    def __call__(self, *, state: Path, runner: str = "") -> Engine: ...


class MakePlan(Protocol):
    """A Plan with an id of its own for a server that behaves as named above; changes are fields of Plan."""

    def __call__(self, *behaviour: str, **changes: Any) -> Plan: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """The engine under test, how to make others beside it, and two state folders: engine's, and a stranger's."""

    engine: Engine
    make: MakeEngine
    plan: MakePlan
    state: Path
    elsewhere: Path


async def stdio_is_carried(subject: Subject) -> None:
    sandbox = await subject.engine.start(subject.plan("echo"))
    for text in (b"a\n", bytes(range(256)) * 16, b"x" * 2**20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sandbox.stdin.send, text)
            assert await _read(sandbox.stdout, len(text)) == text
    await sandbox.stop(0)


async def end_of_stdin_is_seen(subject: Subject) -> None:
    sandbox = await subject.engine.start(subject.plan("echo"))
    await sandbox.stdin.send(b"last")
    await sandbox.stdin.aclose()
    assert await _read_all(sandbox.stdout) == b"last"
    assert await _soon(sandbox.wait()) == Exit("exited", 0)


async def exit_codes_are_told(subject: Subject) -> None:
    for code in (0, 3, 127):
        sandbox = await subject.engine.start(subject.plan("exit", str(code)))
        assert await _soon(sandbox.wait()) == Exit("exited", code)


async def wait_may_be_repeated(subject: Subject) -> None:
    sandbox = await subject.engine.start(subject.plan("echo"))
    ends: list[Exit] = []

    async def wait() -> None:
        ends.append(await sandbox.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await sandbox.stdin.aclose()
    assert [*ends, await sandbox.wait()] == [Exit("exited", 0)] * 3


async def stop_keeps_to_its_grace(subject: Subject) -> None:
    for grace, behaviour, most in ((5.0, "echo", 3.0), (0.5, "stubborn", 3.5), (0.0, "stubborn", 3.0)):
        sandbox = await subject.engine.start(subject.plan(behaviour))
        if behaviour == "stubborn":
            assert await _read(sandbox.stdout, 6) == b"ready\n"
        begun = time.monotonic()
        await sandbox.stop(grace)
        assert time.monotonic() - begun < most, (grace, behaviour)
        assert (await sandbox.wait()).cause == "killed"
        assert await _listed(subject.engine, sandbox) is None


async def stop_tells_the_limit(subject: Subject) -> None:
    sandbox = await subject.engine.start(subject.plan("stubborn"))
    await sandbox.stop(0, limit="timeout")
    await sandbox.stop(0)
    ended = await sandbox.wait()
    assert (ended.cause, ended.limit) == ("limit", "timeout")


async def stop_after_the_end_changes_nothing(subject: Subject) -> None:
    sandbox = await subject.engine.start(subject.plan("exit", "3"))
    assert await _soon(sandbox.wait()) == Exit("exited", 3)
    await sandbox.stop(1, limit="timeout")
    assert await sandbox.wait() == Exit("exited", 3)


async def memory_is_limited(subject: Subject) -> None:
    sandbox = await subject.engine.start(subject.plan("hog"))
    assert (await _soon(sandbox.wait())).cause == "oom"


async def stderr_blocks_nothing(subject: Subject) -> None:
    """Nobody reads stderr; afterwards its newest part is there."""
    sandbox = await subject.engine.start(subject.plan("stderr", str(2**21)))
    assert await _soon(_read_all(sandbox.stdout)) == b"done\n"
    assert await _soon(sandbox.wait()) == Exit("exited", 0)
    assert 0 < len(await _soon(_read_all(sandbox.stderr))) <= 2**18


async def stdout_waits_for_its_reader(subject: Subject) -> None:
    """Without a reader the server is held up, so that it cannot fill our memory; then all of it arrives."""
    size = 2**24
    sandbox = await subject.engine.start(subject.plan("stdout", str(size)))
    begun = await _read(sandbox.stdout, 1)
    with anyio.move_on_after(0.5) as waiting:
        await sandbox.wait()
    assert waiting.cancelled_caught
    assert len(begun) + len(await _soon(_read_all(sandbox.stdout))) == size
    assert await _soon(sandbox.wait()) == Exit("exited", 0)


async def frozen_means_still(subject: Subject) -> None:
    sandbox = await subject.engine.start(subject.plan("echo"))
    await sandbox.freeze()
    await sandbox.stdin.send(b"x")
    with anyio.move_on_after(0.3) as waiting:
        await sandbox.stdout.receive()
    assert waiting.cancelled_caught
    await sandbox.thaw()
    assert await _soon(_read(sandbox.stdout, 1)) == b"x"
    await sandbox.freeze()
    await _soon(sandbox.stop(0.2))
    assert (await sandbox.wait()).cause == "killed"


async def usage_only_grows(subject: Subject) -> None:
    sandbox = await subject.engine.start(subject.plan("echo"))
    before = await sandbox.usage()
    for _ in range(200):
        await sandbox.stdin.send(b"x" * 1000)
        await _read(sandbox.stdout, 1000)
    after = await sandbox.usage()
    assert after.cpu_seconds > before.cpu_seconds
    assert after.memory_peak_bytes >= before.memory_peak_bytes
    assert after.pids >= 1
    await sandbox.stop(0)
    assert (await sandbox.usage()).cpu_seconds >= after.cpu_seconds


async def own_sandboxes_are_listed_and_removed(subject: Subject) -> None:
    sandbox = await subject.engine.start(subject.plan("echo"))
    other, stranger = subject.make(state=subject.state), subject.make(state=subject.elsewhere)
    listed = await _listed(other, sandbox)
    assert listed is not None
    assert listed.running
    assert await _listed(stranger, sandbox) is None
    await stranger.remove(sandbox.id)
    assert await _listed(other, sandbox) is not None
    await other.remove(sandbox.id)
    assert (await _soon(sandbox.wait())).cause in ("killed", "lost")
    await other.remove(sandbox.id)
    assert await _listed(other, sandbox) is None
    await other.close()
    await stranger.close()


async def only_what_dead_runners_left_is_reaped(subject: Subject) -> None:
    runner = hold(subject.state)
    dying, stranger = subject.make(state=subject.state, runner=runner.id), subject.make(state=subject.elsewhere)
    sandbox = await dying.start(subject.plan("echo"))
    foreign = await stranger.start(subject.plan("echo"))
    assert sandbox.id not in await subject.engine.reap()
    runner.release()
    assert await subject.engine.reap() == [sandbox.id]
    assert (await _soon(sandbox.wait())).cause in ("killed", "lost")
    assert await _listed(stranger, foreign) is not None
    await dying.close()
    await stranger.close()


async def close_leaves_nothing(subject: Subject) -> None:
    engine = subject.make(state=subject.state)
    sandbox = await engine.start(subject.plan("stubborn"))
    await engine.close()
    assert await _listed(subject.engine, sandbox) is None


async def failed_start_leaves_nothing(subject: Subject) -> None:
    before = await subject.engine.list()
    try:
        await subject.engine.start(subject.plan("echo", image="sha256:" + "0" * 64))
    except EngineError:
        assert await subject.engine.list() == before
    else:
        raise AssertionError("an image that does not exist was started")


async def cancelled_start_leaves_nothing(subject: Subject) -> None:
    await subject.engine.probe()
    before = await subject.engine.list()
    with anyio.move_on_after(0.05) as cancelled:
        sandbox = await subject.engine.start(subject.plan("echo"))
        assert not cancelled.cancel_called, "a cancelled start went on"
        await sandbox.stop(0)
        await anyio.sleep_forever()
    assert cancelled.cancelled_caught
    assert await subject.engine.list() == before


async def unknown_runtime_is_refused(subject: Subject) -> None:
    before = await subject.engine.list()
    try:
        await subject.engine.start(subject.plan("echo", runtime="no-such-runtime"))
    except UnenforceableError as error:
        assert "no-such-runtime" in error.what
        assert await subject.engine.list() == before
    else:
        raise AssertionError("a runtime that does not exist was started")


async def images_are_kept(subject: Subject) -> None:
    images = subject.engine.images
    base = images.find(subject.plan("echo").image)
    assert base is not None
    labels = {"bulkhead.test": 'a "quoted" $word \\ and more'}
    loaded = await images.load("bulkhead/contract-copy", images.export(base.digest), labels)
    assert loaded.labels == labels | {"bulkhead.image": "bulkhead/contract-copy"}
    assert images.find("bulkhead/contract-copy") == images.find(loaded.digest) == loaded
    assert loaded in await images.list()
    sandbox = await subject.engine.start(subject.plan("exit", "4", image=loaded.digest))
    assert await _soon(sandbox.wait()) == Exit("exited", 4)
    await images.remove("bulkhead/contract-copy")
    assert images.find("bulkhead/contract-copy") is None
    await images.remove("bulkhead/contract-copy")


async def build_becomes_an_image(subject: Subject) -> None:
    """A build's files outlast its end until stop()."""
    build = await subject.engine.start(subject.plan("exit", "0", read_only=False))
    assert await _soon(build.wait()) == Exit("exited", 0)
    image = await subject.engine.images.commit(build, "bulkhead/contract-build", {})
    await build.stop(0)
    assert await _listed(subject.engine, build) is None
    sandbox = await subject.engine.start(subject.plan("exit", "5", image=image.digest))
    assert await _soon(sandbox.wait()) == Exit("exited", 5)
    await subject.engine.images.remove("bulkhead/contract-build")


CHECKS: tuple[Check, ...] = (
    stdio_is_carried,
    end_of_stdin_is_seen,
    exit_codes_are_told,
    wait_may_be_repeated,
    stop_keeps_to_its_grace,
    stop_tells_the_limit,
    stop_after_the_end_changes_nothing,
    memory_is_limited,
    stderr_blocks_nothing,
    stdout_waits_for_its_reader,
    frozen_means_still,
    usage_only_grows,
    own_sandboxes_are_listed_and_removed,
    only_what_dead_runners_left_is_reaped,
    close_leaves_nothing,
    failed_start_leaves_nothing,
    cancelled_start_leaves_nothing,
    unknown_runtime_is_refused,
    images_are_kept,
    build_becomes_an_image,
)


async def _soon(awaitable: Awaitable[T]) -> T:
    with anyio.fail_after(SOON):
        return await awaitable


async def _read(stream: ByteReceiveStream, size: int) -> bytes:
    with anyio.fail_after(SOON):
        data = b""
        while len(data) < size:
            data += await stream.receive(size - len(data))
        return data


async def _read_all(stream: ByteReceiveStream) -> bytes:
    chunks = [chunk async for chunk in stream]
    return b"".join(chunks)


async def _listed(engine: Engine, sandbox: Sandbox) -> SandboxInfo | None:
    return next((info for info in await engine.list() if info.id == sandbox.id), None)
