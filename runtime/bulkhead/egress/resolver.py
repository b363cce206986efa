"""Resolves names outside, with the machine's own resolver, in a few threads.

Nothing is cached: an address is vetted and dialled at once, and the next connection asks again. The threads are kept,
because starting one takes longer than most answers; and they are not those of ``threading``, because the process's end
waits for these, and a resolver that hangs (30 s with glibc's defaults) must not hold a runner that has 2 s to end.
"""

from __future__ import annotations

import asyncio
import socket
from _thread import start_new_thread
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Lookup = Callable[[str], Sequence[str]]
    Found = asyncio.Future[list[str]]

# A name with more addresses than these has others behind the first ones in any case.
_MOST = 16


def system(name: str) -> list[str]:
    """The addresses of name, in the order in which to try them. Raises OSError."""
    # As bytes, because for a str Python imports its IDNA tables; the name is an A-label already.
    found = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """At most threads lookups run at once, those that nobody waits for any more included. close() ends the threads."""

    def __init__(self, lookup: Lookup = system, *, threads: int = 8) -> None:
        self._lookup = lookup
        self._most = threads
        self._threads = 0
        self._unanswered = 0
        self._questions: SimpleQueue[tuple[str, Found] | None] = SimpleQueue()

    async def addresses(self, name: str) -> list[str]:
        """Not empty. Raises what the lookup raises, OSError if the name has no address."""
        if self._unanswered >= self._threads < self._most:
            self._start()
        found: Found = asyncio.get_running_loop().create_future()
        self._unanswered += 1
        self._questions.put((name, found))
        return await found

    def close(self) -> None:
        for _ in range(self._threads):
            self._questions.put(None)

    def _start(self) -> None:
        try:
            start_new_thread(self._work, ())
        except RuntimeError as error:
            raise OSError("the machine has no thread left to resolve in") from error
        self._threads += 1

    def _work(self) -> None:
        while question := self._questions.get():
            name, found = question
            outcome: list[str] | Exception
            try:
                # An answer for which nobody waits any more is not looked for.
                outcome = [] if found.done() else list(self._lookup(name))[:_MOST]
            except Exception as error:  # it is raised where it is awaited
                outcome = error
            with suppress(RuntimeError):  # the loop is closed: the runner has ended meanwhile
                found.get_loop().call_soon_threadsafe(self._answered, found, outcome)

    def _answered(self, found: Found, outcome: list[str] | Exception) -> None:
        self._unanswered -= 1
        if found.done():  # nobody waits any more
            return
        if isinstance(outcome, Exception):
            found.set_exception(outcome)
        elif outcome:
            found.set_result(outcome)
        else:
            found.set_exception(OSError("the name has no address"))
