"""One frame of `bulkhead top`, for a terminal of any width from 80 on.

What colour says is said in words too. Names come from servers and from the state folder: what a terminal could take
for an order is escaped.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bulkhead.cli.profile import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Group
    from rich.table import Table

    from bulkhead.cli.top_rows import Held, Row, Snapshot

# Heading and width; the first column has what is left, and is never narrower than at 80 columns.
_COLUMNS = (("UP", 7), ("CPU", 5), ("MEMORY", 11), ("PIDS", 8), ("CALLS", 5), ("CONN", 4), ("REF", 4))
_GAP = 2
_OTHERS = sum(width + _GAP for _, width in _COLUMNS)
_NEAR = 0.9  # of a limit
_STYLES = {"running": "", "idle": "dim", "killed": "bold", "left": "bold"}
_MOST_HELD = 8


def frame(seen: Snapshot, *, width: int, height: int = 0) -> Group:
    """width, height: of the terminal; height 0 for no bound. Rows that do not fit are counted."""
    from rich.console import Group
    from rich.text import Text

    below = [Text(line, style=style, no_wrap=True, overflow="ellipsis") for line, style in _below(seen)]
    room = max(1, height - len(below) - 4) if height else len(seen.rows)
    parts: list[Any] = [Text(_summary(seen), style="bold"), _table(seen, width, room)]
    if len(seen.rows) > room:
        parts.append(Text(f"and {len(seen.rows) - room} more: bulkhead ps"))
    return Group(*parts, *below)


def _summary(seen: Snapshot) -> str:
    running = sum(row.state == "running" for row in seen.rows)
    held = f", {len(seen.held)} held" if seen.held else ""
    return f"{time.strftime('%H:%M:%S', time.localtime(seen.at))}  {running} running of {len(seen.rows)}{held}"


def _table(seen: Snapshot, width: int, room: int) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    name = max(80, width) - _OTHERS
    table.add_column("SANDBOX", width=name, no_wrap=True)
    for heading, size in _COLUMNS:
        table.add_column(heading, justify="right", width=size, no_wrap=True)
    for row in seen.rows[:room]:
        table.add_row(_shortened(plain(row.id or row.server), name), *_cells(row, seen.at), style=_STYLES[row.state])
    return table


def _cells(row: Row, now: float) -> Iterator[Any]:
    yield _duration(now - row.started) if row.started and row.state == "running" else row.state
    yield _marked(f"{100 * row.cpu:.0f}%" if row.cpu is not None else "-", row.cpu, row.cpus)
    yield _marked(_of(row.memory, row.memory_limit, _size), row.memory, row.memory_limit)
    yield _marked(_of(row.pids, row.pids_limit, str), row.pids, row.pids_limit)
    for count in (row.counts.calls, row.counts.connections, row.counts.refused):
        yield str(count) if count < 10_000 else f"{count // 1000}k"


def _shortened(name: str, room: int) -> str:
    """A sandbox is called as its server, and eight digits that tell it from others: they stay."""
    return name if len(name) <= room else f"{name[: room - 10]}…{name[-9:]}"


def _below(seen: Snapshot) -> Iterator[tuple[str, str]]:
    """(line, style)."""
    for held in seen.held[:_MOST_HELD]:
        yield _held(held, seen.at), "yellow"
    if len(seen.held) > _MOST_HELD:
        yield f"held     and {len(seen.held) - _MOST_HELD} more: bulkhead approve", "yellow"
    for name in seen.killed:
        which = "all servers" if name == "ALL" else plain(name)
        yield f"killed   {which}: bulkhead release {'--all' if name == 'ALL' else plain(name)}", "bold"
    for row in seen.rows:
        if row.refused:
            yield f"refused  {plain(row.server)}: {', '.join(plain(name) for name in row.refused[-3:])}", ""
        if row.last_end:
            yield f"ended    {plain(row.server)}: {plain(row.last_end)}", ""
    for problem in seen.problems:
        yield f"problem  {plain(problem)}", "red"


def _held(held: Held, now: float) -> str:
    """With the command that decides."""
    if held.kind == "call":
        call, _, tool = held.what.partition(" ")
        left = f"{max(0, held.until - now):.0f} s left"
        return f"held     {plain(held.server)}: {plain(tool)}, {left}: bulkhead approve --call {plain(call)}"
    return f"held     {plain(held.server)}: {plain(held.what)}: bulkhead approve {plain(held.server)}"


def _marked(text: str, used: float | None, limit: float | None) -> Any:
    """With a "!" before what is near its limit."""
    from rich.text import Text

    near = used is not None and limit is not None and used >= _NEAR * limit
    return Text(f"!{text}", style="bold red") if near else Text(text)


def _of(used: int | None, limit: int | None, show: Any) -> str:
    if used is None:
        return "-"
    return f"{show(used)}/{show(limit)}" if limit is not None else str(show(used))


def _size(count: int) -> str:
    """At most four characters: 512M, 1.5G."""
    for unit, size in (("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if count >= size:
            scaled = count / size
            return f"{scaled:.1f}{unit}" if scaled < 10 and count % size else f"{scaled:.0f}{unit}"
    return f"{count}B"


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    for unit, size, small, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02}{small}"
    return f"{whole}s"
