"""Intervals by bootstrap over contexts (Efron, 1979), paired where two systems answered the same questions.

A context's questions stand or fall together, so whole contexts are drawn, and within each data set as many as it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over data sets with its 95 % interval.

    Attributes:
        value: The estimate from all contexts.
        low, high: The 2.5 % and 97.5 % quantiles of the estimate over the draws.
        p_value: Share of the draws on the other side of zero, doubled; meant for differences.
    """

    value: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Ratio:
    """What one data set adds to an estimate: the ratio of two sums over its contexts.

    Attributes:
        above, below: One number each for every context, of shape `(contexts,)`. A mean over questions has the sum of
            a context's scores above and the number of its questions below.
    """

    above: np.ndarray
    below: np.ndarray


def estimate(sets: Sequence[Ratio], resamples: int = RESAMPLES, seed: int = 0) -> Estimate | None:
    """The mean of the ratios of several data sets, each counting the same, with its interval.

    Args:
        sets: A data set without anything below its line is left out; `None` comes back if no other is there.
        resamples: Number of draws.
        seed: Of the draws. The same seed draws the same contexts for every system.
    """
    used = [each for each in sets if each.below.sum() > 0]
    if not used:
        return None
    draws = np.zeros((len(used), resamples))
    for place, each in enumerate(used):
        weights = _weights(len(each.above), resamples, (seed, place))
        below = weights @ each.below
        ratio = each.above.sum() / each.below.sum()
        draws[place] = np.divide(weights @ each.above, below, out=np.full(resamples, ratio), where=below > 0)
    means = draws.mean(axis=0)
    low, high = np.quantile(means, (0.025, 0.975))
    value = float(np.mean([each.above.sum() / each.below.sum() for each in used]))
    sides = min(np.mean(means <= 0), np.mean(means >= 0))
    return Estimate(value, float(low), float(high), min(1.0, 2 * max(float(sides), 1 / resamples)))


@lru_cache(maxsize=128)
def _weights(contexts: int, resamples: int, seed: tuple[int, int]) -> np.ndarray:
    """How often each context is drawn, of shape `(resamples, contexts)`; the same for all systems of a table."""
    chooser = np.random.default_rng(seed)
    return chooser.multinomial(contexts, np.full(contexts, 1 / contexts), resamples).astype(np.float64)


def difference(first: Sequence[Ratio], second: Sequence[Ratio], **options: int) -> Estimate | None:
    """First minus second on the same contexts, drawn together.

    Raises:
        ValueError: If the two were not measured on the same questions.
    """
    for one, other in zip(first, second, strict=True):
        if not np.array_equal(one.below, other.below):
            raise ValueError("`first` and `second` must count the same questions of each context; measure both again.")
    return estimate([Ratio(a.above - b.above, a.below) for a, b in zip(first, second, strict=True)], **options)
