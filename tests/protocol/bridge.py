"""TEST ONLY: Streamable HTTP in front of a stdio command, so that HTTP-only suites can judge a stdio server.

    python -m tests.protocol.bridge --port N [--spares K] -- CMD ARGS

Each HTTP session is a process of its own; frames pass as the bytes that they are. --port 0 takes a free port; the
first line of stdout says which. --spares keeps that many processes started ahead, for commands that are slow to start.
What a server sends outside of an answer goes to the newest open stream of a request, else to the GET stream.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import socket
import sys
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request

_LINE = 2**26
_LOCAL = {"localhost", "127.0.0.1", "::1"}
_END: bytes | None = None


class Session:
    """One process, and the streams that wait for what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.id = secrets.token_hex(16)
        self._process = process
        self._waiting: dict[Any, asyncio.Queue[bytes | None]] = {}
        self.stream: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._pump = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._route(line.rstrip(b"\n"))
        for queue in [*self._waiting.values(), self.stream]:
            queue.put_nowait(_END)

    def _route(self, line: bytes) -> None:
        message = json.loads(line)
        if "method" not in message and message["id"] in self._waiting:
            queue = self._waiting.pop(message["id"])
            queue.put_nowait(line)
            queue.put_nowait(_END)
            return
        newest = [self.stream, *self._waiting.values()][-1]
        newest.put_nowait(line)

    async def write(self, body: bytes) -> None:
        """One frame to the process."""
        assert self._process.stdin is not None
        self._process.stdin.write(body + b"\n")
        await self._process.stdin.drain()

    async def ask(self, request_id: Any, body: bytes) -> AsyncIterator[bytes]:
        """A request, and what belongs to it until its answer, as server-sent events."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting[request_id] = queue
        await self.write(body)
        return _events(queue)

    async def close(self) -> None:
        """The end of stdin, and SIGKILL after 5 s."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 5)
        if self._process.returncode is None:
            self._process.kill()
        await self._pump


async def _events(queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (line := await queue.get()) is not None:
        yield b"event: message\ndata: %b\n\n" % line


class Bridge:
    """All sessions of one command."""

    def __init__(self, command: Sequence[str], *, spares: int) -> None:
        self._command = command
        self._keep = spares
        self._spares: deque[asyncio.Task[asyncio.subprocess.Process]] = deque()
        self._sessions: dict[str, Session] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def _spawn(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, limit=_LINE)

    async def open(self) -> Session:
        """A new session: the oldest spare process, or one that starts now."""
        session = Session(await self._spares.popleft() if self._spares else await self._spawn())
        self._sessions[session.id] = session
        self.restock()
        return session

    def restock(self) -> None:
        """Starts the spares that are missing."""
        while len(self._spares) < self._keep:
            self._spares.append(asyncio.create_task(self._spawn()))

    async def close(self) -> None:
        """Ends every process."""
        spares = [Session(await spare) for spare in self._spares]
        await asyncio.gather(*(session.close() for session in [*self._sessions.values(), *spares]), *self._closing)

    async def post(self, request: Request) -> Response:
        """One frame from the client."""
        body = await request.body()
        message = json.loads(body)
        if b"\n" in body:
            body = json.dumps(message).encode()
        if message.get("method") == "initialize":
            session = await self.open()
        elif (session_id := request.headers.get("mcp-session-id")) is None:
            return _refused(400, "no Mcp-Session-Id")
        elif session_id not in self._sessions:
            return _refused(404, "no such session")
        else:
            session = self._sessions[session_id]
        headers = {"Mcp-Session-Id": session.id}
        if "id" not in message or "method" not in message:
            await session.write(body)
            return Response(status_code=202, headers=headers)
        events = await session.ask(message["id"], body)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def get(self, request: Request) -> Response:
        """The stream of what belongs to no request."""
        session = self._sessions.get(request.headers.get("mcp-session-id", ""))
        if session is None:
            return _refused(404, "no such session")
        return StreamingResponse(_events(session.stream), media_type="text/event-stream")

    async def delete(self, request: Request) -> Response:
        """The end of a session."""
        session = self._sessions.pop(request.headers.get("mcp-session-id", ""), None)
        if session is None:
            return _refused(404, "no such session")
        self._closing.add(asyncio.create_task(session.close()))
        return Response(status_code=200)

    async def handle(self, request: Request) -> Response:
        """POST, GET or DELETE, of a local page or program only (DNS rebinding)."""
        origins = [f"//{request.headers.get('host', '')}", request.headers.get("origin") or "//localhost"]
        if any(urlsplit(origin).hostname not in _LOCAL for origin in origins):
            return _refused(403, "neither Host nor Origin may be another machine's")
        return await {"POST": self.post, "GET": self.get, "DELETE": self.delete}[request.method](request)


def _refused(status: int, why: str) -> Response:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": why}}
    return JSONResponse(error, status_code=status)


def main(arguments: Sequence[str]) -> None:
    """Serves until SIGTERM or SIGINT."""
    split = list(arguments).index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--spares", type=int, default=0)
    options = parser.parse_args(arguments[:split])
    bridge = Bridge(arguments[split + 1 :], spares=options.spares)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        bridge.restock()
        yield
        await bridge.close()

    app = Starlette(routes=[Route("/mcp", bridge.handle, methods=["GET", "POST", "DELETE"])], lifespan=lifespan)
    listener = socket.create_server(("127.0.0.1", options.port))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    asyncio.run(server.serve([listener]))


if __name__ == "__main__":
    main(sys.argv[1:])
