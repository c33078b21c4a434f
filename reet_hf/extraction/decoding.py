"""Which of many scored spans are kept so that no two overlap: the choice of the highest sum, found exactly."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def best_spans(spans: Sequence[tuple[int, int]], scores: Sequence[float]) -> list[int]:
    """Places of the spans that share nothing and have the highest sum of scores, in the order of the text.

    Weighted interval scheduling (Kleinberg & Tardos, Algorithm Design, 6.1): sorting, then linear in the spans. Of
    choices with the same sum the one that ends first is taken.

    Args:
        spans: Half-open `(start, end)`, in any order, each of at least one place.
        scores: Of each; spans that do not score above 0 are never chosen.
    """
    order = sorted((n for n, score in enumerate(scores) if score > 0), key=lambda n: (spans[n][1], spans[n][0]))
    ends = [spans[n][1] for n in order]
    best, before, taken = [0.0], [0], [False]  # of the first so many spans
    for count, number in enumerate(order):
        free = bisect_right(ends, spans[number][0], 0, count)  # how many end before it begins
        with_it = best[free] + scores[number]
        better = with_it > best[-1]
        best.append(with_it if better else best[-1])
        before.append(free if better else count)
        taken.append(better)
    chosen: list[int] = []
    count = len(order)
    while count:
        if taken[count]:
            chosen.append(order[count - 1])
        count = before[count]
    return chosen[::-1]
