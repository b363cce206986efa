"""The acts of the demo, one function each: it does the thing and prints what became of it, in 80 columns."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bulkhead.errors import DeniedError, LimitError, ToolError, UnenforceableError
from bulkhead.serverlog import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from bulkhead.cli.client import Client
    from bulkhead.engines.base import Engine
    from bulkhead.engines.runners import Runner
    from bulkhead.spec import Limits, ServerSpec

_WIDEST = 42
CALLS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "everything": (("echo", {"message": "hello"}), ("get-sum", {"a": 2, "b": 40})),
    "filesystem": (
        ("write_file", {"path": "/work/note.txt", "content": "kept in memory, gone with the session"}),
        ("read_text_file", {"path": "/work/note.txt"}),
    ),
    "time": (("convert_time", {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}),),
}
# What of an answer is shown, where it is not a line of text.
_SHOWN = {"time": re.compile(r'"target".*?"datetime": "(.*?)"')}
# What the stranger's tools try, as a person would say it; the last two end its container.
ATTEMPTS = {
    "look_around": "look at the machine's processes",
    "open_docker": "open the container engine's socket",
    "call_home": "connect to an address outside",
    "replace_python": "replace the Python interpreter",
    "become_root": "become root",
    "new_namespace": "make a namespace of its own",
    "attach_debugger": "attach to process 1",
    "take_memory": "take all the memory",
    "fork_bomb": "start processes without end",
}


@dataclass(frozen=True, slots=True)
class Guest:
    """One server of the demo, its runner, and a client of it."""

    spec: ServerSpec
    held: Runner
    client: Client


async def introduce(console: Console, engine: Engine, guests: list[Guest]) -> None:
    """Who runs, in what: one row a container."""
    from bulkhead.engines.hardening import plan_for

    _heading(console, "Three official servers, each in a container of its own")
    started, ready = time.monotonic(), {}
    with console.status("starting"):
        for guest in guests:
            # All have been starting since they were connected: one answers while another still comes up.
            await guest.client.open()
            ready[guest.spec.name] = time.monotonic() - started
    running = {info.runner: info for info in await engine.list() if info.running}
    table = _grid("server", "version", "image", "uid", "memory", "processes", "ready")
    for guest in guests:
        spec, info = guest.spec, running[guest.held.id]
        plan = plan_for(spec, sandbox_id=info.id, image_digest=info.image, image_command=("-",), seccomp="", owners={})
        version, image = spec.server.package.rpartition("@")[2], plan.image.removeprefix("sha256:")[:12]
        limits = (f"{plan.memory >> 20} MiB", str(plan.pids), f"{ready[spec.name]:.1f} s")
        table.add_row(spec.name, version, image, str(plan.uid), *limits)
    console.print(_inset(table))
    console.print(
        "\n  Each: no network, no capabilities, no swap, one processor, a read-only root,\n"
        "  an unprivileged user of its own, and only the system calls of our own list.",
        style="dim",
    )


async def call(console: Console, guests: list[Guest]) -> None:
    """Some of their tools, with real arguments."""
    _heading(console, "They answer")
    table = _grid("server", "tool", "answer", "took")
    for guest in guests:
        for tool, arguments in CALLS[guest.spec.name]:
            before = time.monotonic()
            result = await guest.client.request("tools/call", {"name": tool, "arguments": arguments})
            took = f"{(time.monotonic() - before) * 1000:.0f} ms"
            if result.get("isError"):
                raise ToolError(f"{guest.spec.name}: {tool} answered with an error", why=_text(result))
            table.add_row(guest.spec.name, tool, _answer(guest.spec.name, result), took)
    console.print(_inset(table))


async def harm(console: Console, guest: Guest) -> None:
    """All that the stranger tries. Raises UnenforceableError if anything succeeds."""
    _heading(console, "A server that means harm is given the same")
    table = _grid("it tries to", "and is")
    with console.status("letting it try"):
        await guest.client.open()
        for tool, attempt in ATTEMPTS.items():
            table.add_row(attempt, refusal(await _attempt(guest, tool), attempt, guest.spec.limits))
        before = time.monotonic()
        status = await guest.client.request("tools/call", {"name": "status", "arguments": {}})
        after = time.monotonic() - before
    table.add_row("go on as if nothing had been", f"answered by a fresh container, {after:.1f} s later")
    console.print(_inset(table))
    console.print(f"\n  {_kernel(json.loads(_text(status)))}", style="dim")


def _kernel(status: dict[str, str]) -> str:
    """What a process's /proc/self/status says of it, from inside."""
    return (
        f"From inside: uid {status['Uid']}, capabilities {int(status['CapEff'], 16)}, "
        f"seccomp {status['Seccomp']}, no_new_privs {status['NoNewPrivs']}."
    )


