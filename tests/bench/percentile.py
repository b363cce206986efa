"""One number of many: never one that was not measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest measured value that at least percent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def p50_and_p99(values: Sequence[float]) -> dict[str, float]:
    """Both, as the tables have them."""
    return {"p50": percentile(values, 50), "p99": percentile(values, 99)}
