"""The requests and answers of one connection, with secrets put in on the way out and taken out on the way back.

Rules: the program's requests are read, judged and written anew, and so are the host's answers; h11 keeps both sides in
step, so one request is on its way at a time, and those that are sent ahead wait. A body is passed on piece by piece,
and never kept. A refusal is an answer, as long as no other has begun. After 101, bytes go both ways.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import h11

from bulkhead.egress.answers import for_program, refusal
from bulkhead.egress.heads import refused
from bulkhead.errors import LimitError

if TYPE_CHECKING:
    from typing import Any

    from bulkhead.egress.outgoing import Outgoing
    from bulkhead.egress.tls import Tls
    from bulkhead.errors import BulkheadError

_HEAD = 64 * 2**10
_PARTING = 2.0  # seconds for a program to take what it is told before the end
# Seconds for which a host's bytes are kept that may be a secret's beginning: what a message ends with is often that.
_HELD = 0.2


class Exchange:
    """Between the program's side and the host's, both encrypted. idle: seconds."""

    def __init__(self, program: Tls, host: Tls, outgoing: Outgoing, idle: float) -> None:
        self._program, self._host = program, host
        self._outgoing = outgoing
        self._idle = idle
        self._inside = h11.Connection(h11.SERVER, _HEAD)
        self._outside = h11.Connection(h11.CLIENT, _HEAD)
        self._ended = False  # the program has said all
        # What goes out at once, before anything is waited for.
        self._up, self._down = bytearray(), bytearray()
        # Set when the next request may come, or another protocol begins; then there is a new one.
        self._turned = asyncio.Event()

    async def run(self) -> None:
        """Until one side has ended it as it should. Raises BulkheadError, or OSError for a side that broke off."""
        tasks = asyncio.create_task(self._requests()), asyncio.create_task(self._answers())
        waiting, over = set(tasks), False
        try:
            while not over:
                done, waiting = await asyncio.wait(waiting, timeout=self._left(), return_when=asyncio.FIRST_COMPLETED)
                over = any([task.result() for task in done])  # noqa: C419 - each may have failed
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def refuse(self, error: BulkheadError, patience: float) -> bool:
        """Answers with what went wrong, and ends. False if it is too late. patience: seconds to wait for a request."""
        with suppress(OSError, h11.ProtocolError):
            async with asyncio.timeout(patience):
                while self._inside.their_state is h11.IDLE:
                    await self._hear_of_a_request()
            if self._program.whole and self._inside.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self._down.clear()
                for part in refusal(error, self._outgoing.method):
                    self._down += self._inside.send(part) or b""
                async with asyncio.timeout(_PARTING):
                    await self._sent_down()
                await self.part(unread=True)
                return True
        return False

    async def part(self, *, unread: bool = False) -> None:
        """Ends both sides. unread: the program may still be sending, and sees what it was told only if that is read."""
        with suppress(OSError):
            async with asyncio.timeout(_PARTING):
                await self._program.end()
                await self._host.end()
                if unread or self._inside.their_state is h11.SEND_BODY:
                    await self._program.drain()

    def _left(self) -> float:
        """Seconds until nothing has moved for too long."""
        moved = max(self._program.moved, self._host.moved)
        left = moved + self._idle - asyncio.get_running_loop().time()
        if left <= 0:
            raise LimitError(f"nothing went either way for {self._idle:g} s", reason="idle")
        return left

    async def _hear_of_a_request(self) -> None:
        match self._inside.next_event():
            case h11.Request() as asked:
                self._outgoing.method = asked.method
            case h11.NEED_DATA:
                self._inside.receive_data(await self._program.read())
            case _:
                raise ConnectionResetError

    def _turn(self) -> None:
        """The next request, if this one and its answer are over."""
        both = (self._inside, self._outside)
        if all(state is h11.DONE for each in both for state in each.states.values()):
            for each in both:
                each.start_next_cycle()
            self._wake()

    def _wake(self) -> None:
        self._turned.set()
        self._turned = asyncio.Event()

    # Requests

    async def _requests(self) -> bool:
        """Passes them on. True: it is all over; False: the program says no more, or the host takes no more."""
        while True:
            turned = self._turned
            event = self._heard()
            if isinstance(event, h11.Request | h11.Data | h11.EndOfMessage):
                self._up += self._outside.send(self._outgoing.for_host(event)) or b""
            if isinstance(event, h11.Request | h11.Data):
                continue
            if not await self._sent_up():
                return False
            match event:
                case h11.EndOfMessage():
                    self._turn()
                case h11.ConnectionClosed():
                    return self._outside.our_state is h11.IDLE or await self._ended_up()
                case h11.NEED_DATA:
                    data = await self._program.read()
                    self._ended = not data
                    self._inside.receive_data(data)
                case _ if self._inside.their_state is h11.SWITCHED_PROTOCOL:
                    return await self._upwards(self._inside.trailing_data[0])
                case _:
                    await turned.wait()

    def _heard(self) -> Any:
        try:
            return self._inside.next_event()
        except h11.RemoteProtocolError as error:
            if self._ended:
                raise ConnectionResetError from None
            raise refused(str(error)) from error

    async def _sent_up(self) -> bool:
        """False if the host takes nothing more. What it has said before is passed on still, such as an early answer."""
        data, self._up = self._up, bytearray()
        try:
            await self._host.write(data)
        except OSError:
            return False
        return True

    async def _ended_up(self) -> bool:
        await self._host.end()
        return False

    async def _upwards(self, data: bytes) -> bool:
        while True:
            self._outgoing.look(data)
            self._up += data
            if not await self._sent_up():
                return False
            data = await self._program.read()
            if not data:
                return await self._ended_up()

    # Answers

    async def _answers(self) -> bool:
        """Passes them on, until it is all over."""
        while True:
            turned = self._turned
            event = self._answered()
            if isinstance(event, h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage):
                self._pass_down(event)
            if isinstance(event, h11.InformationalResponse | h11.Response | h11.Data):
                continue
            await self._sent_down()
            match event:
                case h11.EndOfMessage():
                    if not self._goes_on():
                        return True
                    self._turn()
                case h11.ConnectionClosed():
                    return True
                case h11.NEED_DATA:
                    self._take_down(await self._next_from_host())
                case _ if self._outside.their_state is h11.SWITCHED_PROTOCOL:
                    self._wake()
                    return await self._downwards(self._outside.trailing_data[0])
                case _:
                    await turned.wait()

    def _answered(self) -> Any:
        unasked = self._outside.our_state is h11.IDLE
        try:
            event = self._outside.next_event()
        except h11.RemoteProtocolError:
            raise ConnectionResetError from None
        if unasked and isinstance(event, h11.InformationalResponse | h11.Response):
            return h11.ConnectionClosed()  # it says that it waits no longer; nothing may be taken for the next answer
        return event

    def _pass_down(self, event: h11.Event) -> None:
        old = self._inside.their_http_version == b"1.0"
        for part in for_program(event, self._outgoing.redactor, self._outgoing.method, old=old):
            self._down += self._inside.send(part) or b""
        if isinstance(event, h11.EndOfMessage):
            self._outgoing.redactor = None

    def _take_down(self, data: bytes) -> None:
        if not data and self._host.ragged and self._outside.their_state is h11.SEND_BODY:
            raise ConnectionResetError  # a body may go up to the end, and then it could have been cut off
        self._outside.receive_data(data)

    async def _next_from_host(self) -> bytes:
        redactor = self._outgoing.redactor
        if redactor is None or not redactor.holds:
            return await self._host.read()
        reading = asyncio.create_task(self._host.read())
        try:
            done, _ = await asyncio.wait((reading,), timeout=_HELD)
            if not done:
                self._let_go(redactor.rest())
                await self._sent_down()
            return await reading
        finally:
            reading.cancel()

    def _let_go(self, data: bytes) -> None:
        switched = self._inside.our_state is h11.SWITCHED_PROTOCOL
        self._down += data if switched else self._inside.send(h11.Data(data=data)) or b""

    def _goes_on(self) -> bool:
        """Whether another request may follow the one that was answered, once that is all sent."""
        states = (*self._inside.states.values(), *self._outside.states.values())
        return not any(state in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR) for state in states)

    async def _sent_down(self) -> None:
        data, self._down = self._down, bytearray()
        await self._program.write(data)

    async def _downwards(self, data: bytes) -> bool:
        """Another protocol's bytes."""
        redactor = self._outgoing.redactor
        while True:
            self._down += data if redactor is None else redactor.feed(data)
            await self._sent_down()
            data = await self._next_from_host()
            if not data:
                self._down += b"" if redactor is None else redactor.rest()
                await self._sent_down()
                return True
