"""`bulkhead` without what judging costs: no audit log, no pins, no baselines, and only the guards of names and limits.

It exists to be measured beside the real one; nothing of the kind can be switched on.
"""

from __future__ import annotations

import sys
from typing import Any

from bulkhead import relay
from bulkhead.cli import main
from bulkhead.policy import budgets, chain, network, tools

_WHOLE = relay.Relay


def _without_books(*args: Any, books: object, **others: Any) -> relay.Relay:
    del books
    return _WHOLE(*args, **others)


def bare() -> int:
    """As `bulkhead`, with the same arguments."""
    relay.Relay = _without_books  # type: ignore[misc, assignment]
    chain.REQUEST = (tools.allowed, budgets.concurrency, budgets.rate)
    chain.RESULT = (budgets.output, network.denied)
    return main()


if __name__ == "__main__":
    sys.exit(bare())
