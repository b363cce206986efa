"""stdin and stdout of a container as named pipes of this machine, where the daemon is on it too: see docs/design.md.

Docker carries each byte through its daemon and a shim, which costs a call more time than all that Bulkhead does. So a
shell in the container opens two named pipes and becomes the server. Rules:
- the shell's empty line says that it has opened both. Until then the runner holds the other ends as well: a pipe is
  neither broken nor at its end before the server could have it.
- afterwards the kernel's own rules hold: a full pipe makes its writer wait, and a closed end is seen.
docker_stream.py reads and writes them; nothing here needs an event loop.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "/run/stdio"
# dash exports a PWD, which the server's environment does not have.
_SHELL = f'exec <{FOLDER}/in >{FOLDER}/out; unset PWD; echo; exec "$@"'
_READ, _WRITE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC


class Pipes(NamedTuple):
    """Descriptors: those to write stdin and to read stdout, and the other end of each."""

    stdin: int
    stdout: int
    stdin_held: int
    stdout_held: int

    def close(self) -> None:
        for descriptor in self:
            os.close(descriptor)


def through_pipes(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command that opens the pipes, says so, and becomes command."""
    return ("/bin/sh", "-c", _SHELL, "sh", *command)


def make_pipes(folder: Path) -> None:
    """What is to stand at FOLDER in the container, whose user is another and reads one and writes the other."""
    folder.mkdir(mode=0o755)
    for name, mode in (("in", 0o644), ("out", 0o622)):
        os.mkfifo(folder / name)
        (folder / name).chmod(mode)  # mkfifo's own obeys the umask; who may get here is the parent folder's to say


def open_pipes(folder: Path) -> Pipes:
    """Both ends of each; a writer can only be opened after a reader."""
    stdin_held = os.open(folder / "in", _READ)
    stdout = os.open(folder / "out", _READ)
    return Pipes(os.open(folder / "in", _WRITE), stdout, stdin_held, os.open(folder / "out", _WRITE))
