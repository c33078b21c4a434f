"""Which units are kept, and which of them whole: a choice under a token budget, then smaller units in what is left.

A unit that has shorter forms is bought in steps, its content words first. A step is worth the chance that its words are
needed times what words of their kind are worth, so steps in order of worth by token are the greedy solution of a
multiple-choice knapsack (Sinha & Zoltners, 1979): with the best single unit as the other candidate its value is at
least half of the best there is. The cost of units is estimated first and counted exactly on the rendered result after;
the exact count decides.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .errors import ReetError
from .records import Span, Unit

SPLITTABLE = ("message", "sentence", "clause")
TOLERANCE = 0.02  # share of the budget that may stay unused where smaller units could fill it
WORTH = (1.0, 0.6, 0.3)  # of a word by `shortening.FORMS`: content, linking, the rest
NEIGHBOUR = 0.3  # share of its chance that a unit lends to the one before and the one after
NOTHING = -1  # the level of a unit that is left out


@dataclass(frozen=True)
class Forms:
    """Shorter forms of units, each containing the one before; the last is the whole unit.

    Attributes:
        costs: Estimated tokens of each form, of shape `(forms, units)`.
        slices: For each unit the half-open characters of each of its forms.
        worth: What a token that a form adds is worth beside one of the first form, falling, in (0, 1].
    """

    costs: np.ndarray
    slices: Sequence[Sequence[Sequence[tuple[int, int]]]]
    worth: Sequence[float] = WORTH


@dataclass(frozen=True)
class Candidates:
    """Units that can be kept.

    Attributes:
        units: In reading order, without overlap.
        scores: Higher means kept first, of shape `(units,)`; with `forms` the chance, in [0, 1], that a token of the
            unit is needed.
        costs: Estimated tokens of the counting tokenizer, of shape `(units,)`.
        forms: Shorter forms of the units; without them a unit is kept whole or not at all.
    """

    units: Sequence[Unit]
    scores: np.ndarray
    costs: np.ndarray
    forms: Forms | None = None

    @property
    def levels(self) -> int:
        """How many forms a unit has."""
        return len(self.forms.worth) if self.forms is not None else 1

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

    def shows(self, place: int, level: int) -> bool:
        """Whether anything of a unit is kept at a level: of a unit of filler alone its short forms are empty."""
        return self.forms is None or bool(self.forms.slices[place][level])

    def spans(self, levels: np.ndarray) -> list[Span]:
        """What is kept of each unit at its level, in order."""
        found: list[Span] = []
        for place in np.flatnonzero(levels > NOTHING).tolist():
            unit = self.units[place]
            if self.forms is None or levels[place] == self.levels - 1:
                found.append(unit.span)
            else:
                slices = self.forms.slices[place][levels[place]]
                found.extend(Span(unit.message, start, end) for start, end in slices)
        return found


@dataclass(frozen=True)
class Steps:
    """What can be bought of the choices, a choice's steps one after the other; arrays of shape `(levels, choices)`.

    Attributes:
        costs: Estimated tokens that the step adds.
        worths: Worth of a token of the step.
        members: Units of each choice.
    """

    costs: np.ndarray
    worths: np.ndarray
    members: list[list[int]] = field(default_factory=list)

    @classmethod
    def of(cls, candidates: Candidates) -> Steps:
        """The steps of all choices."""
        dense, count = candidates.choices()
        forms = candidates.forms
        totals = candidates.costs[None] if forms is None else forms.costs
        summed = np.stack([np.bincount(dense, row, count).astype(np.int64) for row in totals])
        score = np.full(count, -np.inf)
        np.maximum.at(score, dense, candidates.scores)
        members: list[list[int]] = [[] for _ in range(count)]
        for place, number in enumerate(dense.tolist()):
            members[number].append(place)
        worth = np.ones(1) if forms is None else np.asarray(forms.worth)
        return cls(np.diff(summed, axis=0, prepend=0), worth[:, None] * score, members)

    @property
    def values(self) -> np.ndarray:
        """Worth of each step, of shape `(levels, choices)`."""
        return self.costs * self.worths


def lend(chances: np.ndarray) -> np.ndarray:
    """Chances of units in reading order with what their neighbours lend them: who needs a sentence reads around it."""
    lent = chances.copy()
    lent[1:] += NEIGHBOUR * chances[:-1]
    lent[:-1] += NEIGHBOUR * chances[1:]
    return lent


def choose(
    candidates: Candidates, overheads: np.ndarray, limit: int, spent: int = 0, taken: np.ndarray | None = None
) -> np.ndarray:
    """Levels of the units under estimated costs: greedy by worth of a token, what does not fit is passed over.

    Without forms a unit's score is its worth, and there is one level. With forms, chances and no overheads, the value
    of the choice (worth times tokens, summed) is at least half of the greatest possible.

    Args:
        candidates: The units.
        overheads: Tokens that each message costs once if anything of it is kept.
        limit: Tokens that may be used.
        spent: Tokens used already.
        taken: Units that are kept whole already, their cost being part of `spent`.

    Returns:
        For each unit the number of the form that is kept, `NOTHING` if none is.
    """
    kept = np.zeros(len(candidates.units), dtype=bool) if taken is None else taken
    levels = np.where(kept, candidates.levels - 1, NOTHING)
    if not len(levels):
        return levels
    steps = Steps.of(candidates)
    chosen = _greedy(steps, candidates, overheads, limit - spent, levels)
    if candidates.forms is not None:
        alone = steps.values.sum(0)
        affordable = (steps.costs.sum(0) <= limit - spent) & (levels[[own[0] for own in steps.members]] == NOTHING)
        best = int(np.where(affordable, alone, -np.inf).argmax())
        if affordable[best] and alone[best] > _value(steps, chosen) - _value(steps, levels):
            first = levels.copy()
            first[steps.members[best]] = candidates.levels - 1
            opened = {candidates.units[place].message for place in steps.members[best]}
            price = int(steps.costs[:, best].sum()) + sum(int(overheads[number]) for number in opened)
            if price <= limit - spent:
                return _greedy(steps, candidates, overheads, limit - spent - price, first)
    return chosen


def _value(steps: Steps, levels: np.ndarray) -> float:
    reached = levels[[own[0] for own in steps.members]]
    return float(steps.values[np.arange(len(steps.costs))[:, None] <= reached].sum())


def _greedy(steps: Steps, candidates: Candidates, overheads: np.ndarray, room: int, levels: np.ndarray) -> np.ndarray:
    levels = levels.copy()
    opened = {candidates.units[place].message for place in np.flatnonzero(levels > NOTHING).tolist()}
    count = len(steps.members)
    smallest = int(steps.costs.min())
    for step in np.argsort(-steps.worths, axis=None, kind="stable").tolist():
        if room < smallest:
            break
        level, choice = divmod(step, count)
        units = steps.members[choice]
        cost = int(steps.costs[level, choice])
        if cost > room or levels[units[0]] != level - 1:
            continue
        fresh = {candidates.units[place].message for place in units if candidates.shows(place, level)} - opened
        price = cost + sum(int(overheads[number]) for number in fresh)
        if price <= room:
            levels[units] = level
            opened |= fresh
            room -= price
    return levels


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
    levels = choose(candidates, overheads, limit, floor, taken)
    spans, used, levels = _shrink(candidates, levels, taken, limit, protected, count)
    kept = levels > NOTHING
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


def _union(spans: Iterable[Span], protected: Sequence[Span]) -> list[Span]:
    """Both in order; a protected span that shares characters with others becomes one with them."""
    if not protected:
        return sorted(spans)
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
    steps = Steps.of(candidates)
    fixed = taken[[own[0] for own in steps.members]]
    order = np.argsort(steps.worths[::-1], axis=None, kind="stable")
    levels_of, choices = np.divmod(order, len(steps.members))
    queue = list(zip((candidates.levels - 1 - levels_of).tolist(), choices.tolist(), strict=True))
    place, least = 0, 1
    while used > limit and place < len(queue):
        excess, given, number = used - limit, 0, 0
        while place < len(queue) and (given < excess or number < least):
            level, choice = queue[place]
            place += 1
            units = steps.members[choice]
            if fixed[choice] or levels[units[0]] != level:
                continue
            levels[units] = level - 1
            given += int(steps.costs[level, choice])
            number += 1
        spans = _union(candidates.spans(levels), protected)
        used = count(spans)
        least *= 2
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
