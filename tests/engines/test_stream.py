"""The attach socket's demultiplexer, against a peer that is a plain socket: no engine takes part."""

from __future__ import annotations

import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from bulkhead.engines.docker_stream import RING, Attachment
from bulkhead.inflow import HIGH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">B3xL", stream, len(data)) + data


@contextmanager
def attached() -> Iterator[tuple[Attachment, socket.socket]]:
    ours, daemon = socket.socketpair()
    attachment = Attachment(ours)
    with daemon:
        yield attachment, daemon
        attachment.close()


def run(test: Callable[[Attachment, socket.socket], Awaitable[None]]) -> None:
    async def main() -> None:
        with anyio.fail_after(20), attached() as (attachment, daemon):
            await test(attachment, daemon)

    anyio.run(main)


async def everything(attachment: Attachment) -> tuple[bytes, bytes]:
    out = b"".join([chunk async for chunk in attachment.stdout])
    err = b"".join([chunk async for chunk in attachment.stderr])
    return out, err


def test_frames_cut_anywhere() -> None:
    data = frame(1, b"hello ") + frame(2, b"warning") + frame(1, b"") + frame(3, b"!") + frame(1, b"world")

    async def test(attachment: Attachment, daemon: socket.socket) -> None:
        for at in range(len(data)):
            daemon.send(data[at : at + 1])
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
        daemon.shutdown(socket.SHUT_WR)
        assert await everything(attachment) == (b"hello world", b"warning!")

    run(test)


def test_many_frames_at_once() -> None:
    async def test(attachment: Attachment, daemon: socket.socket) -> None:
        daemon.sendall(b"".join(frame(1 + n % 2, bytes([n])) for n in range(200)))
        daemon.shutdown(socket.SHUT_WR)
        out, err = await everything(attachment)
        assert (out, err) == (bytes(range(0, 200, 2)), bytes(range(1, 200, 2)))

    run(test)


@pytest.mark.parametrize("stream", [0, 4, 255])
def test_what_is_no_frame_ends_the_stream(stream: int) -> None:
    async def test(attachment: Attachment, daemon: socket.socket) -> None:
        daemon.sendall(frame(1, b"good") + frame(stream, b"bad"))
        assert await everything(attachment) == (b"good", b"")

    run(test)


def test_stderr_keeps_its_newest() -> None:
    async def test(attachment: Attachment, daemon: socket.socket) -> None:
        daemon.setblocking(True)
        for n in range(64):
            await anyio.to_thread.run_sync(daemon.sendall, frame(2, bytes([n]) * 5000))
        await anyio.to_thread.run_sync(daemon.sendall, frame(1, b"out"))
        daemon.shutdown(socket.SHUT_WR)
        out, err = await everything(attachment)
        assert out == b"out"
        assert err == b"".join(bytes([n]) * 5000 for n in range(64))[-RING:]

    run(test)


def test_stdout_is_bounded_without_a_reader() -> None:
    """The daemon's side fills up, and all of it arrives once there is a reader."""

    async def test(attachment: Attachment, daemon: socket.socket) -> None:
        daemon.setblocking(False)
        sent = 0
        with anyio.move_on_after(0.5):
            while True:
                try:
                    sent += daemon.send(frame(1, b"x" * 8184)[sent % 8192 :])
                except BlockingIOError:
                    await anyio.wait_writable(daemon)
        assert HIGH <= sent < HIGH + 2**20
        daemon.shutdown(socket.SHUT_WR)
        out, _ = await everything(attachment)
        assert len(out) == sent - 8 * -(-sent // 8192)

    run(test)


def test_receive_takes_at_most_what_is_asked() -> None:
    async def test(attachment: Attachment, daemon: socket.socket) -> None:
        daemon.sendall(frame(1, b"abcdef"))
        assert [await attachment.stdout.receive(4), await attachment.stdout.receive(4)] == [b"abcd", b"ef"]

    run(test)


def test_a_cancelled_receive_loses_nothing() -> None:
    async def test(attachment: Attachment, daemon: socket.socket) -> None:
        with anyio.move_on_after(0.01):
            await attachment.stdout.receive()
        daemon.sendall(frame(1, b"kept"))
        assert await attachment.stdout.receive() == b"kept"

    run(test)


def test_stdin_half_closes() -> None:
    async def test(attachment: Attachment, daemon: socket.socket) -> None:
        await attachment.stdin.send(b"last")
        await attachment.stdin.aclose()
        await attachment.stdin.aclose()
        assert (daemon.recv(100), daemon.recv(100)) == (b"last", b"")
        daemon.sendall(frame(1, b"answer"))
        assert await attachment.stdout.receive() == b"answer"
        with pytest.raises(anyio.ClosedResourceError):
            await attachment.stdin.send(b"more")

    run(test)


def test_stdin_of_a_daemon_that_is_gone_is_broken() -> None:
    async def test(attachment: Attachment, daemon: socket.socket) -> None:
        daemon.close()
        with pytest.raises(anyio.BrokenResourceError):
            await attachment.stdin.send(b"x" * 2**20)
        with pytest.raises(anyio.EndOfStream):
            await attachment.stdout.receive()

    run(test)


def test_close_wakes_a_reader() -> None:
    async def test(attachment: Attachment, daemon: socket.socket) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(everything, attachment)
            await anyio.wait_all_tasks_blocked()
            attachment.close()
        with pytest.raises(anyio.BrokenResourceError):
            await attachment.stdin.send(b"x")

    run(test)
