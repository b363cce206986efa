"""The runner's own stdin and stdout as byte streams, without a thread where the kernel can poll them.

A host gives pipes (Python's SDK) or unix sockets (Node's). A file or /dev/null cannot be polled, so it takes a thread.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

if TYPE_CHECKING:
    from typing import BinaryIO

# Bytes a read: a pipe's whole capacity, so that a large frame costs few wake-ups.
_CHUNK = 2**16
_HIGH_WATER = 2**20


class _PipeReader(ByteReceiveStream):
    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def receive(self, max_bytes: int = _CHUNK) -> bytes:
        data = await self._reader.read(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    async def aclose(self) -> None:
        self._reader.feed_eof()


class _PipeWriter(ByteSendStream):
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, item: bytes) -> None:
        if self._writer.is_closing():
            raise anyio.BrokenResourceError
        self._writer.write(item)
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        self._writer.close()


class _FileReader(ByteReceiveStream):
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    async def receive(self, max_bytes: int = _CHUNK) -> bytes:
        data = await anyio.to_thread.run_sync(os.read, self._file.fileno(), max_bytes, abandon_on_cancel=True)
        if not data:
            raise anyio.EndOfStream
        return data

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


def _pollable(file: BinaryIO) -> bool:
    mode = os.fstat(file.fileno()).st_mode
    # Not a terminal: polling sets O_NONBLOCK on what the shell goes on using.
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def open_stdin() -> ByteReceiveStream:
    """Standard input; EndOfStream once the host has closed it."""
    file = sys.stdin.buffer
    if not _pollable(file):
        return _FileReader(file)
    reader = asyncio.StreamReader(limit=_CHUNK)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)
    return _PipeReader(reader)


async def open_stdout() -> ByteSendStream:
    """Standard output; BrokenResourceError once the host reads no more."""
    file = sys.stdout.buffer
    if not _pollable(file):
        return _FileWriter(file)
    loop = asyncio.get_running_loop()
    # StreamReaderProtocol is asyncio's public protocol that implements drain(); its reader stays empty.
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, file)
    transport.set_write_buffer_limits(high=_HIGH_WATER)
    return _PipeWriter(asyncio.StreamWriter(transport, protocol, None, loop))
