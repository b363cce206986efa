"""One MCP session over a process's pipes, as raw frames: what is measured is the way between, not a client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LEAVE = 10.0
_CHUNK = 2**20
_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}


class Session:
    """A command that speaks MCP on stdio. As a context it ends with stdin's end, as a host ends it.

    env: variables that it gets beside this process's own.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] = MappingProxyType({})) -> None:
        self._errors = TemporaryFile()  # noqa: SIM115 - __exit__ closes it; a pipe would have to be read
        self._started = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env={**os.environ, **env},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout.fileno()
        self._rest = b""
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stdin.close()
        try:
            self.process.wait(_LEAVE)
        except subprocess.TimeoutExpired:
            self._fail(f"outlived its stdin by {_LEAVE:.0f} s")
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()

    def open(self) -> float:
        """The handshake and tools/list, as a host does it; seconds from the process's start to the list."""
        self.ask("initialize", _HELLO)
        self._write(_frame({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        tools = self.ask("tools/list", {})
        elapsed = time.perf_counter() - self._started
        if not tools["tools"]:
            self._fail("has no tools")
        return elapsed

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request's result; what else the server says meanwhile is left out."""
        self._last_id += 1
        self._write(_frame({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}))
        while (message := json.loads(self._line())).get("id") != self._last_id:
            pass
        if "result" not in message:
            self._fail(f"answered {message}")
        return dict(message["result"])

    def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """The value of a call whose text is JSON."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            self._fail(f"answered {result}")
        return json.loads(result["content"][0]["text"])

    def echo(self, text: str) -> float:
        """One call of the bench's server; seconds from the first byte written to the last one read."""
        self._last_id += 1
        params = {"name": "echo", "arguments": {"text": text}}
        frame = _frame({"jsonrpc": "2.0", "id": self._last_id, "method": "tools/call", "params": params})
        before = time.perf_counter()
        self._write(frame)
        line = self._line()
        elapsed = time.perf_counter() - before
        message = json.loads(line)
        if message.get("id") != self._last_id or message["result"]["content"][0]["text"] != text:
            self._fail(f"answered {line[:200]!r}")
        return elapsed

    def _write(self, frame: bytes) -> None:
        view = memoryview(frame)
        try:
            while view:
                view = view[self._stdin.write(view) or 0 :]
        except BrokenPipeError:
            self._fail(f"ended with {self.process.wait()}")

    def _fail(self, what: str) -> NoReturn:
        self._errors.seek(0)
        said = self._errors.read()[-2000:].decode(errors="replace")
        sys.exit(f"{self.process.args!r} {what}\n{said}")

    def _line(self) -> bytes:
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            data = os.read(self._stdout, _CHUNK)
            if not data:
                self._fail(f"ended with {self.process.wait()}")
            parts.append(data)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line


def _frame(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
