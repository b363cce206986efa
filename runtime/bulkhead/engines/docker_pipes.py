"""stdin and stdout of a container as named pipes of this machine, where the daemon is on it too: see docs/design.md.

Docker carries each byte through its daemon and a shim, which costs a call more time than all that Bulkhead does. So a
shell in the container opens two named pipes and becomes the server. Rules:
- the shell's empty line says that it has opened both. Until then the runner holds the other ends as well: a pipe is
  neither broken nor at its end before the server could have it.
- afterwards the kernel's own rules hold: a full pipe makes its writer wait, and a closed end is seen.
- secrets that the server is to have come first on stdin, for the shell, which reads not a byte more: the engine sees
  none of it, and no process has it among its arguments.
docker_stream.py reads and writes them; nothing here needs an event loop.
"""

from __future__ import annotations

import os
import shlex
from fcntl import F_SETPIPE_SZ, fcntl
from typing import TYPE_CHECKING, NamedTuple

from bulkhead.engines.hardening import SECRETS
from bulkhead.errors import UnenforceableError

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.engines.hardening import Plan

FOLDER = "/run/stdio"
# Lines until an empty one are the shell's. dash exports a PWD, which the server's environment does not have.
_SHELL = f"""
exec <{FOLDER}/in >{FOLDER}/out
while IFS= read -r line && [ "$line" ]; do eval "$line"; done
unset line PWD
echo
exec "$@"
"""
_READ, _WRITE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
# What a pipe takes by itself, and what the kernel lets everybody ask for.
_PIPE, _LARGEST = 2**16, 2**20


class Pipes(NamedTuple):
    """Descriptors: those to write stdin and to read stdout, and what is held until the container has its own ends."""

    stdin: int
    stdout: int
    held: tuple[int, ...]

    def close(self) -> None:
        for descriptor in (self.stdin, self.stdout, *self.held):
            os.close(descriptor)


def through_pipes(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command that opens the pipes, says so, and becomes command."""
    return ("/bin/sh", "-c", _SHELL, "sh", *command)


def make_pipes(folder: Path, plan: Plan) -> Pipes:
    """What is to stand at FOLDER in the container, whose user is another and may only do what it has to."""
    folder.mkdir(mode=0o755)
    for name, mode in (("in", 0o644), ("out", 0o622)):
        os.mkfifo(folder / name)
        (folder / name).chmod(mode)  # mkfifo's own obeys the umask; who may get here is the parent folder's to say
    stdin_held = os.open(folder / "in", _READ)  # a writer can only be opened after a reader
    stdout = os.open(folder / "out", _READ)
    pipes = Pipes(os.open(folder / "in", _WRITE), stdout, (stdin_held, os.open(folder / "out", _WRITE)))
    _fill(pipes, _script(plan))
    return pipes


def _script(plan: Plan) -> bytes:
    lines = [
        f"{name}=$(printf %bx {_quoted(value)}); export {name}=${{{name}%x}}" for name, value in plan.variables.items()
    ]
    lines += [f"(umask 377; printf %b {_quoted(value)} >{SECRETS}/{name})" for name, value in plan.files.items()]
    return "".join(f"{line}\n" for line in (*lines, "")).encode("ascii")


def _quoted(value: bytes) -> str:
    """As an argument of printf %b, on one line: $() takes newlines off the end, and read ends at one."""
    plain = (chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\0{byte:03o}" for byte in value)
    return shlex.quote("".join(plain))


def _fill(pipes: Pipes, script: bytes) -> None:
    try:
        if len(script) > _PIPE:
            fcntl(pipes.stdin, F_SETPIPE_SZ, _LARGEST)
        if os.write(pipes.stdin, script) < len(script):
            raise UnenforceableError("the secrets of a server are too large", why=f"together over {_LARGEST} bytes")
    except BaseException:
        pipes.close()
        raise
