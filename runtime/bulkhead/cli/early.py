"""A session's first container, started before there is an event loop: what is imported meanwhile costs no time.

The daemon needs 200 ms to start a container, and Python 150 ms for anyio, the relay and all that a session is made of.
Only what is quick is done here: an image that is not there, or a version that has to be asked for, is for serve().
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bulkhead.errors import BulkheadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anyio.abc import TaskGroup

    from bulkhead.cli.target import Target
    from bulkhead.config.settings import Settings
    from bulkhead.egress.network import Journal
    from bulkhead.engines.base import Engine, Sandbox
    from bulkhead.engines.runners import Runner
    from bulkhead.launch import Begun, Launch
    from bulkhead.pins import PinBook
    from bulkhead.spec import ServerSpec

    Known = Callable[[], Target | None]


class Early:
    """What is known of a session before it begins. Its errors are for the host, who has to be listened to first."""

    def __init__(self, runner: Runner, known: Known) -> None:
        self.target: Target | None = None
        self.pins: PinBook
        self.notes: tuple[str, ...] = ()  # what of image and profile was pinned unasked
        self.launch: Launch | None = None
        self.error: BulkheadError | None = None
        self.settings: Settings
        self.engine: Engine
        self._begun: Begun | None = None
        self._failure: BulkheadError | None = None
        self._thread: threading.Thread | None = None
        try:
            self._prepare(runner, known)
        except BulkheadError as error:
            self.error = error

    async def sandbox(self, tasks: TaskGroup, journal: Journal) -> Sandbox | None:
        """The first sandbox, once; None when nothing was started here. As Launch.start()."""
        from anyio import to_thread

        if self._thread is None:
            return None
        await to_thread.run_sync(self._thread.join)
        self._thread = None
        if self._failure is not None:
            raise self._failure
        begun, self._begun = self._begun, None  # it may hold secrets, and the session is long
        return await self.launch.start(tasks, journal, begun) if self.launch else None

    def abandon(self) -> None:
        """Ends a container that no session has taken."""
        if self._thread is not None and self.launch is not None:
            self._thread.join()
            if self._begun is not None:
                self.launch.discard(self._begun)

    def vet(self, target: Target, launch: Launch, state: Path) -> None:
        """Image and profile are as they were approved. Raises IntegrityError (reason ``pin``)."""
        from bulkhead.pins import PinBook, other_tools
        from bulkhead.supply.images import was_built

        key, mode = target.key, target.spec.guards.pin
        self.pins = PinBook(state, key, mode=mode, others=lambda: other_tools(state, key))
        self.notes = self.pins.started(
            image=launch.image.digest,
            built=was_built(state, launch.image.digest),
            profile=target.profile,
            profile_path=target.path,
            strange=target.strange,
        )

    def _prepare(self, runner: Runner, known: Known) -> None:
        from bulkhead.config.settings import load_settings, state_dir
        from bulkhead.engines.registry import open_engine
        from bulkhead.launch import ready
        from bulkhead.pins import pinned_image
        from bulkhead.resources import seccomp_profile

        self.settings, state = load_settings(), state_dir()
        self.engine = open_engine(self.settings.engine, state=state, runner=runner.id)
        self.target = known()
        if self.target is None:
            return
        spec = self.target.spec
        allow(spec)
        profile, restored = (
            seccomp_profile(spec.sandbox.seccomp),
            pinned_image(state, self.target.key, self.target.profile["server"]),
        )
        self.launch = ready(spec, self.engine, seccomp_profile=profile, state=state, image=restored)
        if self.launch is not None:
            self.vet(self.target, self.launch, state)
            self._thread = threading.Thread(target=self._begin, args=(self.launch,), name="bulkhead-early", daemon=True)
            self._thread.start()

    def _begin(self, launch: Launch) -> None:
        try:
            self._begun = launch.begin()
        except BulkheadError as error:
            self._failure = error


@contextmanager
def early(runner: Runner, known: Known) -> Iterator[Early]:
    """An Early; at the end nothing of it is left, whatever became of its session."""
    first = Early(runner, known)
    try:
        yield first
    finally:
        first.abandon()


def allow(spec: ServerSpec) -> None:
    """What has to be true, and to be remembered, before any sandbox of spec starts. Raises BulkheadError."""
    from bulkhead.config import writable
    from bulkhead.config.settings import state_dir
    from bulkhead.engines.registry import refuse_missing

    if (state_dir() / "killed").is_dir():  # hardly ever, and a container waits for what is imported here
        from bulkhead import killed

        killed.require_alive(state_dir(), spec.name)
    refuse_missing(spec.sandbox.engine)
    writable.remember(spec)
