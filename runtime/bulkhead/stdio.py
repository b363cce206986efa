"""The runner's own stdin and stdout as byte streams.

A host gives pipes (Python's SDK), unix sockets (Node's), or one socket for both (inetd, socat). What was sent has left
the process: nothing is lost when it ends. A terminal is never made non-blocking: the shell goes on using it. Reading
takes no thread, because one that waits for a terminal would hold the process back at its end.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, TextIO

import anyio
import anyio.lowlevel
from anyio.abc import ByteReceiveStream, ByteSendStream

from bulkhead.errors import UsageError
from bulkhead.inflow import CHUNK, PolledReader

if TYPE_CHECKING:
    from typing import BinaryIO


class _FileReader(ByteReceiveStream):
    """A regular file or /dev/null is always readable, and epoll refuses it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        await anyio.lowlevel.checkpoint()
        try:
            data = os.read(self._descriptor, max_bytes)
        except OSError as error:
            raise anyio.BrokenResourceError from error
        if not data:
            raise anyio.EndOfStream
        return data

    async def aclose(self) -> None:
        """The descriptor is the process's own, and stays."""


class _PipeWriter(ByteSendStream):
    """Not asyncio's: it closes a socket on which something comes in, and keeps what it was given in a buffer."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def send(self, item: bytes) -> None:
        rest = memoryview(item)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._descriptor)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        """The descriptor is the process's own, and stays."""


class _FileWriter(ByteSendStream):
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    async def send(self, item: bytes) -> None:
        try:
            await anyio.to_thread.run_sync(self._write, item)
        except OSError as error:
            raise anyio.BrokenResourceError from error

    def _write(self, item: bytes) -> None:
        self._file.write(item)
        self._file.flush()

    async def aclose(self) -> None:
        """The descriptor is the process's own, and stays."""


def _opened(stream: TextIO | None, name: str) -> BinaryIO:
    # Python has None for a descriptor that was closed at its start; the number may be another file's by now.
    if stream is None:
        raise UsageError(f"{name} is closed", why="a host speaks MCP on stdin and stdout", hint="leave both open")
    return stream.buffer


def _pollable(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def open_stdin() -> ByteReceiveStream:
    """Standard input; EndOfStream once the host has closed it. Raises UsageError if there is none."""
    descriptor = _opened(sys.stdin, "stdin").fileno()
    polled = _pollable(descriptor) or os.isatty(descriptor)
    return PolledReader(descriptor) if polled else _FileReader(descriptor)


async def open_stdout() -> ByteSendStream:
    """Standard output; BrokenResourceError once the host reads no more. Raises UsageError if there is none."""
    file = _opened(sys.stdout, "stdout")
    if not _pollable(file.fileno()):
        return _FileWriter(file)
    os.set_blocking(file.fileno(), False)
    return _PipeWriter(file.fileno())
