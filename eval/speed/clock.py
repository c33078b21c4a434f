"""Milliseconds and what becomes of many of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least a share of them do not exceed (nearest rank).

    Args:
        values: One or more, in any order.
        share: In [0, 1]; 0.5 gives the lower median.
    """
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Number, p50, p95 and mean of values, in their own unit; only the number where there are none."""
    if not values:
        return {"repetitions": 0}
    found = {"p50": percentile(values, 0.5), "p95": percentile(values, 0.95), "mean": sum(values) / len(values)}
    return {"repetitions": len(values), **{name: round(value, digits) for name, value in found.items()}}


def milliseconds(work: Callable[[], Any]) -> float:
    """Time of one call in milliseconds."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def repeated(work: Callable[[], Any], repetitions: int) -> list[float]:
    """Milliseconds of each of several calls, after one that is not counted."""
    work()
    return [milliseconds(work) for _ in range(repetitions)]
