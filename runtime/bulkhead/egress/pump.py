"""Carries the bytes of one connection both ways, as a plain TCP connection would.

Rules: a half-close is passed on as one, a reset as one; a piece that the other side does not take is kept, and nothing
more is read until it is gone, so a connection holds two pieces at most; what a check or a meter refuses is not passed
on, and ends the connection.

Callbacks and no tasks: with one buffer for all connections a quiet one costs no memory, and a small answer two system
calls less. For large transfers splice(2) was 10% faster, but takes four more descriptors a connection.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from socket import SHUT_WR
from typing import TYPE_CHECKING

from bulkhead.egress.http1 import Requests
from bulkhead.errors import BulkheadError, DeniedError, LimitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from bulkhead.egress.bounds import Meter
    from bulkhead.egress.caught import Caught
    from bulkhead.egress.clienthello import Hellos
    from bulkhead.egress.watch import WatchedBytes

    Check = Hellos | Requests | WatchedBytes
    Piece = bytes | memoryview
    Judge = Callable[[memoryview], Piece]

# Bytes a read: less costs throughput, more costs memory where a reader is slow.
PIECE = 2**18
_NONE = memoryview(b"")


class Pump:
    """Begins with start(). over is whether the end was a reset, or the BulkheadError that ended it.

    buffer: PIECE bytes, used within one callback only, so one for all is enough. idle: seconds. The sockets do not
    block, and are the caller's to close.
    """

    def __init__(
        self, caught: Caught, outside: socket, meters: tuple[Meter, Meter], buffer: memoryview, idle: float
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future[bool] = self.loop.create_future()
        self.buffer = buffer
        self.moved = self.loop.time()
        self._caught = caught
        self._idle = idle
        self._check: Check | None = None
        self._broken = False
        self.up = _Way(self, caught.sock, outside, meters[0], self._judged)
        self.down = _Way(self, outside, caught.sock, meters[1], self._shown)
        self._timer = self.loop.call_later(idle, self._look)

    def start(self, check: Check | None, first: bytes) -> None:
        """first: the program's bytes that check has let through already; what follows goes through it too.

        Raises LimitError if first is more than may be sent.
        """
        self._check = check
        self.up.send(first)
        self._note_check()
        self.up.resume()
        self.down.resume()

    def stop(self) -> None:
        """Nothing is read, written or awaited any more."""
        self._timer.cancel()
        self.up.stop()
        self.down.stop()

    def finish(self, *, reset: bool) -> None:
        self.stop()
        if not self.over.done():
            self.over.set_result(reset)

    def fail(self, error: BulkheadError) -> None:
        self.stop()
        if not self.over.done():
            self.over.set_exception(error)

    def came_to_end(self, way: _Way) -> None:
        """way's source has said that nothing more comes."""
        way.stop()
        if self._broken or self._other(way).held or (way is self.up and self._caught.was_reset):
            self.finish(reset=True)
        elif self.up.ended and self.down.ended:
            self.finish(reset=False)
        else:
            way.pass_end_on()

    def broke(self, way: _Way) -> None:
        """way's target takes nothing more. What it sent before it broke is passed on still, such as an early answer."""
        way.stop()
        self._broken = True
        if self._other(way).ended or self._other(way).held:
            self.finish(reset=True)

    def _other(self, way: _Way) -> _Way:
        return self.down if way is self.up else self.up

    def _judged(self, piece: memoryview) -> Piece:
        if self._check is None:
            return piece
        allowed = self._check.feed(bytes(piece))
        self._note_check()
        return allowed

    def _shown(self, piece: memoryview) -> Piece:
        if isinstance(self._check, Requests) and self._check.waiting:
            self.up.send(self._check.answered(bytes(piece)))
            self._note_check()
            self.up.resume()
        return piece

    def _note_check(self) -> None:
        if self._check is not None and self._check.opaque:
            self._check = None
        # What is read while the check waits would have to be kept.
        self.up.held = self._check is not None and self._check.waiting

    def _look(self) -> None:
        left = self.moved + self._idle - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._look)
        else:
            self.fail(LimitError(f"nothing went either way for {self._idle:g} s", reason="idle"))


class _Way:
    """One direction. ended: nothing more comes. held: nothing more is to be read now. count: bytes passed on.

    Descriptors are registered as numbers, and taken back only where they are: asyncio takes a socket's repr(), which is
    three system calls, of each one that it does not find. The target is registered as long as there is a rest.
    """

    def __init__(self, pump: Pump, source: socket, target: socket, meter: Meter, judge: Judge) -> None:
        self._pump, self._source, self._target = pump, source, target
        self._meter, self._judge = meter, judge
        self._fd, self._target_fd = source.fileno(), target.fileno()
        self._reading = False
        self._rest = _NONE
        self.ended = False
        self.held = False
        self.count = 0

    def resume(self) -> None:
        """Reads again, if nothing is against it."""
        if not (self._reading or self._rest or self.ended or self.held):
            self._reading = True
            self._pump.loop.add_reader(self._fd, self._readable)

    def pause(self) -> None:
        """Reads nothing until resume()."""
        if self._reading:
            self._reading = False
            self._pump.loop.remove_reader(self._fd)

    def stop(self) -> None:
        self.pause()
        self.ended = True
        if self._rest:
            self._rest = _NONE
            self._pump.loop.remove_writer(self._target_fd)

    def pass_end_on(self) -> None:
        with suppress(OSError):  # it was reset: whoever reads there sees it
            self._target.shutdown(SHUT_WR)

    def send(self, piece: Piece) -> None:
        """Passes on what was judged. Raises LimitError if the meter has not so much."""
        if not piece:
            return
        self._meter.take(len(piece))
        self.count += len(piece)
        if self._rest:
            self._rest = memoryview(bytes(self._rest) + bytes(piece))
            return
        sent = self._sent(piece)
        if sent < len(piece) and not self.ended:
            self._rest = memoryview(bytes(piece[sent:]))
            self.pause()
            self._pump.loop.add_writer(self._target_fd, self._writable)

    def _readable(self) -> None:
        try:
            count = self._source.recv_into(self._pump.buffer)
        except BlockingIOError:
            return
        except OSError:  # whoever sends here has reset
            self._pump.finish(reset=True)
            return
        if not count:
            self._pump.came_to_end(self)
            return
        try:
            self.send(self._judge(self._pump.buffer[:count]))
        except BulkheadError as error:
            self._pump.fail(error)
            return
        except Exception as error:  # a check that fails is a refusal
            self._pump.fail(DeniedError(repr(error), reason="internal"))
            return
        if self.held:
            self.pause()

    def _writable(self) -> None:
        sent = self._sent(self._rest)
        self._rest = self._rest[sent:]
        if not (self._rest or self.ended):
            self._pump.loop.remove_writer(self._target_fd)
            self.resume()

    def _sent(self, piece: Piece) -> int:
        self._pump.moved = self._pump.loop.time()
        try:
            return self._target.send(piece)
        except BlockingIOError:
            return 0
        except OSError:  # whoever should read here has reset
            self._pump.broke(self)
            return 0
