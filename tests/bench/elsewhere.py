"""`bulkhead`, as it runs where the engine is in another machine: the gate carries every byte over its own stdio."""

from __future__ import annotations

import sys
from functools import partial

from bulkhead.cli import main
from bulkhead.egress import beginning

if __name__ == "__main__":
    vars(beginning)["begin_gate"] = partial(beginning.begin_gate, share=False)
    sys.exit(main())
