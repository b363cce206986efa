"""`bulkhead`, as it runs where the engine is in another machine: the gate carries every byte over its own stdio."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bulkhead.cli import main
from bulkhead.egress import network, opening

if TYPE_CHECKING:
    from bulkhead.egress.opening import Gate


async def _open_gate(*arguments: Any, **named: Any) -> Gate:
    return await opening.open_gate(*arguments, **(named | {"share": False}))


if __name__ == "__main__":
    vars(network)["open_gate"] = _open_gate
    sys.exit(main())
