"""Frames that came together are judged side by side, so that their records share one sync of the disk."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")

# Each is a task, and a flood of small ones would be many.
_MOST = 64


async def together(lines: Iterator[T], take: Callable[[T], Coroutine[Any, Any, None]]) -> None:
    """Each begins in the order in which it came, and goes on in it where all wait for the same."""
    while some := list(islice(lines, _MOST)):
        if len(some) == 1:
            await take(some[0])
            continue
        async with anyio.create_task_group() as tasks:
            for line in some:
                tasks.start_soon(take, line)
