"""The behaviours of contract.py as server functions of the fake engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from bulkhead.engines.fake import FakeDaemon, OutOfMemoryError

if TYPE_CHECKING:
    from bulkhead.engines.fake import Process, Server


async def behave(process: Process) -> int:
    """As behaviour.c: the second word of the command says what to do."""
    return await _BEHAVIOURS[process.plan.command[1]](process)


def daemon() -> FakeDaemon:
    return FakeDaemon({"/behaviour": behave})


def _number(process: Process) -> int:
    return int(process.plan.command[2])


async def _echo(process: Process) -> int:
    while data := await process.receive():
        await process.send(data)
    return 0


async def _exit(process: Process) -> int:
    return _number(process)


async def _stubborn(process: Process) -> int:
    process.ignores_sigterm = True
    await process.send(b"ready\n")
    await anyio.sleep_forever()
    return 0


async def _stderr(process: Process) -> int:
    await process.send(bytes(_number(process)), stderr=True)
    await process.send(b"done\n")
    return 0


async def _stdout(process: Process) -> int:
    for _ in range(_number(process) // 65536):
        await process.send(bytes(65536))
    return 0


async def _hog(_: Process) -> int:
    raise OutOfMemoryError


_BEHAVIOURS: dict[str, Server] = {
    "echo": _echo,
    "exit": _exit,
    "stubborn": _stubborn,
    "stderr": _stderr,
    "stdout": _stdout,
    "hog": _hog,
}
