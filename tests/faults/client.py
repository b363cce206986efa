"""A host that speaks raw frames: it can say anything, and hears every byte that the runner says.

Every wait has a deadline and fails with what was heard so far. Stdout must hold whole JSON frames only; a line that is
none fails the next wait.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Frame: TypeAlias = dict[str, Any]
RESERVED = range(-32768, -31999)
_SHOWN = 2000


class Host:
    """One run of a runner with its stdio in our hands; name is its profile's, state a folder for what it leaves."""

    def __init__(self, command: Sequence[str], *, name: str, state: Path) -> None:
        self.name = name
        pipe, env = subprocess.PIPE, os.environ | {"XDG_STATE_HOME": str(state)}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=env)
        self.frames: list[Frame] = []
        self.noise: list[bytes] = []
        self.stderr = b""
        self.asked: list[Any] = []
        self._ids = itertools.count(1)
        self._news = threading.Condition()
        self._reading = threading.Event()
        self._reading.set()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._read, self._read_stderr)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._reading.wait()
            with self._news:
                self._hear(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _hear(self, line: bytes) -> None:
        try:
            frame = json.loads(line, parse_constant=_refuse)
        except ValueError:
            self.noise.append(line)
        else:
            self.frames.append(frame)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.stderr += line

    # What it says

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, **members: Any) -> None:
        """One frame."""
        self.raw(json.dumps({"jsonrpc": "2.0"} | members).encode() + b"\n")

    def ask(self, method: str, params: dict[str, Any] | None = None) -> int:
        """A request; its id."""
        request_id = next(self._ids)
        self.asked.append(request_id)
        self.send(id=request_id, method=method, params=params or {})
        return request_id

    def start(self, tool: str, **arguments: Any) -> int:
        """A tool call whose answer is awaited later; its id."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def call(self, tool: str, within: float = 15, **arguments: Any) -> Frame:
        """A tool call and its whole answer."""
        return self.answer(self.start(tool, **arguments), within)

    def text(self, tool: str, **arguments: Any) -> str:
        """A tool call that must succeed; the text of its result."""
        return said(self.call(tool, **arguments))

    def shake(self, version: str = "2025-11-25", capabilities: dict[str, Any] | None = None) -> Frame:
        """The legacy handshake; the server's result."""
        params = {"protocolVersion": version, "capabilities": capabilities or {}}
        params["clientInfo"] = {"name": "raw", "version": "1"}
        answer = self.answer(self.ask("initialize", params), 30)
        assert "result" in answer, (answer, self.stderr)
        self.send(method="notifications/initialized")
        result: Frame = answer["result"]
        return result

    # What it hears

    def wait_for(self, wanted: Callable[[Frame], bool], within: float = 15) -> Frame:
        """The first frame, of all that were ever heard, that is wanted."""
        deadline, checked = time.monotonic() + within, 0
        with self._news:
            while True:
                for frame in self.frames[checked:]:
                    if wanted(frame):
                        return frame
                checked = len(self.frames)
                assert not self.noise, f"not MCP on stdout: {self.noise[0][:_SHOWN]!r}"
                left = deadline - time.monotonic()
                ended = not self._threads[0].is_alive()
                assert not ended, f"the runner ended with {self.process.poll()}; {self._heard()}"
                assert left > 0, f"nothing after {within} s; {self._heard()}"
                self._news.wait(min(left, 0.5))

    def _heard(self) -> str:
        return f"heard {self.frames[-5:]!r}"[:_SHOWN] + f"; stderr {self.stderr[-_SHOWN:]!r}"

    def answer(self, request_id: Any, within: float = 15) -> Frame:
        """The answer to one request."""
        return self.wait_for(lambda frame: "method" not in frame and frame["id"] == request_id, within)

    def answers(self, request_id: Any) -> list[Frame]:
        """All answers so far to one id."""
        return [frame for frame in self.frames if "method" not in frame and frame.get("id") == request_id]

    def strays(self) -> list[Frame]:
        """Answers to what was never asked, and second answers."""
        heard = [frame for frame in self.frames if "method" not in frame]
        once = {request_id: self.answers(request_id)[:1] for request_id in self.asked}
        return [frame for frame in heard if not any(frame is good for good in once.get(frame["id"], []))]

    def pause(self) -> None:
        """Reads nothing more from the runner until resume()."""
        self._reading.clear()

    def resume(self) -> None:
        """Goes on reading."""
        self._reading.set()

    def deaf(self) -> None:
        """Closes the reading end of the runner's stdout."""
        assert self.process.stdout is not None
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, self.process.stdout.fileno())
        os.close(nothing)

    # Its runner

    def peak_mib(self) -> float:
        """The largest resident memory that the runner ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def end_input(self) -> None:
        """The host's way to say that it is done."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self, within: float) -> int:
        """The runner's exit code."""
        return self.process.wait(within)

    def close(self) -> None:
        """Ends the runner, whatever state it is in."""
        self.resume()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def said(answer: Frame) -> str:
    """The text of a tool's result that must be there."""
    assert "result" in answer, answer
    text = answer["result"]["content"][0]["text"]
    assert isinstance(text, str)
    return text


def reason(answer: Frame) -> str:
    """The stable word of an error of ours."""
    assert "error" in answer, answer
    error = answer["error"]
    assert error["code"] not in RESERVED, error
    assert isinstance(error["message"], str)
    word = error["data"]["reason"]
    assert isinstance(word, str)
    return word


def why(answer: Frame) -> str:
    """What an error of ours says besides its word: cause and advice."""
    data = answer["error"]["data"]
    return f"{data.get('why', '')} {data.get('hint', '')}"
