"""A bounded queue that a thread of its own empties: whoever puts something in never waits for what happens to it.

Rules: put() never waits and never raises; what does not fit pushes the oldest out and is counted in ``lost``, and so is
what a sink fails at. The thread opens the sink, so that the sink's imports are on nobody's path. It is a daemon: a sink
that hangs does not keep the process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Sink(Protocol[T_contra]):
    """Where an Outbox's content goes."""

    def write(self, batch: Sequence[T_contra], /) -> None:
        """Called from the outbox's thread alone. Raises where the batch is lost."""

    def close(self, deadline: float, /) -> None:
        """deadline is in time.monotonic() seconds; nobody waits longer."""


class Outbox(Generic[T]):
    """At most size items; they go to the sink oldest first, once nothing was put in for interval seconds.

    While more comes in, the sink waits, because it takes the interpreter's lock from whoever puts in; but no longer
    than patience seconds, and not until the queue is full.
    """

    def __init__(
        self,
        name: str,
        open_sink: Callable[[], Sink[T]],
        *,
        size: int = 2048,
        interval: float = 0.5,
        patience: float = 5.0,
    ) -> None:
        self.lost = 0
        self._name = name
        self._open_sink = open_sink
        self._interval = interval
        self._patience = patience
        self._count = 0
        self._queue: deque[T] = deque(maxlen=size)
        self._in_hand = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._deadline = 0.0
        self._thread: threading.Thread | None = None

    def put(self, item: T) -> None:
        """After close(), the item is lost."""
        with self._lock:
            if self._closing.is_set():
                self.lost += 1
                return
            self.lost += len(self._queue) == self._queue.maxlen
            self._queue.append(item)
            self._count += 1
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()

    def end(self, deadline: float) -> None:
        """Begins the end without waiting for it: the thread writes what is there, and closes the sink."""
        self._deadline = deadline
        self._closing.set()

    def close(self, deadline: float) -> None:
        """Ends, and waits until all is written, at most until deadline. What is not written by then counts as lost."""
        self.end(deadline)
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self.lost += len(self._queue) + self._in_hand
            self._queue.clear()
            self._in_hand = 0

    def _work(self) -> None:
        sink: Sink[T] | None = None
        seen, passed_on = 0, time.monotonic()
        while not self._closing.wait(self._interval):
            busy, seen = self._count != seen, self._count
            room = len(self._queue) * 2 < (self._queue.maxlen or 0)
            if busy and room and time.monotonic() - passed_on < self._patience:
                continue
            sink = sink or self._open_sink()
            self._pass_on(sink)
            passed_on = time.monotonic()
        sink = sink or self._open_sink()
        self._pass_on(sink)
        sink.close(self._deadline)

    def _pass_on(self, sink: Sink[T]) -> None:
        with self._lock:
            batch = list(self._queue)
            self._queue.clear()
            self._in_hand = len(batch)
        if not batch:
            return
        try:
            sink.write(batch)
        except Exception:  # a sink is others' code: what it raises costs its batch and nothing else
            with self._lock:
                self.lost += self._in_hand
        with self._lock:
            self._in_hand = 0
