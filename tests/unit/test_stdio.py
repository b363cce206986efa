"""stdio.py in a process of its own, with every kind of stdin and stdout that a host may give."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

COPY = Path(__file__).with_name("stdio_copy.py")
LARGE = bytes(range(256)) * 2**15  # 8 MiB
HELD = 3 * 2**20  # more than what may lie in the runner and the kernel together


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(closing: ExitStack, stdin: Any, stdout: Any, seconds: float = 20, shell: str = "") -> subprocess.Popen[bytes]:
    command = [sys.executable, str(COPY), str(seconds)]
    if shell:
        command = ["sh", "-c", f'exec "$@" {shell}', "sh", *command]
    process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    closing.callback(end, process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def sockets(closing: ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    closing.callback(ours.close)
    closing.callback(theirs.close)
    return ours, theirs


def said(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    return process.stderr.read().decode().removeprefix("ready\n")


def ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    assert process.stderr.readline() == b"ready\n"


def fill(descriptor: int, data: bytes) -> int:
    """Writes until nothing is taken for a while; how much was taken."""
    os.set_blocking(descriptor, False)
    taken = 0
    while taken < len(data) and select.select([], [descriptor], [], 0.5)[1]:
        taken += os.write(descriptor, data[taken : taken + 2**16])
    os.set_blocking(descriptor, True)
    return taken


def write_rest(stream: IO[bytes] | socket.socket, data: bytes) -> threading.Thread:
    def write() -> None:
        if isinstance(stream, socket.socket):
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
        else:
            stream.write(data)
            stream.close()

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def read_all(descriptor: int) -> bytes:
    return b"".join(iter(lambda: os.read(descriptor, 2**16), b""))


def test_pipes_with_a_slow_reader_hold_little_and_lose_nothing(closing: ExitStack) -> None:
    process = start(closing, subprocess.PIPE, subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    ready(process)
    taken = fill(process.stdin.fileno(), LARGE)
    assert 0 < taken < HELD
    thread = write_rest(process.stdin, LARGE[taken:])
    assert read_all(process.stdout.fileno()) == LARGE
    thread.join()
    assert said(process) == "EndOfStream"


def test_unix_sockets_with_a_slow_reader(closing: ExitStack) -> None:
    (ours_in, theirs_in), (ours_out, theirs_out) = sockets(closing), sockets(closing)
    process = start(closing, theirs_in, theirs_out)
    theirs_in.close()
    theirs_out.close()
    ready(process)
    taken = fill(ours_in.fileno(), LARGE)
    assert 0 < taken < HELD
    thread = write_rest(ours_in, LARGE[taken:])
    assert read_all(ours_out.fileno()) == LARGE
    thread.join()
    assert said(process) == "EndOfStream"


def test_one_socket_for_both(closing: ExitStack) -> None:
    """As inetd, systemd and socat give it: what comes in on it is no sign that the other side is gone."""
    ours, theirs = sockets(closing)
    process = start(closing, theirs, theirs)
    theirs.close()
    ready(process)
    for round_ in range(50):
        ours.sendall(b"%d\n" % round_)
        assert ours.recv(2**16) == b"%d\n" % round_
    thread = write_rest(ours, LARGE)
    assert read_all(ours.fileno()) == LARGE
    thread.join()
    assert said(process) == "EndOfStream"


def test_a_file_in_and_a_file_out(closing: ExitStack, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(LARGE)
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        assert said(start(closing, stdin, stdout)) == "EndOfStream"
    assert (tmp_path / "out").read_bytes() == LARGE


def test_nothing_in_and_nothing_out(closing: ExitStack) -> None:
    assert said(start(closing, subprocess.DEVNULL, subprocess.DEVNULL)) == "EndOfStream"


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_host_that_reads_no_more(closing: ExitStack, kind: str) -> None:
    ours, theirs = sockets(closing)
    process = start(closing, subprocess.PIPE, theirs if kind == "socket" else subprocess.PIPE)
    ready(process)
    theirs.close()
    ours.close()
    if process.stdout is not None:
        process.stdout.close()
    assert process.stdin is not None
    process.stdin.write(b"x" * 1000)
    process.stdin.flush()
    assert said(process) == "BrokenResourceError"


def test_a_host_that_dies_with_bytes_unread(closing: ExitStack) -> None:
    """A unix socket that is closed with bytes in its buffer resets the other end."""
    ours, theirs = sockets(closing)
    process = start(closing, theirs, theirs)
    theirs.close()
    ready(process)
    ours.sendall(b"x" * 1000)
    assert select.select([ours], [], [], 20)[0]
    ours.close()
    assert said(process) in ("BrokenResourceError", "EndOfStream")


@pytest.mark.parametrize("redirect", ["<&-", ">&-"])
def test_a_closed_descriptor_is_told(closing: ExitStack, redirect: str) -> None:
    process = start(closing, subprocess.DEVNULL, subprocess.DEVNULL, shell=redirect)
    name = "stdin" if redirect == "<&-" else "stdout"
    assert said(process) == f"refused with 2: {name} is closed"


def test_a_terminal_holds_nobody_back_at_the_end(closing: ExitStack) -> None:
    """Nobody types: the process ends all the same, and the terminal is as the shell left it."""
    ours, theirs = pty.openpty()
    closing.callback(os.close, ours)
    closing.callback(os.close, theirs)
    process = start(closing, theirs, theirs, seconds=1)
    ready(process)
    os.write(ours, b"typed\n")
    assert b"typed" in os.read(ours, 100)
    began = time.monotonic()
    assert said(process) == "out of time"
    assert process.wait(10) == 0
    assert time.monotonic() - began < 5
    assert os.get_blocking(theirs)
