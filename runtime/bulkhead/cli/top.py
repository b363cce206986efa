"""`bulkhead top`: sandboxes, calls, limits, connections and what is held, again and again, until q or Ctrl-C.

It starts nothing and changes nothing, and leaves the terminal as it was. Where stdout is no terminal one frame is
printed, as with --once.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.live import Live

    from bulkhead.cli.top_rows import Looker, Snapshot

_EXAMPLES = """examples:
  bulkhead top                  until q
  bulkhead top --interval 0.5
  bulkhead top --once           one frame, for a pipe
  bulkhead top --json           the same, for programs

UP is the state where a sandbox does not run; CPU 100% is one processor; a ! stands before what is near its limit; CONN
are connections that were made, REF those that were refused.
"""
# Between the two looks of --once: cpu is what was used between them.
_BETWEEN = 0.2
_LEAVE = b"qQ\x03\x04"


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser = commands.add_parser("top", help="what runs now, what it uses, and what is held; live", epilog=_EXAMPLES)
    parser.add_argument("--interval", metavar="SECONDS", type=_seconds, default=2.0, help="between two looks; 2")
    parser.add_argument("--once", action="store_true", help="prints one frame, and leaves")
    parser.add_argument("--json", action="store_true", help="one frame for programs")
    parser.set_defaults(run=_top)


def _top(args: argparse.Namespace) -> int:
    import anyio

    return anyio.run(_run, args)


async def _run(args: argparse.Namespace) -> int:
    looker = _looker()
    try:
        if args.once or args.json or not sys.stdout.isatty():
            _print(await _once(looker), as_json=args.json)
        else:
            await _live(looker, args.interval)
    finally:
        looker.close()
        if looker.engine is not None:
            await looker.engine.close()
    return 0


def _looker() -> Looker:
    """Without an engine there is still what waits, and what has run."""
    from bulkhead.cli.top_rows import Looker
    from bulkhead.config import load_settings, state_dir
    from bulkhead.engines.docker_client import Client
    from bulkhead.engines.registry import find_endpoint, open_engine
    from bulkhead.errors import EngineError

    try:
        endpoint = find_endpoint(load_settings().engine)
    except EngineError as error:
        return Looker(state_dir(), None, None, f"{error.what}: {error.why}")
    return Looker(state_dir(), open_engine(endpoint, state=state_dir()), Client(endpoint))


async def _once(looker: Looker) -> Snapshot:
    import anyio

    seen = await looker.look()
    if any(row.cpu is not None for row in seen.rows):
        await anyio.sleep(_BETWEEN)
        seen = await looker.look()
    return seen


def _print(seen: Snapshot, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(asdict(seen), indent=2) + "\n")
        return
    from bulkhead.cli.top_frame import frame

    console = _console()
    console.print(frame(seen, width=console.width))


def _console() -> Console:
    """rich honours NO_COLOR, and COLUMNS."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


async def _live(looker: Looker, interval: float) -> None:
    import anyio
    from rich.live import Live

    console = _console()
    async with anyio.create_task_group() as tasks:
        with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
            tasks.start_soon(_until_key, tasks.cancel_scope)
            tasks.start_soon(_until_signal, tasks.cancel_scope)
            await _show(live, looker, interval)


async def _show(live: Live, looker: Looker, interval: float) -> None:
    import anyio

    from bulkhead.cli.top_frame import frame

    while True:
        seen = await looker.look()
        live.update(frame(seen, width=live.console.width, height=live.console.height), refresh=True)
        await anyio.sleep(interval)


@contextmanager
def _keys() -> Iterator[None]:
    """Keys come at once and are not shown; the terminal is as before at the end."""
    import termios
    import tty

    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


async def _until_key(scope: Any) -> None:
    import os

    import anyio

    if not sys.stdin.isatty():
        return
    while True:
        await anyio.wait_readable(sys.stdin)
        keys = os.read(sys.stdin.fileno(), 64)
        if not keys or any(key in _LEAVE for key in keys):
            scope.cancel()
            return


async def _until_signal(scope: Any) -> None:
    import signal

    import anyio

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()
            return


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError("SECONDS is a number from 0.1 to 3600")
    return value
