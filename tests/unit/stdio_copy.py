"""Copies stdin to stdout through stdio.py, and says on stderr how it ended: the program that test_stdio.py runs."""

from __future__ import annotations

import sys

import anyio

from bulkhead.errors import BulkheadError
from bulkhead.stdio import open_stdin, open_stdout


async def copy() -> str:
    try:
        source, sink = await open_stdin(), await open_stdout()
    except BulkheadError as error:
        return f"refused with {error.exit_code}: {error.what}"
    sys.stderr.write("ready\n")
    sys.stderr.flush()
    try:
        while True:
            await sink.send(await source.receive())
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
        return type(error).__name__


async def main(seconds: float) -> None:
    with anyio.move_on_after(seconds):
        sys.stderr.write(await copy())
        return
    sys.stderr.write("out of time")


anyio.run(main, float(sys.argv[1]))
