"""exec:["command","argument"] - what a program prints: a JSON list, its argv, without a shell.

The third place that may start processes, with engines/ and supply/: these programs are the person's own. Examples:

    exec:["op","read","op://vault/item/field"]
    exec:["pass","show","name"]
    exec:["sh","-c","printf 'protocol=https\\nhost=github.com\\n' | git credential fill"]

Rules: stdin is empty, the environment is the runner's own, and there is no terminal; a program that asks the person
needs a window of its own. One newline at the end is no part of the value; of what git's helpers print, the value is the
password. What it leaves running when it ends goes on (an agent, a cache); one that is late ends with its children.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from bulkhead.credentials.base import MOST, Fetched, checked, late, place, unavailable, without_newline

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 30.0  # it may ask the person
_PIPE = 2**20  # bytes; no pipe holds more
_TAIL = 4096  # bytes of stderr that are kept
_TOLD = 200  # characters of stderr that are told
_HIDDEN = 4  # characters in a row that stand in stdout too are not told
# git-credential(1), without "[]".
_GIT = {
    *(b"protocol", b"host", b"path", b"username", b"password", b"password_expiry_utc", b"oauth_refresh_token", b"url"),
    *(b"capability", b"authtype", b"credential", b"ephemeral", b"state", b"continue", b"wwwauth", b"quit"),
}


@dataclass(frozen=True, slots=True)
class ExecProvider:
    """See base.Provider. timeout: seconds."""

    source: str
    timeout: float = TIMEOUT

    def fetch(self) -> Fetched:
        output = self._output()
        git = _pairs_of_git(output)
        value = git.get(b"password", without_newline(output))
        return Fetched(checked(value, self.source), self._seconds(git.get(b"password_expiry_utc", b"")))

    def _seconds(self, expiry: bytes) -> float | None:
        if not expiry.isdigit():
            return None
        seconds = int(expiry) - time.time()
        if seconds <= 0:
            raise unavailable(self.source, "it has expired", "renew it where the program has it from")
        return seconds

    def _output(self) -> bytes:
        with self._started() as process:
            try:
                output, errors = self._heard(process)
            except BaseException:
                _kill(process)
                raise
        if process.returncode:
            raise unavailable(self.source, _ending(process.returncode, errors, output), "run it in a shell to see why")
        return output

    def _started(self) -> subprocess.Popen[bytes]:
        argv = json.loads(place(self.source))
        try:
            return subprocess.Popen(  # noqa: S603 - what the profile names is what is meant
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            why = f"it cannot be started: {error.strerror}"
            raise unavailable(self.source, why, "install the program, or write its whole path") from None

    def _heard(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        """stdout, and the end of stderr, until the program has ended, whatever its children keep open."""
        end, gone = time.monotonic() + self.timeout, os.pidfd_open(process.pid)
        output, errors, ended = bytearray(), bytearray(), False
        try:
            with _watched(gone, {process.stdout: output, process.stderr: errors}) as selector:
                while not ended:
                    ready = selector.select(max(0.0, end - time.monotonic()))
                    if not ready or time.monotonic() > end:
                        raise late(self.source, self.timeout)
                    ended = any(key.fd == gone for key, _ in ready)
                    _read(selector)
                    del errors[:-_TAIL]
                    self._bound(output)
        finally:
            os.close(gone)
        return bytes(output), bytes(errors)

    def _bound(self, output: bytearray) -> None:
        if len(output) > MOST + len(b"\r\n"):
            raise unavailable(self.source, f"it printed more than {MOST // 1024} KiB", "let it print the value alone")


def _watched(gone: int, pipes: Mapping[IO[bytes] | None, bytearray]) -> selectors.BaseSelector:
    selector = selectors.DefaultSelector()
    selector.register(gone, selectors.EVENT_READ)
    for pipe, into in pipes.items():
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, into)
    return selector


def _read(selector: selectors.BaseSelector) -> None:
    """Once from each pipe: what a program wrote before it ended is in there at once."""
    for key in [key for key in selector.get_map().values() if key.data is not None]:
        try:
            data = os.read(key.fd, _PIPE)
        except BlockingIOError:
            continue
        key.data.extend(data)
        if not data:
            selector.unregister(key.fileobj)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With its children: it leads a group of its own, and is not waited for yet, so its id is nobody else's."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _pairs_of_git(output: bytes) -> dict[bytes, bytes]:
    """The attributes of git's credential protocol, if that is what it is: a password, and at least one more."""
    pairs = [line.removesuffix(b"\r").partition(b"=") for line in output.strip(b"\r\n").split(b"\n")]
    found = {key: value for key, equals, value in pairs if equals}
    known = len(pairs) > 1 and all(equals and key.removesuffix(b"[]") in _GIT for key, equals, _ in pairs)
    return found if known and b"password" in found else {}


def _ending(code: int, errors: bytes, output: bytes) -> str:
    ended = f"it ended with exit code {code}" if code > 0 else f"it was ended by signal {-code}"
    lines = [text for line in errors.decode(errors="replace").splitlines() if (text := _printable(line).strip())]
    told = _without(lines[-1], _printable(output.decode(errors="replace")).strip())[:_TOLD] if lines else ""
    return f"{ended}: {told}" if told else ended


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())


def _without(line: str, output: str) -> str:
    """The line without what stands in the output too, which may be the value."""
    size = min(_HIDDEN, len(output))
    starts = [start for start in range(len(line) - size + 1) if size and line[start : start + size] in output]
    hidden = {place for start in starts for place in range(start, start + size)}
    return "".join(char for place, char in enumerate(line) if place not in hidden)
