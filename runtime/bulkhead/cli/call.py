"""`bulkhead call` and `bulkhead tools`: one question to a server, from a shell."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from bulkhead.cli import say
from bulkhead.cli.client import connected
from bulkhead.cli.early import early
from bulkhead.cli.serve import runner, serve
from bulkhead.cli.target import add_target, known_target, resolved_target
from bulkhead.errors import ToolError, UsageError
from bulkhead.policy.tools import refusal
from bulkhead.serverlog import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from bulkhead.cli.client import Client
    from bulkhead.cli.early import Early
    from bulkhead.cli.target import Target
    from bulkhead.engines.base import Engine
    from bulkhead.engines.runners import Runner
    from bulkhead.spec import ServerSpec

_CALLS = """examples:
  bulkhead call time get_current_time '{"timezone": "UTC"}'
  bulkhead call --mount ~/notes:/work filesystem list_directory '{"path": "/work"}' --json
"""
_TOOLS = """examples:
  bulkhead tools time
  bulkhead tools --profile ./my-server.toml --json
  bulkhead tools -- uvx mcp-server-time
"""


def add_parser(commands: Any) -> None:
    """The two commands."""
    call = commands.add_parser(
        "call",
        help="one call of a tool; prints the result",
        epilog=_CALLS,
    )
    add_target(call)
    call.add_argument("tool", metavar="TOOL", nargs="?")
    call.add_argument("arguments", metavar="JSON", nargs="?", default="{}", help="the tool's arguments, an object")
    call.add_argument("--json", action="store_true", help="print the whole result as the server gave it")
    call.set_defaults(run=partial(_command, _call))
    tools = commands.add_parser("tools", help="lists a server's tools, with what each may do", epilog=_TOOLS)
    add_target(tools)
    tools.add_argument("--json", action="store_true", help="for programs")
    tools.set_defaults(run=partial(_command, _tools))


def _command(work: Any, args: argparse.Namespace) -> int:
    if hasattr(args, "tool") and (args.profile or args.command):
        # No NAME stands there, so what argparse took for it is the first of the other two.
        args.name, args.tool, args.arguments = None, args.name, args.tool or "{}"
    with runner() as held, early(held, partial(known_target, args, say)) as first:
        anyio.run(_session, work, args, held, first)
    return 0


async def _session(work: Any, args: argparse.Namespace, held: Runner, first: Early) -> None:
    found: list[Target] = []

    async def resolve(engine: Engine, say: Callable[[str], None]) -> Target:
        found.append(await resolved_target(args, engine, say))
        return found[0]

    async with connected(lambda *host: serve(held, first, resolve, host, say=say)) as client:
        await client.open()
        await work(args, client, (first.target or found[0]).spec)


async def _call(args: argparse.Namespace, client: Client, spec: ServerSpec) -> None:
    del spec
    if not args.tool:
        raise UsageError("which tool?", hint="`bulkhead tools` lists a server's")
    result = await client.request("tools/call", {"name": args.tool, "arguments": _arguments(args.arguments)})
    if args.json:
        sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    elif not result.get("isError"):
        sys.stdout.write(_text(result) + "\n")
    if result.get("isError"):
        raise ToolError(f"{args.tool} answered with an error", why=_text(result))


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise UsageError("the tool's arguments are not JSON", why=str(error)) from error
    if not isinstance(arguments, dict):
        raise UsageError("the tool's arguments are not a JSON object", hint="""such as '{"timezone": "UTC"}'""")
    return arguments


def _text(result: dict[str, Any]) -> str:
    """A result's content for a person: text as it is, anything else named."""
    items = [item for item in result.get("content", []) if isinstance(item, dict)]
    return "\n".join(
        printable(item["text"]) if isinstance(item.get("text"), str) else f"[{item.get('type')}]" for item in items
    )


async def _tools(args: argparse.Namespace, client: Client, spec: ServerSpec) -> None:
    tools = await client.pages("tools/list", "tools")
    if args.json:
        sys.stdout.write(json.dumps(tools, indent=2, ensure_ascii=False) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("TOOL", no_wrap=True)
    table.add_column("POLICY")
    table.add_column("SAYS OF ITSELF", ratio=1)
    for tool in tools:
        name = str(tool.get("name"))
        table.add_row(printable(name), "deny" if refusal(spec, name) else "allow", printable(_first_line(tool)))
    console.print(table)
    console.print(f"\nAll of them together may: {_rights(spec)}")


def _first_line(tool: dict[str, Any]) -> str:
    hints = tool.get("annotations")
    hints = hints if isinstance(hints, dict) else {}
    words = [word for key, word in _HINTS.items() if hints.get(key) is True]
    text = str(tool.get("description") or "").strip().split("\n")[0][:120]
    return f"{text} ({', '.join(words)})" if words else text


_HINTS = {"readOnlyHint": "reads only", "destructiveHint": "destroys", "openWorldHint": "reaches out"}


def _rights(spec: ServerSpec) -> str:
    mounts = [f"{'write' if mount.write else 'read'} {mount.source}" for mount in spec.mounts]
    hosts = [f"reach {rule.host}:{','.join(map(str, rule.ports))}" for rule in spec.egress]
    return "; ".join([*mounts, *hosts]) or "read and write nothing of this machine, and reach no network"
