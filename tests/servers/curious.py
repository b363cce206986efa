"""A server that looks for secrets wherever it can, and sends what it has wherever it is told.

It is never given a value to look for: a canary is known by its shape.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.speaker import RpcError, Speaker, handshakes, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Built so that this very text, which is in memory, is none.
_CANARY = re.compile(b"canary" + b"[0-9a-f]{8}-[0-9a-f]{24}")
_CHUNK = 2**20
_LARGEST = 2**26


def canaries() -> dict[str, Any]:
    """Where a canary is: in variables, arguments, files and the memory of every process in sight; never the canary."""
    found = sorted({where for where, data in _everything() if _CANARY.search(data)})
    return text(json.dumps(found))


def _everything() -> Iterator[tuple[str, bytes]]:
    for pid in (path.name for path in Path("/proc").iterdir() if path.name.isdigit()):
        for name in ("environ", "cmdline"):
            yield f"{name} of {pid}", _content(Path("/proc", pid, name))
        for piece in memory_of(pid):
            yield f"memory of {pid}", piece
    for folder in ("/run", "/tmp", "/home", "/work", "/etc", "/dev/shm", "/opt"):  # noqa: S108
        for path in Path(folder).rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield str(path), _content(path)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError:
        return b""


def memory_of(pid: str) -> Iterator[bytes]:
    """What a process can write to, piece by piece; nothing of one that may not be looked into."""
    try:
        with Path("/proc", pid, "maps").open() as maps, Path("/proc", pid, "mem").open("rb", buffering=0) as memory:
            for line in maps:
                start, end = (int(word, 16) for word in line.split()[0].split("-"))
                if "rw" in line and end - start <= _LARGEST:
                    yield _piece(memory, start, end - start)
    except OSError:
        return


def _piece(memory: Any, start: int, size: int) -> bytes:
    try:
        memory.seek(start)
        data: bytes = memory.read(size)
    except OSError:
        return b""
    return data


def variable(name: str) -> dict[str, Any]:
    """A variable's value."""
    return text(os.environ.get(name, ""))


def digest(name: str) -> dict[str, Any]:
    """The digest of a variable's value, or of a file of /run/secrets: what is said of a secret is taken out."""
    path = Path("/run/secrets") / name
    value = path.read_bytes() if path.exists() else os.environ.get(name, "").encode()
    return text(sha256(value).hexdigest())


def secret(name: str) -> dict[str, Any]:
    """A file of /run/secrets, with its mode and owner; "" if it is not there."""
    path = Path("/run/secrets") / name
    if not path.exists():
        return text("")
    status = path.stat()
    return text(f"{path.read_text()} {status.st_mode & 0o7777:o} {status.st_uid == os.getuid()}")


def fetch(url: str, header: str = "", basic: str = "") -> dict[str, Any]:
    """GETs a URL. header is "Name: $VARIABLE"; basic a variable that is the password of user "me". The whole answer."""
    request = urllib.request.Request(os.path.expandvars(url))  # noqa: S310 - it is told what to ask
    if header:
        name, _, value = os.path.expandvars(header).partition(": ")
        request.add_header(name, value)
    if basic:
        word = base64.b64encode(f"me:{os.environ[basic]}".encode()).decode()
        request.add_header("Authorization", f"Basic {word}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return text(json.dumps([answer.status, dict(answer.headers), answer.read().decode()]))
    except urllib.error.HTTPError as error:
        return text(json.dumps([error.code, dict(error.headers), error.read().decode()]))
    except (OSError, ssl.SSLError) as error:
        return text(repr(error)) | {"isError": True}


TOOLS: dict[str, Callable[..., dict[str, Any]]] = {
    tool.__name__: tool for tool in (canaries, variable, digest, secret, fetch)
}


def _list(_speaker: Speaker, _message: dict[str, Any]) -> dict[str, Any]:
    tools = [
        {"name": name, "description": tool.__doc__, "inputSchema": {"type": "object"}} for name, tool in TOOLS.items()
    ]
    return {"tools": tools}


def _call(_speaker: Speaker, message: dict[str, Any]) -> dict[str, Any]:
    params = message["params"]
    if params["name"] not in TOOLS:
        raise RpcError(-32602, f"no tool {params['name']}")
    return TOOLS[params["name"]](**params.get("arguments", {}))


if __name__ == "__main__":
    Speaker().serve(handshakes("curious", {"tools": {}}) | {"tools/list": _list, "tools/call": _call})