async def _attempt(guest: Guest, tool: str) -> dict[str, Any] | LimitError:
    try:
        return await guest.client.request("tools/call", {"name": tool, "arguments": {}})
    except LimitError as error:
        return error
    except DeniedError:
        return {"isError": True, "content": [{"type": "text", "text": "there is no network"}]}


def refusal(outcome: dict[str, Any] | LimitError, attempt: str, of: Limits) -> Text:
    """How an attempt ended, for its row. Raises UnenforceableError if it succeeded."""
    from rich.text import Text

    limits = {"oom": f"{of.memory >> 20} MiB of memory", "pids": f"{of.pids} processes"}
    if isinstance(outcome, LimitError):
        return Text.assemble((f"stopped: {outcome.reason}", "yellow"), f", at its {limits[outcome.reason]}")
    if not outcome.get("isError"):
        raise UnenforceableError(
            f"a sandbox was able to {attempt}",
            why=_text(outcome),
            hint="run nothing that you do not trust here, and see `bulkhead doctor`",
        )
    return Text(f"refused: {_text(outcome)}", "green")


def trace(console: Console) -> None:
    """What the last calls of two of the servers have cost, as `bulkhead trace` prints it."""
    from bulkhead.cli.trace import last_calls, trees
    from bulkhead.config.settings import state_path
    from bulkhead.trace_file import read_spans

    _heading(console, "Every call was traced; some of what `bulkhead trace` says now")
    spans = list(read_spans(state_path()))
    for name, count in (("time", 1), ("stranger", 3)):
        for tree in trees(last_calls(spans, name, count)):
            console.print(_inset(tree))


def after(console: Console) -> None:
    """What a person does next."""
    _heading(console, "Next")
    console.print("  Put bulkhead before what a host's configuration starts:\n")
    console.print('    -  "command": "npx", "args": ["-y", "PACKAGE"]', style="red")
    console.print('    +  "command": "bulkhead", "args": ["run", "--", "npx", "-y", "PACKAGE"]', style="green")
    console.print("\n  See also: bulkhead profile ls, tools filesystem, doctor, and run --help.")


def _heading(console: Console, text: str) -> None:
    console.print(f"\n{text}\n", style="bold")


def _grid(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="ellipsis", no_wrap=True, justify="right" if heading in _NUMBERS else "left")
    return table


_NUMBERS = {"uid", "memory", "processes", "ready", "took"}


def _inset(shown: RenderableType) -> Padding:
    from rich.padding import Padding

    return Padding(shown, (0, 0, 0, 2))


def _answer(server: str, result: dict[str, Any]) -> str:
    text = _text(result)
    shown = _SHOWN[server].search(text) if server in _SHOWN else None
    return (shown[1] if shown else text)[:_WIDEST]


def _text(result: dict[str, Any]) -> str:
    """A result's first text on one line."""
    texts = [item["text"] for item in result.get("content", []) if isinstance(item.get("text"), str)]
    return printable(" ".join("".join(texts[:1]).split()))
