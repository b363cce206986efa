"""Resolves names outside, with the machine's own resolver, in a bounded number of threads.

Nothing is cached: an address is vetted and dialled at once, and the next connection asks again. The threads are not
those of ``threading``: starting one of these waits until it runs, and the process's end until it has ended, which a
resolver that hangs (30 s with glibc's defaults) delays for a runner that has 2 s.
"""

from __future__ import annotations

import asyncio
import socket
from _thread import start_new_thread
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Lookup = Callable[[str], Sequence[str]]

# A name with more addresses than these has others behind the first ones in any case.
_MOST = 16


def system(name: str) -> list[str]:
    """The addresses of name, in the order in which to try them. Raises OSError."""
    # As bytes, because for a str Python imports its IDNA tables; the name is an A-label already.
    found = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """At most at_once lookups run; one that nobody waits for any more counts until its thread has ended."""

    def __init__(self, lookup: Lookup = system, *, at_once: int = 8) -> None:
        self._lookup = lookup
        self._free = asyncio.Semaphore(at_once)

    async def addresses(self, name: str) -> list[str]:
        """Not empty. Raises OSError if the name has none."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()
        try:
            start_new_thread(self._work, (name, loop, found))
        except RuntimeError as error:  # the machine has no thread left
            self._free.release()
            raise OSError("no thread to resolve in") from error
        return await found

    def _work(self, name: str, loop: asyncio.AbstractEventLoop, found: asyncio.Future[list[str]]) -> None:
        outcome: list[str] | Exception
        try:
            outcome = list(self._lookup(name))[:_MOST] or OSError("the name has no address")
        except Exception as error:  # judged where it is awaited
            outcome = error
        with suppress(RuntimeError):  # the loop is closed: the runner has ended meanwhile
            loop.call_soon_threadsafe(self._done, found, outcome)

    def _done(self, found: asyncio.Future[list[str]], outcome: list[str] | Exception) -> None:
        self._free.release()
        if found.done():  # nobody waits any more
            return
        if isinstance(outcome, Exception):
            found.set_exception(outcome)
        else:
            found.set_result(outcome)
