"""Joins a spec, an engine and a relay into one session: what `run`, `call`, `tools` and `demo` share."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bulkhead.cli.books import books_of
from bulkhead.errors import BulkheadError, EngineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    import anyio
    from anyio.abc import ByteReceiveStream, ByteSendStream, TaskGroup, TaskStatus

    from bulkhead.cli.early import Early
    from bulkhead.cli.target import Target
    from bulkhead.config.settings import Settings
    from bulkhead.credentials.leases import Leases
    from bulkhead.egress.network import Journal
    from bulkhead.engines.base import Engine, Sandbox
    from bulkhead.engines.runners import Runner
    from bulkhead.judgement import Books
    from bulkhead.keeper import Status
    from bulkhead.launch import Launch
    from bulkhead.spec import ServerSpec
    from bulkhead.telemetry import Telemetry

    Say = Callable[[str], None]
    Resolve = Callable[[Engine, Say], Awaitable[Target]]


@contextmanager
def runner() -> Iterator[Runner]:
    """This process as a runner: its lock, and its watcher. Before any thread or event loop, because it forks."""
    from bulkhead.config.settings import state_dir
    from bulkhead.engines import deadman, runners

    held = runners.hold(state_dir())
    watcher = deadman.watch(held)
    try:
        yield held
    finally:
        watcher.dismiss()
        held.release()


async def serve(
    runner: Runner,
    first: Early,
    resolve: Resolve,
    host: tuple[ByteReceiveStream, ByteSendStream],
    *,
    say: Say,
    stop: anyio.Event | None = None,
) -> BulkheadError | None:
    """One session, until the host closes its side or stop is set. Returns why the server never answered.

    resolve gives the server where first has none.
    """
    from bulkhead.config import state_dir
    from bulkhead.relay import refuse
    from bulkhead.sessions import path_of

    try:
        if first.error is not None:
            raise first.error
        try:
            state = state_dir()
            target = first.target or await resolve(first.engine, say)
            launch = first.launch or await _prepared(first, target, state, say)
            books = books_of(runner, first, target, launch, state)
            recorder = _recorder(launch, first.settings, state)
            try:
                return await _session(first, launch, books, recorder, host, say=say, stop=stop)
            finally:
                path_of(state, runner.id).unlink(missing_ok=True)
                books.close()
                recorder.close()
                if recorder.dropped:
                    say(f"{launch.spec.name}: {recorder.dropped} spans of the trace are lost")
        finally:
            await first.engine.close()
    except BulkheadError as error:
        await refuse(host, error)
        return error


async def _session(
    first: Early,
    launch: Launch,
    books: Books,
    recorder: Telemetry,
    host: tuple[ByteReceiveStream, ByteSendStream],
    *,
    say: Say,
    stop: anyio.Event | None,
) -> BulkheadError | None:
    import anyio

    from bulkhead import killed
    from bulkhead.relay import Relay
    from bulkhead.serverlog import ServerLog
    from bulkhead.sessions import path_of

    state, name = books.state, launch.spec.name

    async def start(tasks: TaskGroup, journal: Journal) -> Sandbox:
        killed.require_alive(state, name)
        sandbox = await first.sandbox(tasks, journal) or await launch.start(tasks, journal)
        if (error := killed.refusal(state, name)) is not None:  # `kill` may not have seen this one
            await sandbox.stop(0)
            raise error
        return sandbox

    async def kill(error: BulkheadError) -> None:
        say(f"{error.what}: {error.why}")
        await relay.kill(error)

    relay = Relay(
        launch.spec,
        host,
        start,
        recorder=recorder,
        log=ServerLog(state / "logs" / f"{name}.log"),
        say=say,
        leases=launch.leases,
        books=books,
        publish=lambda status: _publish(path_of(state, books.session), launch.spec, status),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_reap, first.engine)
        # Before the first publish(), which tells others that this runner takes signals.
        listening, hearing = anyio.CancelScope(), anyio.CancelScope()
        await tasks.start(killed.listen, state, name, kill, hearing)
        if launch.leases is not None:
            await tasks.start(_revoke_when_told, launch.leases, name, say, listening)
        failure = await relay.run(stop)
        listening.cancel()
        hearing.cancel()
    return failure


async def _prepared(first: Early, target: Target, state: Path, say: Say) -> Launch:
    from bulkhead.cli.early import allow
    from bulkhead.launch import prepare
    from bulkhead.pins import pinned_image
    from bulkhead.resources import seccomp_profile

    allow(target.spec)
    profile = seccomp_profile(target.spec.sandbox.seccomp)
    image = pinned_image(state, target.key, target.profile["server"])
    launch = await prepare(target.spec, first.engine, seccomp_profile=profile, state=state, say=say, image=image)
    first.vet(target, launch, state)
    return launch


async def _reap(engine: Engine) -> None:
    """Removes what a crash of the daemon or of the machine has left; `gc` tells where it cannot."""
    with suppress(EngineError):
        await engine.reap()


async def _revoke_when_told(
    leases: Leases, server: str, say: Say, listening: anyio.CancelScope, *, task_status: TaskStatus[None]
) -> None:
    """`bulkhead secrets revoke` sends SIGUSR1."""
    import anyio

    try:
        with listening, anyio.open_signal_receiver(signal.SIGUSR1) as signals:
            task_status.started()
            async for _ in signals:
                leases.revoke()
                say(f"{server}: its secrets are revoked, for the rest of the session")
    finally:
        # One that comes late must not end the runner, which has a sandbox to remove.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _publish(path: Path, spec: ServerSpec, status: Status) -> None:
    from bulkhead.sessions import SessionStatus, write_session

    secrets = tuple(secret.name for secret in spec.secrets)
    seen = (status.sandbox, status.starts, status.last_end, status.refused, status.containers, status.killed)
    write_session(path, SessionStatus(spec.name, os.getpid(), *seen, secrets))


def _recorder(launch: Launch, settings: Settings, state: Path) -> Telemetry:
    from bulkhead import telemetry
    from bulkhead.config import profile_digest

    exporters = settings.exporters
    resource = {
        telemetry.SERVER: launch.spec.name,
        telemetry.IMAGE_DIGEST: launch.image.digest,
        telemetry.PROFILE_DIGEST: profile_digest(launch.spec),
    }
    chosen = telemetry.TelemetrySettings(file=exporters.file, console=exporters.console, otlp_endpoint=exporters.otlp)
    return telemetry.Telemetry(chosen, resource=resource, state=state)
