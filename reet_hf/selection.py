"""A choice of units made to fit: their cost is estimated first and counted exactly on the rendered result after.

The exact count decides; what it leaves of the budget is filled with smaller units.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from .candidates import NOTHING, Candidates
from .choice import choose
from .errors import ReetError
from .greedy import Steps, greedy, value
from .receipt import inside
from .records import Span, Unit
from .segmentation import span_array
from .uncollected import uncollected

SPLITTABLE = ("message", "sentence", "clause")
TOLERANCE = 0.02  # share of the budget that may stay unused where smaller units could fill it


@uncollected()
def fit(
    candidates: Candidates,
    overheads: np.ndarray,
    limit: int,
    protected: Sequence[Span],
    count: Callable[[Sequence[Span]], int],
    finer: Sequence[Callable[[Sequence[Unit]], Candidates]],
    marked: bool = False,
) -> list[Span]:
    """Spans to keep, in order: their exact count never exceeds `limit`.

    Args:
        candidates: The units to choose from.
        overheads: Tokens of each opening (see `Candidates`), to be read by its number.
        limit: The budget in tokens.
        protected: Spans that must be kept, each inside one unit.
        count: Exact tokens of the rendered spans.
        finer: From given units to smaller ones, for the rest of the budget; each function goes further than the last.
        marked: Whether the exact count has a price for what is left out, which no estimate knows.

    Raises:
        ReetError: If the protected spans alone exceed the budget; `floor` is what they need.
    """
    floor = count(sorted(protected))
    if floor > limit:
        raise ReetError(
            f"`budget` allows {limit} tokens, but the protected parts alone need {floor}; raise `budget` to at least "
            f"{floor} tokens or protect less.",
            floor=floor,
        )
    if candidates.costs.sum() <= 1.1 * limit + 8:
        whole = _union([Span(*place) for place in candidates.table.places.tolist()], protected)
        if count(whole) <= limit:
            return whole
    taken = inside(candidates.table.places, span_array(protected))
    steps = Steps.of(candidates, limit)
    wanted = choose(candidates, overheads, limit, floor, taken, steps)
    spans, used, levels = _shrink(candidates, steps, wanted, taken, limit, protected, count)
    if marked and (levels != wanted).any():
        spans, used, levels = _best_that_fit(
            candidates, steps, taken, spans, used, levels, limit, overheads, protected, count
        )
    spans, used, levels = _regain(candidates, steps, levels, spans, used, limit, overheads, protected, count)
    kept = levels > NOTHING
    for split in finer:
        if used >= (1 - TOLERANCE) * limit or kept.all():
            break
        spans, used = _fill(candidates, kept, spans, used, limit, count, split, overheads)
    return spans


def _union(spans: Iterable[Span], protected: Sequence[Span]) -> list[Span]:
    """Both in order, as each of them is; a protected span that shares characters with others becomes one with them."""
    if not protected:
        return list(spans)
    ordered = sorted(set(spans) | set(protected))
    merged: list[Span] = []
    for span in ordered:
        if merged and (merged[-1].overlaps(span) or merged[-1].contains(span)):
            merged[-1] = Span(span.message, merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _shrink(
    candidates: Candidates,
    steps: Steps,
    levels: np.ndarray,
    taken: np.ndarray,
    limit: int,
    protected: Sequence[Span],
    count: Callable[[Sequence[Span]], int],
) -> tuple[list[Span], int, np.ndarray]:
    """Give back the steps of least worth until the exact count fits."""
    levels = levels.copy()
    spans = _union(candidates.spans(levels), protected)
    used = count(spans)
    if used <= limit:
        return spans, used, levels
    fixed = steps.of_choices(taken)
    held = (np.arange(candidates.levels)[:, None] <= steps.of_choices(levels)) & ~fixed
    levels_of, choices = np.nonzero(held[::-1])  # the last steps of a choice first
    order = np.argsort(steps.worths[::-1][held[::-1]], kind="stable")
    queue = list(zip((candidates.levels - 1 - levels_of[order]).tolist(), choices[order].tolist(), strict=True))
    place, least = 0, 1
    while used > limit and place < len(queue):
        excess, given, number = used - limit, 0, 0
        while place < len(queue) and (given < excess or number < least):
            level, choice = queue[place]
            place += 1
            units = steps.units_of(choice)
            if levels[units[0]] != level:
                continue
            levels[units] = level - 1
            given += int(steps.costs[level, choice])
            number += 1
        spans = _union(candidates.spans(levels), protected)
        used = count(spans)
        least *= 2
    return spans, used, levels


def _best_that_fit(
    candidates: Candidates,
    steps: Steps,
    taken: np.ndarray,
    spans: list[Span],
    used: int,
    levels: np.ndarray,
    limit: int,
    overheads: np.ndarray,
    protected: Sequence[Span],
    count: Callable[[Sequence[Span]], int],
) -> tuple[list[Span], int, np.ndarray]:
    """The choice that is worth more: the given one, or as many of the best steps as fit by the exact count.

    Each thing that is given back costs a marker, so that giving back the least first may leave none of the best.
    """
    first = np.where(taken, candidates.levels - 1, NOTHING)
    low, high = 0, limit
    found = (spans, used, levels)
    while low < high:
        room = (low + high + 1) // 2
        more = greedy(steps, candidates, overheads, room, first)
        trial = _union(candidates.spans(more), protected)
        total = count(trial)
        if total > limit:
            high = room - 1
            continue
        low = room
        if value(steps, more) > value(steps, found[2]):
            found = (trial, total, more)
    return found


def _regain(
    candidates: Candidates,
    steps: Steps,
    levels: np.ndarray,
    spans: list[Span],
    used: int,
    limit: int,
    overheads: np.ndarray,
    protected: Sequence[Span],
    count: Callable[[Sequence[Span]], int],
) -> tuple[list[Span], int, np.ndarray]:
    """Buy steps of most worth for what is left; less of them where the exact count says that they do not fit."""
    room = limit - used
    if room <= TOLERANCE * limit:
        return spans, used, levels
    while room > TOLERANCE * limit:
        more = greedy(steps, candidates, overheads, room, levels)
        if (more == levels).all():
            break
        trial = _union(candidates.spans(more), protected)
        total = count(trial)
        if total > limit:
            room //= 2
        else:
            spans, used, levels, room = trial, total, more, min(room // 2, limit - total)
    return spans, used, levels


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
    homes = dict(zip(candidates.table.places[:, 0].tolist(), candidates.openings.first.tolist(), strict=True))
    opened = {homes.get(span.message, span.message) for span in spans}
    splittable = candidates.table.are(SPLITTABLE)
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
        home = homes[unit.message]
        price = int(small.costs[place]) + (0 if home in opened else int(overheads[home]))
        if price <= room:
            added.append(unit.span)
            opened.add(home)
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
