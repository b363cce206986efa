"""A small MCP client for `call` and `tools`: it speaks to a relay in this process, as a host would from outside.

Not the SDK's: importing that takes 1.2 s, longer than most calls. It offers no sampling, elicitation or roots.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio

from bulkhead import __version__
from bulkhead.errors import BulkheadError, ProtocolError, StartError
from bulkhead.wire import messages
from bulkhead.wire.messages import Answer, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream


MODERN = "2026-07-28"
LEGACY = "2025-11-25"
_INFO = {"name": "bulkhead", "version": __version__}
_PAGES = 100


class Client:
    """One session. request() gives a result, or raises what the relay or the server answered as an error."""

    def __init__(self, inward: MemoryObjectSendStream[bytes], outward: MemoryObjectReceiveStream[bytes]) -> None:
        self._inward = inward
        self._outward = outward
        self._ids = count(1)
        self._meta: dict[str, Any] = {}

    async def open(self) -> dict[str, Any]:
        """The era's opening: server/discover, and initialize where the server does not know it."""
        meta = {"protocolVersion": MODERN, "clientCapabilities": {}, "clientInfo": _INFO}
        self._meta = {f"io.modelcontextprotocol/{key}": value for key, value in meta.items()}
        answer = await self._ask("server/discover", {})
        if answer.result is not None:
            return answer.result
        _raise_ours(answer)
        self._meta = {}
        result = await self.request("initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": _INFO})
        await self._inward.send(messages.notification("notifications/initialized", {}) + b"\n")
        return result

    async def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of one request. Raises BulkheadError with the answer's reason."""
        answer = await self._ask(method, params)
        if answer.result is None:
            _raise_ours(answer)
            error = answer.error or {}
            raise ProtocolError(f"{method}: {error.get('message')}", why=f"the server answered {error.get('code')}")
        return answer.result

    async def pages(self, method: str, key: str) -> list[dict[str, Any]]:
        """All items of a list that comes in pages."""
        items: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        for _ in range(_PAGES):
            result = await self.request(method, params)
            items += [item for item in result.get(key, []) if isinstance(item, dict)]
            if not isinstance(result.get("nextCursor"), str):
                return items
            params = {"cursor": result["nextCursor"]}
        raise ProtocolError(f"{method}: more than {_PAGES} pages", hint="report it to the server's author")

    async def _ask(self, method: str, params: dict[str, Any]) -> Answer:
        request_id = next(self._ids)
        body = params | ({"_meta": self._meta} if self._meta else {})
        frame = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": body}
        await self._inward.send(messages.encode(frame) + b"\n")
        async for received in self._outward:
            message = messages.parse(received)
            if isinstance(message, Answer) and message.id == request_id:
                return message
            if isinstance(message, Request):
                await self._decline(message)
        raise StartError("the server's session ended", reason="exited")

    async def _decline(self, request: Request) -> None:
        outcome: dict[str, Any] = {"error": {"code": -32601, "message": "not offered by this client"}}
        if request.method == "ping":
            outcome = {"result": {}}
        await self._inward.send(messages.encode({"jsonrpc": "2.0", "id": request.id} | outcome) + b"\n")


def _raise_ours(answer: Answer) -> None:
    """An error that the relay made is raised as what it was; the server's own is left to the caller."""
    ours = BulkheadError.from_json(answer.error or {})
    if ours is not None:
        raise ours


@asynccontextmanager
async def connected(
    serve: Callable[[Any, Any], Coroutine[Any, Any, object]],
) -> AsyncIterator[Client]:
    """A client of a relay that serve(host_in, host_out) runs until the client leaves."""
    to_relay, relay_in = anyio.create_memory_object_stream[bytes](16)
    relay_out, from_relay = anyio.create_memory_object_stream[bytes](16)
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, relay_in, relay_out)
        async with to_relay, from_relay:
            try:
                yield Client(to_relay, from_relay)
            except (BulkheadError, SystemExit) as error:  # rich exits where nobody reads on
                failure = error  # not through the task group, which would wrap it
    if failure is not None:
        raise failure
