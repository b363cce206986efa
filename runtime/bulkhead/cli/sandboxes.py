"""`ps`, `stop` and `gc`: the sandboxes of this user, whichever runner started them."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from bulkhead.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

    from bulkhead.engines.base import Engine, SandboxInfo

_PS = """examples:
  bulkhead ps
  bulkhead ps --json | jq -r '.[] | select(.last_end == "oom") | .server'
"""
_STOP = """example:
  bulkhead stop time-3f          the beginning of an id, as `bulkhead ps` shows it
"""
_GC = """example:
  bulkhead gc                    sandboxes of living sessions stay
"""


def add_parser(commands: Any) -> None:
    """The three commands."""
    ps = commands.add_parser("ps", help="sandboxes that run, and how the last one of each session ended", epilog=_PS)
    ps.add_argument("--json", action="store_true", help="for programs")
    ps.set_defaults(run=_command(_ps))
    stop_help = "stops one sandbox; its session starts another when it is asked again"
    stop = commands.add_parser("stop", help=stop_help, epilog=_STOP)
    stop.add_argument("id", help="the sandbox's id, or the beginning of it")
    stop.set_defaults(run=_command(_stop))
    gc_help = "removes what a crash of a runner, the engine or the machine left"
    gc = commands.add_parser("gc", help=gc_help, epilog=_GC)
    gc.set_defaults(run=_command(_gc))


def _command(work: Callable[[argparse.Namespace, Engine], Awaitable[int]]) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        import anyio

        async def main() -> int:
            from bulkhead.config import load_settings, state_dir
            from bulkhead.engines.registry import open_engine

            engine = open_engine(load_settings().engine, state=state_dir())
            try:
                return await work(args, engine)
            finally:
                await engine.close()

        return anyio.run(main)

    return run


async def _ps(args: argparse.Namespace, engine: Engine) -> int:
    from bulkhead.config import state_dir
    from bulkhead.sessions import read_sessions

    running = {info.id: info for info in await engine.list()}
    rows = [
        {
            "id": session.sandbox,
            "server": session.server,
            "state": "running" if session.sandbox in running else "stopped",
            "started": running[session.sandbox].started if session.sandbox in running else None,
            "starts": session.starts,
            "last_end": session.last_end,
            "refused": session.refused,
            "pid": session.pid,
        }
        for session in read_sessions(state_dir())
    ]
    known = {row["id"] for row in rows}
    rows += [_left_behind(info) for info in running.values() if info.id not in known and not info.gate]
    _print(rows, as_json=args.json)
    return 0


def _left_behind(info: SandboxInfo) -> dict[str, Any]:
    state = "running" if info.running else "left behind"
    return {"id": info.id, "server": info.server, "state": state, "started": info.started} | {
        "starts": None, "last_end": "", "refused": [], "pid": None,
    }  # fmt: skip


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    from bulkhead.cli.trace import UNWRAPPED
    from bulkhead.telemetry import clean

    table = Table(box=None, pad_edge=False)
    for heading in ("SANDBOX", "SERVER", "STATE", "UP", "STARTS", "LAST END", "REFUSED", "RUNNER"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "SANDBOX")  # the id is what `stop` takes
    for row in rows:
        up = f"{time.time() - row['started']:.0f} s" if row["started"] else "-"
        refused = ", ".join(map(clean, row["refused"]))
        cells = (row["id"], row["server"], row["state"], up, row["starts"], row["last_end"], refused, row["pid"])
        table.add_row(*("-" if cell in (None, "") else str(cell) for cell in cells))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = UNWRAPPED
    console.print(table if rows else "no sandboxes")


async def _stop(args: argparse.Namespace, engine: Engine) -> int:
    found = [info.id for info in await engine.list() if info.id.startswith(args.id) and not info.gate]
    if len(found) != 1:
        what = f"{len(found)} sandboxes begin with {args.id!r}"
        raise UsageError(what, hint="`bulkhead ps` lists them")
    await engine.remove(found[0])
    sys.stdout.write(f"stopped {found[0]}\n")
    return 0


async def _gc(args: argparse.Namespace, engine: Engine) -> int:
    del args
    removed = await engine.reap()
    sys.stdout.write(f"removed {len(removed)} left behind\n" + "".join(f"  {name}\n" for name in removed))
    return 0
