"""A server that misbehaves on request, one tool a fault; the frames it breaks are in broken.py.

    python3 -m tests.servers.hostile [--start=hang|banner|crash|garbage|slow:SECONDS] [--legacy] [--stay]

--stay ignores SIGTERM and the end of stdin. The last tools are controls, which must work before and after a fault.
Only what a tool's docstring says goes wrong: what it does not answer itself is answered as any server would.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.servers import broken
from tests.servers.speaker import RpcError, Speaker, handshakes, is_modern, text

if TYPE_CHECKING:
    from collections.abc import Callable

MiB = 2**20
Arguments: TypeAlias = dict[str, Any]
Tool: TypeAlias = "Callable[[Speaker, Any, Arguments], dict[str, Any] | str | None]"
TOOLS: dict[str, Tool] = {}


def tool(function: Tool) -> Tool:
    """Puts a function into the list of tools: speaker, the call's id, its arguments; None if it answered itself."""
    TOOLS[function.__name__] = function
    return function


# Frames and JSON-RPC


@tool
def frame(speaker: Speaker, call_id: Any, args: Arguments) -> str | None:
    """A broken frame of broken.py: kind; live: it is the only answer to the call, else a proper one follows."""
    live = args.get("live", False)
    speaker.raw(broken.FRAMES[args["kind"]](call_id if live else "nobody-asked"))
    return None if live else "and a proper answer"


@tool
def beside(speaker: Speaker, call_id: Any, args: Arguments) -> None:
    """A broken answer that says another call's id inside: other."""
    speaker.raw(broken.beside(call_id, args["other"]))


@tool
def log_line(speaker: Speaker, call_id: Any, _args: Arguments) -> str:
    """A JSON log line on stdout which says the call's own id, as some loggers do."""
    speaker.raw(json.dumps({"level": "info", "id": call_id, "msg": "working"}).encode() + b"\n")
    return "logged"


@tool
def prefix(speaker: Speaker, call_id: Any, args: Arguments) -> None:
    """Text without a newline, and the answer right behind it."""
    speaker.raw(args.get("text", "Ready").encode() + broken.proper(call_id, "behind a prefix"))


