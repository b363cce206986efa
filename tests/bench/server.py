"""The bench's server: it answers what a host asks first, and `echo`, with as little work as Python allows."""

import json
import sys
from typing import Any

_TOOLS = {"tools": [{"name": "echo", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}]}
_HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "bench", "version": "1"},
}


def main() -> None:
    """Until the end of stdin."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message:
            continue
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": _result(message)}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _result(message: dict[str, Any]) -> dict[str, Any]:
    if message["method"] == "tools/call":
        return {"content": [{"type": "text", "text": message["params"]["arguments"]["text"]}]}
    return _HELLO if message["method"] == "initialize" else _TOOLS


if __name__ == "__main__":
    main()
