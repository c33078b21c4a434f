"""Which units are kept: the best by importance that fit a token budget, then smaller units in what is left.

The cost of units is estimated first and counted exactly on the rendered result after; the exact count decides.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import ReetError
from .records import Span, Unit

SPLITTABLE = ("message", "sentence", "clause")
TOLERANCE = 0.02  # share of the budget that may stay unused where smaller units could fill it


@dataclass(frozen=True)
class Candidates:
    """Units that can be kept.

    Attributes:
        units: In reading order, without overlap.
        scores: Higher means kept first, of shape `(units,)`.
        costs: Estimated tokens of the counting tokenizer, of shape `(units,)`.
    """

    units: Sequence[Unit]
    scores: np.ndarray
    costs: np.ndarray

    def choices(self) -> tuple[np.ndarray, int]:
        """For each unit the number of its choice, and how many there are: a group of units is one choice."""
        numbers = np.arange(len(self.units))
        if any(unit.group is not None for unit in self.units):
            first: dict[int, int] = {}
            for place, unit in enumerate(self.units):
                if unit.group is not None:
                    numbers[place] = first.setdefault(unit.group, place)
        _, dense = np.unique(numbers, return_inverse=True)
        return dense, int(dense.max()) + 1 if len(dense) else 0


def choose(
    candidates: Candidates, overheads: np.ndarray, limit: int, spent: int = 0, taken: np.ndarray | None = None
) -> np.ndarray:
    """Units kept under estimated costs, as a boolean array: greedy by score, what does not fit is passed over.

    Args:
        candidates: The units.
        overheads: Tokens that each message costs once if anything of it is kept.
        limit: Tokens that may be used.
        spent: Tokens used already.
        taken: Units that are kept already, their cost being part of `spent`.
    """
    dense, count = candidates.choices()
    kept = np.zeros(len(candidates.units), dtype=bool) if taken is None else taken.copy()
    if not count:
        return kept
    cost = np.bincount(dense, candidates.costs, count).astype(np.int64)
    score = np.full(count, -np.inf)
    np.maximum.at(score, dense, candidates.scores)
    members: list[list[int]] = [[] for _ in range(count)]
    for place, number in enumerate(dense.tolist()):
        members[number].append(place)
    opened = {candidates.units[place].message for place in np.flatnonzero(kept).tolist()}
    smallest, room = int(cost.min()), limit - spent
    for choice in np.argsort(-score, kind="stable").tolist():
        if room < smallest:
            break
        units = members[choice]
        if cost[choice] > room or kept[units[0]]:
            continue
        fresh = {candidates.units[place].message for place in units} - opened
        price = int(cost[choice]) + sum(int(overheads[number]) for number in fresh)
        if price <= room:
            kept[units] = True
            opened |= fresh
            room -= price
    return kept


def fit(
    candidates: Candidates,
    overheads: np.ndarray,
    limit: int,
    protected: Sequence[Span],
    count: Callable[[Sequence[Span]], int],
    finer: Sequence[Callable[[Sequence[Unit]], Candidates]],
    everything: bool = False,
) -> list[Span]:
    """Spans to keep, in order: their exact count never exceeds `limit`.

    Args:
        candidates: The units to choose from.
        overheads: Tokens that each message costs once.
        limit: The budget in tokens.
        protected: Spans that must be kept, each inside one unit.
        count: Exact tokens of the rendered spans.
        finer: From given units to smaller ones, for the rest of the budget; each function goes further than the last.

    Raises:
        ReetError: If the protected spans alone exceed the budget; `floor` is what they need.
    """
    floor = count(sorted(protected)) if protected else 0
    if floor > limit:
        raise ReetError(
            f"`budget` allows {limit} tokens, but the protected parts alone need {floor}; raise `budget` to at least "
            f"{floor} tokens or protect less.",
            floor=floor,
        )
    if everything or candidates.costs.sum() <= 1.1 * limit + 8:
        whole = _union([unit.span for unit in candidates.units], protected)
        if count(whole) <= limit:
            return whole
    taken = _inside(candidates.units, protected)
    kept = choose(candidates, overheads, limit, floor, taken)
    spans, used, kept = _shrink(candidates, kept, taken, limit, protected, count)
    for split in finer:
        if used >= (1 - TOLERANCE) * limit or kept.all():
            break
        spans, used = _fill(candidates, kept, spans, used, limit, count, split, overheads)
    return spans


def _inside(units: Sequence[Unit], protected: Sequence[Span]) -> np.ndarray:
    """Whether each unit is kept already by one of the ordered protected spans."""
    taken = np.zeros(len(units), dtype=bool)
    place = 0
    for number, unit in enumerate(units):
        while place < len(protected) and (protected[place].message, protected[place].end) < (unit.message, unit.end):
            place += 1
        taken[number] = place < len(protected) and protected[place].contains(unit.span)
    return taken


def _spans(candidates: Candidates, kept: np.ndarray, protected: Sequence[Span]) -> list[Span]:
    return _union([candidates.units[place].span for place in np.flatnonzero(kept).tolist()], protected)


def _union(spans: Iterable[Span], protected: Sequence[Span]) -> list[Span]:
    """Both in order, protected spans left out where a span contains them."""
    ordered = sorted(spans)
    result = set(ordered)
    for span in protected:
        place = bisect_right(ordered, Span(span.message, span.start, sys.maxsize)) - 1
        if place < 0 or not ordered[place].contains(span):
            result.add(span)
    return sorted(result)


def _shrink(
    candidates: Candidates,
    kept: np.ndarray,
    taken: np.ndarray,
    limit: int,
    protected: Sequence[Span],
    count: Callable[[Sequence[Span]], int],
) -> tuple[list[Span], int, np.ndarray]:
    """Drop the least important choices until the exact count fits."""
    dense, _ = candidates.choices()
    kept = kept.copy()
    spans = _spans(candidates, kept, protected)
    used = count(spans)
    step = 1
    while used > limit:
        places = np.flatnonzero(kept & ~taken)
        if not len(places):
            break
        order = places[np.argsort(candidates.scores[places], kind="stable")]
        excess, dropped = used - limit, 0
        for number, place in enumerate(order):
            if dropped >= excess and number >= step:
                break
            together = dense == dense[place]
            dropped += int(candidates.costs[together & kept].sum())
            kept &= ~together
        spans = _spans(candidates, kept, protected)
        used = count(spans)
        step *= 2
    return spans, used, kept


def _fill(
    candidates: Candidates,
    kept: np.ndarray,
    spans: list[Span],
    used: int,
    limit: int,
    count: Callable[[Sequence[Span]], int],
    split: Callable[[Sequence[Unit]], Candidates],
    overheads: np.ndarray,
) -> tuple[list[Span], int]:
    """Add smaller units of the best units that were left out, as many as the exact count allows."""
    room = limit - used
    open_messages = {span.message for span in spans}
    splittable = np.array([unit.kind in SPLITTABLE for unit in candidates.units], dtype=bool)
    rest = np.flatnonzero(~kept & splittable)
    best = rest[np.argsort(-candidates.scores[rest], kind="stable")]
    reach = np.cumsum(candidates.costs[best])
    best = best[: int(np.searchsorted(reach, 4 * room)) + 2]
    small = split([candidates.units[place] for place in np.sort(best).tolist()])
    added: list[Span] = []
    for place in np.argsort(-small.scores, kind="stable").tolist():
        unit = small.units[place]
        if _is_taken(unit.span, spans):
            continue
        price = int(small.costs[place]) + (0 if unit.message in open_messages else int(overheads[unit.message]))
        if price <= room:
            added.append(unit.span)
            open_messages.add(unit.message)
            room -= price
    while added:
        trial = sorted([*spans, *added])
        total = count(trial)
        if total <= limit:
            return trial, total
        del added[-max(1, len(added) // 4) :]
    return spans, used


def _is_taken(span: Span, spans: Sequence[Span]) -> bool:
    """Whether `span` shares a character with one of the ordered `spans`."""
    place = bisect_right(spans, Span(span.message, span.end, -1))
    return place > 0 and spans[place - 1].overlaps(span)