@tool
def long_line(speaker: Speaker, call_id: Any, args: Arguments) -> str | None:
    """A line of size bytes, streamed; order "first" or "last" is where its id stands; live as in frame."""
    live, size = args.get("live", False), args["size"]
    answer_id = json.dumps(call_id if live else "nobody-asked").encode()
    first = args.get("order", "first") == "first"
    speaker.raw(b'{"jsonrpc":"2.0",' + (b'"id":%b,' % answer_id if first else b"") + b'"result":{"x":"')
    for _ in range(size // MiB):
        speaker.raw(b"x" * MiB)
    speaker.raw(b'"}' + (b"" if first else b',"id":%b' % answer_id) + (b"}\n" if args.get("newline", True) else b""))
    return None if live else "and a proper answer"


@tool
def twice(speaker: Speaker, call_id: Any, _args: Arguments) -> None:
    """Answers twice, differently."""
    speaker.raw(broken.proper(call_id, "first") + broken.proper(call_id, "second"))


@tool
def unasked(speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """Answers an id that nobody asked: id."""
    speaker.raw(broken.proper(args["id"], "unasked"))
    return "asked"


@tool
def drip(speaker: Speaker, call_id: Any, args: Arguments) -> None:
    """A proper answer, one byte at a time: seconds in all."""
    answer = broken.proper(call_id, "drip")
    for byte in answer:
        speaker.raw(bytes([byte]))
        time.sleep(args["seconds"] / len(answer))


# Life cycle


@tool
def crash(_speaker: Speaker, _call_id: Any, args: Arguments) -> None:
    """Ends with an exit code, and last words."""
    os.write(2, b"out of cheese\n")
    os._exit(args.get("code", 3))


@tool
def kill_self(_speaker: Speaker, _call_id: Any, _args: Arguments) -> None:
    """SIGKILL to itself."""
    os.kill(os.getpid(), signal.SIGKILL)


@tool
def hang(_speaker: Speaker, _call_id: Any, _args: Arguments) -> None:
    """Never answers."""


@tool
def daemon(speaker: Speaker, _call_id: Any, _args: Arguments) -> None:
    """Leaves a daemon that keeps stdin and stdout and goes on talking, and exits itself."""
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        speaker.notify("notifications/message", level="info", data="from the daemon")
        time.sleep(0.1)


@tool
def close_stdout(_speaker: Speaker, _call_id: Any, _args: Arguments) -> None:
    """Closes its stdout and lives on."""
    os.close(1)
    time.sleep(3600)


@tool
def zombies(_speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """Orphans count children that end: only an init reaps them."""
    for _ in range(args["count"]):
        if not (child := os.fork()):
            if not os.fork():
                os._exit(0)
            os._exit(0)
        os.waitpid(child, 0)
    deadline = time.monotonic() + 5
    while _processes() > 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    return str(_processes())


def _processes() -> int:
    return sum(entry.name.isdigit() for entry in Path("/proc").iterdir())


@tool
def fork_bomb(_speaker: Speaker, _call_id: Any, _args: Arguments) -> str:
    """Forks until it is refused, and keeps the children."""
    while True:
        try:
            child = os.fork()
        except OSError as error:
            return f"refused: {errno.errorcode[error.errno or 0]}"
        if not child:
            signal.pause()


@tool
def memory(_speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """Takes mib of memory: by itself, or in a child (which the kernel kills while the server lives on)."""
    if not args.get("child", False):
        _take(args["mib"])
        return "had it"
    code = f"from tests.servers.hostile import _take; _take({args['mib']})"
    child = subprocess.run([sys.executable, "-c", code], check=False)
    return f"child: {child.returncode}"


def _take(mib: int) -> None:
    held = mmap.mmap(-1, mib * MiB)
    for offset in range(0, mib * MiB, mmap.PAGESIZE):
        held[offset] = 1


@tool
def burn(_speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """Burns processors for seconds: processes of them at once."""
    end = time.monotonic() + args["seconds"]
    children = [os.fork() for _ in range(args.get("processes", 1) - 1)]
    while time.monotonic() < end:
        pass
    if 0 in children:
        os._exit(0)
    return "burnt"


@tool
def fill(_speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """Fills a file system (path) to its last byte, or with inodes = true to its last file; keeps it full."""
    folder, inodes, made = Path(args.get("path", "/tmp")), args.get("inodes", False), 0  # noqa: S108
    try:
        while made < 10**7:
            with (folder / f"fill-{made}").open("wb", buffering=0) as file:
                made += 1
                while not inodes:
                    file.write(b"x" * MiB)
    except OSError as error:
        return f"{errno.errorcode[error.errno or 0]} after {made} files"
    return f"never full: {made} files"


@tool
def descriptors(_speaker: Speaker, _call_id: Any, _args: Arguments) -> str:
    """Opens files until it is refused, says how many, and lets go of them."""
    held: list[int] = []
    try:
        while len(held) < 10**7:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return f"{errno.errorcode[error.errno or 0]} after {len(held)}"
    finally:
        for descriptor in held:
            os.close(descriptor)
    return f"never refused: {len(held)}"


@tool
def stderr_flood(_speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """Writes mib to stderr, with control characters and without a newline where newline is false."""
    line = b"\x1b[31mred\x1b[0m \x07 " * 50 + (b"\n" if args.get("newline", True) else b"")
    for _ in range(args["mib"] * MiB // len(line)):
        os.write(2, line)
    return "written"


# Results, and what a server starts by itself


@tool
def huge(_speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """A proper result of size bytes."""
    return "x" * int(args["size"])


@tool
def flood(speaker: Speaker, call_id: Any, args: Arguments) -> str:
    """count messages of one method, notifications or requests (ask), before the answer."""
    params = args.get("params", {})
    for number in range(args["count"]):
        wanted = {"id": f"flood-{call_id}-{number}"} if args.get("ask", False) else {}
        speaker.send(**wanted, method=args["method"], params=params)
    return "flooded"


@tool
def ask(speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """Asks the client one thing (method, params), and gives the whole answer as JSON."""
    return json.dumps(speaker.ask(args["method"], args["params"]))


# Controls


@tool
def echo(_speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """Its text back."""
    return str(args.get("text", ""))


@tool
def add(_speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """a + b."""
    return str(args["a"] + args["b"])


@tool
def env(_speaker: Speaker, _call_id: Any, _args: Arguments) -> str:
    """Its environment, as JSON."""
    return json.dumps(dict(os.environ))


@tool
def whoami(_speaker: Speaker, _call_id: Any, _args: Arguments) -> str:
    """/proc/self/status, as JSON."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return json.dumps({key: value.strip() for key, _, value in (line.partition(":") for line in lines)})


@tool
def client(speaker: Speaker, _call_id: Any, _args: Arguments) -> str:
    """What initialize said, as JSON."""
    return json.dumps(speaker.client)


@tool
def pid(_speaker: Speaker, _call_id: Any, _args: Arguments) -> str:
    """Its process id and the number of the sandbox's boot: another one after a restart."""
    return f"{os.getpid()} {_STARTED}"


@tool
def sleep(_speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """Answers after seconds."""
    time.sleep(args["seconds"])
    return "slept"


@tool
def connect(_speaker: Speaker, _call_id: Any, args: Arguments) -> str:
    """Connects to host and port; the error's name if it cannot."""
    try:
        with socket.create_connection((args["host"], args["port"]), timeout=2):
            return "connected"
    except OSError as error:
        return type(error).__name__


_STARTED = time.monotonic_ns()


def _list(_speaker: Speaker, _message: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object"}
    return {"tools": [{"name": n, "description": f.__doc__, "inputSchema": schema} for n, f in TOOLS.items()]}


def _initialized(speaker: Speaker, _message: dict[str, Any]) -> None:
    speaker.shaken = True


def _call(speaker: Speaker, message: dict[str, Any]) -> dict[str, Any] | None:
    params = message["params"]
    if not (speaker.shaken or is_modern(message)):
        raise RpcError(-32600, "a call before the handshake")
    if params["name"] not in TOOLS:
        raise RpcError(-32602, f"no tool {params['name']}")
    result = TOOLS[params["name"]](speaker, message["id"], params.get("arguments", {}))
    return text(result) if isinstance(result, str) else result


def _start(speaker: Speaker, how: str, argument: str) -> None:
    match how:
        case "hang":
            threading.Event().wait()
        case "crash":
            os.write(2, b"cannot find my configuration\n")
            os._exit(3)
        case "banner":
            speaker.raw(b"Welcome!\nServer 1.0 listening on stdio\n" + broken.LOG_LINE)
        case "garbage":
            speaker.raw(bytes(range(256)) * 64 + b"\n")
        case "slow":
            time.sleep(float(argument))
        case _:
            raise SystemExit(f"no start {how}")


def main(arguments: list[str]) -> None:
    """Serves until the end of stdin, or for ever with --stay."""
    stay, speaker = "--stay" in arguments, Speaker()
    if stay:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for argument in arguments:
        if argument.startswith("--start="):
            how, _, value = argument.removeprefix("--start=").partition(":")
            _start(speaker, how, value)
    capabilities = {"tools": {"listChanged": True}, "logging": {}}
    shakes = handshakes("hostile", capabilities, modern="--legacy" not in arguments)
    speaker.serve(shakes | {"tools/list": _list, "tools/call": _call, "notifications/initialized": _initialized})
    if stay:
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
