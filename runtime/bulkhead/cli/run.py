"""`bulkhead run`: speaks MCP on stdio. It is what a host's configuration starts, so stdout is MCP and nothing else."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING, Any

from bulkhead.cli import say, tell
from bulkhead.cli.early import early
from bulkhead.cli.serve import runner, serve
from bulkhead.cli.target import add_target, known_target, resolved_target

if TYPE_CHECKING:
    import argparse

    import anyio

    from bulkhead.cli.early import Early
    from bulkhead.engines.runners import Runner
    from bulkhead.errors import BulkheadError

_EXAMPLES = """examples, as a host's configuration would start them:
  bulkhead run time
  bulkhead run --profile ./my-server.toml
  bulkhead run --mount ~/notes:/work:rw filesystem
  bulkhead run -- npx -y @modelcontextprotocol/server-memory
  bulkhead run -- uvx mcp-server-time
"""


def add_parser(commands: Any) -> None:
    """The command."""
    parser = commands.add_parser("run", help="speak MCP on stdio: what a host's configuration starts", epilog=_EXAMPLES)
    add_target(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Until the host closes stdin. 0; or why the server never answered."""
    with runner() as held, early(held, partial(known_target, args, say)) as first:
        import anyio

        return anyio.run(_run, args, held, first)


def _in_plain() -> BulkheadError | None:
    """Why the environment is refused: it has a secret that stands in a host's configuration.

    Looked for while the container starts, because what knows secrets takes its time to import.
    """
    from os import environ
    from pathlib import Path

    from bulkhead.config import secretlike
    from bulkhead.errors import BulkheadError

    if not any(secretlike.in_env(environ)):
        return None
    from bulkhead.hosts.secrets import require_none_in_plain

    try:
        require_none_in_plain(environ, Path.home(), Path.cwd())
    except BulkheadError as error:
        return error
    return None


async def _run(args: argparse.Namespace, held: Runner, first: Early) -> int:
    import anyio

    from bulkhead.stdio import open_stdin, open_stdout

    stop = anyio.Event()
    first.error = first.error or _in_plain()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_on_signal, stop)
        host = (await open_stdin(), await open_stdout())
        failure = await serve(held, first, partial(resolved_target, args), host, say=say, stop=stop)
        tasks.cancel_scope.cancel()
    if failure is not None:
        tell(failure)
        return failure.exit_code
    return 130 if stop.is_set() else 0


async def _on_signal(stop: anyio.Event) -> None:
    import anyio

    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for _ in signals:
            stop.set()
