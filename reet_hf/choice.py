"""Which units are kept, and which of them whole, under a token budget.

A unit that has shorter forms is bought in steps, its content words first. A step is worth the chance that its words are
needed times what words of their kind are worth, so steps in order of worth by token are the greedy solution of a
multiple-choice knapsack (Sinha & Zoltners, 1979): with the best single unit as the other candidate its value is at
least half of the best there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from .records import Span, Unit

WORTH = (1.0, 0.6, 0.3)  # of a word by `shortening.FORMS`: content, linking, the rest
NEIGHBOUR = 0.3  # share of its chance that a unit lends to the one before and the one after
PRIOR = 0.2  # what the chance that any question needs a unit counts, as a share of the best chance for this one
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
        covered: Worth, in tokens that are surely needed, of what the first form of each unit covers, of shape
            `(units,)`.
        opens: For each unit the numbers of what is opened, and paid for once, where anything of it is kept; without
            it each unit's message.
        along: Whether a unit comes with what it opens and costs nothing more, of shape `(units,)`; none does without
            it.
        weighed: Whether the price of each opening, by its number, counts in the order in which units are bought, as
            that of a tool call does; without it no price does.
    """

    units: Sequence[Unit]
    scores: np.ndarray
    costs: np.ndarray
    forms: Forms | None = None
    covered: np.ndarray | None = None
    opens: Sequence[tuple[int, ...]] | None = None
    along: np.ndarray | None = None
    weighed: np.ndarray | None = None

    def openings(self, places: Iterable[int]) -> set[int]:
        """What units open."""
        if self.opens is None:
            return {self.units[place].message for place in places}
        return {number for place in places for number in self.opens[place]}

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
        costs: Estimated tokens that the step adds beside what it opens.
        worths: Worth of a token of the step.
        values: Worth of the step.
        members: Units of each choice.
    """

    costs: np.ndarray
    worths: np.ndarray
    values: np.ndarray
    members: list[list[int]]

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
        costs, worths = np.diff(summed, axis=0, prepend=0), worth[:, None] * score
        if candidates.covered is not None:
            worths[0] += np.bincount(dense, candidates.covered, count) / np.maximum(costs[0], 1)
        values = costs * worths
        if candidates.along is not None:
            costs = costs * ~np.bincount(dense, candidates.along, count).astype(bool)
        return cls(costs, worths, values, members)

    def of_choices(self, values: np.ndarray) -> np.ndarray:
        """Of values of shape `(units,)` that agree within a choice one a choice, of shape `(choices,)`."""
        return values[[own[0] for own in self.members]]


def backed(chances: np.ndarray, prior: np.ndarray, running: np.ndarray | None = None) -> np.ndarray:
    """What chances of units in reading order are worth to a choice for one query.

    Who needs a sentence reads around it, so neighbours lend a share of their chance; and where the query says little,
    what any question may need comes first: the surer the query is of its best unit, the more the others are left to it.

    Args:
        chances: That the query needs the unit, of shape `(units,)`.
        prior: That any question does, of the same shape.
        running: Whether the unit is part of running text, of the same shape; rows and the like stand by themselves and
            neither lend nor borrow. All are without it.
    """
    lent = chances.copy()
    near = np.ones(max(len(chances) - 1, 0), dtype=bool) if running is None else running[:-1] & running[1:]
    lent[1:] += NEIGHBOUR * near * chances[:-1]
    lent[:-1] += NEIGHBOUR * near * chances[1:]
    return lent + PRIOR * lent.max(initial=0.0) * prior


def choose(
    candidates: Candidates, overheads: np.ndarray, limit: int, spent: int = 0, taken: np.ndarray | None = None
) -> np.ndarray:
    """Levels of the units under estimated costs: greedy by worth of a token, what does not fit is passed over.

    Without forms a unit's score is its worth, and there is one level. With forms, chances and no overheads, the value
    of the choice (worth times tokens, summed) is at least half of the greatest possible.

    Args:
        candidates: The units.
        overheads: Tokens of each opening, to be read by its number.
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
    chosen = greedy(steps, candidates, overheads, limit - spent, levels)
    if candidates.forms is not None:
        alone = steps.values.sum(0)
        affordable = (steps.costs.sum(0) <= limit - spent) & (steps.of_choices(levels) == NOTHING)
        best = int(np.where(affordable, alone, -np.inf).argmax())
        if affordable[best] and alone[best] > value(steps, chosen) - value(steps, levels):
            first = levels.copy()
            first[steps.members[best]] = candidates.levels - 1
            opened = candidates.openings(steps.members[best])
            price = int(steps.costs[:, best].sum()) + sum(int(overheads[number]) for number in opened)
            if price <= limit - spent:
                return greedy(steps, candidates, overheads, limit - spent - price, first)
    return chosen


def value(steps: Steps, levels: np.ndarray) -> float:
    """Worth of everything that is kept at `levels`."""
    return float(steps.values[np.arange(len(steps.costs))[:, None] <= steps.of_choices(levels)].sum())


def greedy(steps: Steps, candidates: Candidates, overheads: np.ndarray, room: int, levels: np.ndarray) -> np.ndarray:
    """Levels of shape `(units,)` after steps were added to `levels` in order of worth, as far as `room` tokens go.

    A step that opens what is weighed waits until its worth by token, with the price of that, is the highest.
    """
    levels = levels.copy()
    opened = candidates.openings(np.flatnonzero(levels > NOTHING).tolist())
    count = len(steps.members)
    smallest = int(steps.costs.min())
    queue = _Queue(steps)
    for step, worth in queue:
        if room < smallest:
            break
        level, choice = divmod(step, count)
        units = steps.members[choice]
        cost = int(steps.costs[level, choice])
        if cost > room or levels[units[0]] != level - 1:
            queue.follow(step, choice, worth)
            continue
        fresh = candidates.openings(place for place in units if candidates.shows(place, level)) - opened
        price = cost + sum(int(overheads[number]) for number in fresh)
        if price > room:
            continue
        if candidates.weighed is not None:
            weighed = cost + sum(int(overheads[number]) for number in fresh if candidates.weighed[number])
            density = float(steps.values[level, choice]) / max(weighed, 1)
            if weighed > cost and density < worth:
                queue.wait(step, choice, density)
                continue
        levels[units] = level
        opened |= fresh
        room -= price
    return levels


class _Queue:
    """Steps by falling worth of a token; a step can be put back at a lower one."""

    def __init__(self, steps: Steps) -> None:
        self._worths = steps.worths.ravel()
        self._order = np.argsort(-self._worths, kind="stable").tolist()
        self._waiting: list[tuple[float, int]] = []
        self._choices: dict[int, float] = {}  # choices that wait, and at what worth

    def __iter__(self) -> Iterator[tuple[int, float]]:
        place = 0
        while place < len(self._order) or self._waiting:
            following = float(self._worths[self._order[place]]) if place < len(self._order) else -np.inf
            if self._waiting and -self._waiting[0][0] >= following:
                worth, step = heappop(self._waiting)
                yield step, -worth
            else:
                place += 1
                yield self._order[place - 1], following

    def wait(self, step: int, choice: int, worth: float) -> None:
        """Let a step come again at a worth."""
        self._choices[choice] = worth
        heappush(self._waiting, (-worth, step))

    def follow(self, step: int, choice: int, worth: float) -> None:
        """Let a step that came at a worth come again after the one of its choice that it needs, if that one waits."""
        waiting = self._choices.get(choice)
        if waiting is not None and waiting <= worth:
            heappush(self._waiting, (-float(np.nextafter(waiting, -np.inf)), step))
