"""WebSocket clients, plain on port 80 and in TLS: opaque to the gate once the server has agreed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clients.box import MEGABYTE

if TYPE_CHECKING:
    from tests.clients.box import Box
    from tests.clients.servers.sockets import Sockets

LENGTHS = [0, 1, 126, 2**16, MEGABYTE]
_PYTHON = """
    import asyncio, json, sys
    from websockets.asyncio.client import connect

    async def main(url, lengths):
        async with connect(url, max_size=None) as client:
            for length in lengths:
                await client.send("x" * length)
            print([len(await client.recv()) for _ in lengths])

    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""
_ALIKE = """
    const lengths = JSON.parse(process.argv[2]), heard = [];
    await new Promise((resolve, reject) => {
      const client = new WebSocket(process.argv[1]);
      client.onerror = (event) => reject(event.error ?? new Error(event.message));
      client.onopen = () => lengths.forEach((length) => client.send("x".repeat(length)));
      client.onmessage = (event) => heard.push(event.data.length) === lengths.length && client.close();
      client.onclose = resolve;
    });
    console.log(heard.join(", "));
"""
_CLIENTS = {
    "python-websockets": lambda box, *argv: box.python(_PYTHON, *argv),
    "node-own": lambda box, *argv: box.node(_ALIKE, *argv),
    "node-ws": lambda box, *argv: box.node('const WebSocket = require("ws");' + _ALIKE, *argv),
}


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("client", _CLIENTS)
def test_messages_of_all_lengths_come_back(box: Box, sockets: Sockets, client: str, scheme: str) -> None:
    sockets.arrived.clear()
    said = _CLIENTS[client](box, f"{scheme}://{sockets.place.name}/", str(LENGTHS))
    assert said.strip(" []\n") == ", ".join(map(str, LENGTHS))
    assert sockets.arrived == LENGTHS
