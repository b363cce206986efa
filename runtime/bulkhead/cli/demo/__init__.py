"""`bulkhead demo`: three official servers answer, and a server that means harm is refused, each in its own container.

Everything that is shown has just happened: the same path as `run` and `call`, real containers, and the kernel's own
words. An attempt that is not refused is no demo: it ends with an error.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from bulkhead import __version__
from bulkhead.cli.client import connected
from bulkhead.cli.demo import acts
from bulkhead.cli.demo.acts import Guest
from bulkhead.cli.early import early
from bulkhead.cli.serve import runner, serve
from bulkhead.cli.target import Target

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rich.console import Console

    from bulkhead.engines.base import Engine
    from bulkhead.engines.runners import Runner
    from bulkhead.spec import ServerSpec

_WIDTH = 80
_EXAMPLES = """examples:
  bulkhead demo
  bulkhead demo --svg demo.svg   and a picture of it
"""


def add_parser(commands: Any) -> None:
    """The command."""
    parser = commands.add_parser(
        "demo", help="shows three official servers at work, and a hostile one refused", epilog=_EXAMPLES
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draws what was shown, as a picture")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 if every call was answered and every attempt refused."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, record=args.svg is not None)
    console.width = min(console.width, _WIDTH)
    specs = _specs()
    with ExitStack() as stack:
        # Before the event loop, because each forks its watcher.
        held = [stack.enter_context(runner()) for _ in specs]
        anyio.run(_demo, console, specs, held)
    acts.trace(console)
    acts.after(console)
    if args.svg is not None:
        from bulkhead.cli.demo.picture import draw

        args.svg.write_text(draw(console, "bulkhead demo"), encoding="utf-8")
    return 0


def _specs() -> list[ServerSpec]:
    from bulkhead.config import load_profile
    from bulkhead.resources import folder
    from bulkhead.spec import Limits, Server, ServerSpec

    code = (Path(__file__).parent / "stranger.py").read_text(encoding="utf-8")
    server = Server(image="bulkhead/python", command=("python3", "-c", code))
    stranger = ServerSpec(name="stranger", server=server, limits=Limits(memory=64 * 2**20, pids=16))
    return [*(load_profile(folder("profiles") / "servers" / f"{name}.toml") for name in acts.CALLS), stranger]


async def _demo(console: Console, specs: list[ServerSpec], held: list[Runner]) -> None:
    from bulkhead.config import load_settings, state_dir
    from bulkhead.engines.registry import open_engine

    engine = open_engine(load_settings().engine, state=state_dir())
    try:
        info = await engine.probe()
        console.print(f"Bulkhead {__version__} on {info.name} {info.version}", style="bold")
        await _images(console, specs, engine)
        async with AsyncExitStack() as stack:
            guests = [await _guest(stack, spec, of) for spec, of in zip(specs, held, strict=True)]
            await acts.introduce(console, engine, guests[:-1])
            await acts.call(console, guests[:-1])
            await acts.harm(console, guests[-1])
    finally:
        await engine.close()


async def _images(console: Console, specs: list[ServerSpec], engine: Engine) -> None:
    """Built one after the other, because each wants both processors and the network."""
    from bulkhead.config import state_dir
    from bulkhead.supply.images import image_for

    with console.status("looking for the images") as status:
        for spec in specs:
            await image_for(spec.server, engine, state=state_dir(), say=_progress(console, status))


def _progress(console: Console, status: Any) -> Callable[[str], None]:
    """On a terminal one line that changes, elsewhere a line each."""
    if console.is_terminal:
        return status.update  # type: ignore[no-any-return]
    return lambda line: console.print(f"  {line}")


async def _guest(stack: AsyncExitStack, spec: ServerSpec, held: Runner) -> Guest:
    from bulkhead.config import Flags, command_key

    target = Target(spec, command_key(spec.name, ["demo"], Flags()), asdict(spec))

    async def resolve(engine: Engine, say: object) -> Target:
        del engine, say
        return target

    first = stack.enter_context(early(held, lambda: target))
    client = await stack.enter_async_context(
        connected(lambda *host: serve(held, first, resolve, host, say=lambda _: None))
    )
    return Guest(spec, held, client)
