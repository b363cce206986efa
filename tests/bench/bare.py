"""`bulkhead` without what judging costs: no audit log, no pins, no baselines, and only the guards of names and limits.

It exists to be measured beside the real one; nothing of the kind can be switched on.
"""

from __future__ import annotations

import sys

from bulkhead.cli import main, serve
from bulkhead.policy import budgets, chain, network, tools


def bare() -> int:
    """As `bulkhead`, with the same arguments."""
    serve.books_of = lambda *_: None  # type: ignore[assignment, attr-defined]
    chain.REQUEST = (tools.allowed, budgets.concurrency, budgets.rate)
    chain.RESULT = (budgets.output, network.denied)
    return main()


if __name__ == "__main__":
    sys.exit(bare())
