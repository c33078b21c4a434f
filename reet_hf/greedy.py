"""Steps of choices, bought in order of worth by token as far as a budget goes; whole runs of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .candidates import NOTHING, Candidates

RUN = 4096  # steps that are looked at together at first


@dataclass(frozen=True)
class Steps:
    """What can be bought of the choices, a choice's steps one after the other; arrays of shape `(levels, choices)`.

    Attributes:
        costs: Estimated tokens that the step adds beside what it opens.
        worths: Worth of a token of the step.
        values: Worth of the step.
        members: Units, those of a choice together and in order, of shape `(units,)`.
        starts: Where in `members` the units of each choice begin, and where the last ones end, `(choices + 1,)`.
        openers: Number of the step of each opening of a step, level by level, of shape `(pairs,)`.
        opened: Number of what it opens, of the same shape.
    """

    costs: np.ndarray
    worths: np.ndarray
    values: np.ndarray
    members: np.ndarray
    starts: np.ndarray
    openers: np.ndarray
    opened: np.ndarray

    @classmethod
    def of(cls, candidates: Candidates) -> Steps:
        """The steps of all choices."""
        dense, count = candidates.choices()
        forms = candidates.forms
        totals = candidates.costs[None] if forms is None else forms.costs
        members = np.argsort(dense, kind="stable")
        starts = np.searchsorted(dense[members], np.arange(count + 1))
        summed = np.stack([np.bincount(dense, row, count).astype(np.int64) for row in totals])
        score = np.maximum.reduceat(candidates.scores[members], starts[:-1]) if count else candidates.scores
        worth = np.ones(1) if forms is None else np.asarray(forms.worth)
        costs, worths = np.diff(summed, axis=0, prepend=0), worth[:, None] * score
        if candidates.covered is not None:
            worths[0] += np.bincount(dense, candidates.covered, count) / np.maximum(costs[0], 1)
        values = costs * worths
        if candidates.along is not None:
            costs = costs * ~np.bincount(dense, candidates.along, count).astype(bool)
        owners, numbers = candidates.openings.pairs()
        shows = np.ones((1, len(dense)), dtype=bool) if forms is None else forms.shows
        seen = shows[:, owners]
        levels, pairs = np.nonzero(seen)
        openers, opened = levels * count + dense[owners][pairs], numbers[pairs]
        if count < len(dense):  # units of one choice may open the same
            openers, opened = np.unique(np.column_stack((openers, opened)), axis=0).T
        return cls(costs, worths, values, members, starts, openers, opened)

    @property
    def choices(self) -> int:
        """How many choices there are."""
        return len(self.starts) - 1

    def units_of(self, choice: int) -> np.ndarray:
        """The units of a choice, in order."""
        return self.members[self.starts[choice] : self.starts[choice + 1]]

    def of_choices(self, values: np.ndarray) -> np.ndarray:
        """Of values of shape `(units,)` that agree within a choice one a choice, of shape `(choices,)`."""
        return values[self.members[self.starts[:-1]]]

    def to_units(self, values: np.ndarray) -> np.ndarray:
        """Of values of shape `(choices,)` one a unit, of shape `(units,)`."""
        found = np.empty(len(self.members), dtype=values.dtype)
        found[self.members] = np.repeat(values, np.diff(self.starts))
        return found

    @cached_property
    def ranked(self) -> Ranked:
        """The steps by falling worth of a token."""
        order = _falling(self.worths)
        sorted_pairs = np.argsort(self.openers, kind="stable")
        counts = np.bincount(self.openers, minlength=self.costs.size)
        firsts, own = (np.cumsum(counts) - counts)[order], counts[order]
        within = np.arange(len(self.openers)) - np.repeat(np.cumsum(own) - own, own)
        pairs = sorted_pairs[np.repeat(firsts, own) + within]
        openers = np.repeat(np.arange(len(order)), own)
        return Ranked(order, self.costs.ravel()[order], openers, self.opened[pairs])


def _falling(worths: np.ndarray) -> np.ndarray:
    """Numbers of steps, level by level, by falling worth: of those with the same, the first one first.

    Levels are mostly in one order, that of the scores, so each begins in the order of the one after it; sorting what is
    nearly in order, and joining what is in order, takes little (Timsort).
    """
    choices = worths.shape[1]
    order, rows = np.arange(choices), []
    for worth in -worths[::-1]:
        order = order[np.argsort(worth[order], kind="stable")]
        rows.append(order)
    steps = np.concatenate([level * choices + row for level, row in enumerate(reversed(rows))])
    return steps[np.argsort(-worths.ravel()[steps], kind="stable")]


@dataclass(frozen=True)
class Ranked:
    """Steps by falling worth of a token.

    Attributes:
        steps: Their numbers, level by level, of shape `(steps,)`.
        costs: Estimated tokens of each, of the same shape.
        openers: For all openings the places of the steps, in order, of shape `(pairs,)`.
        opened: What these open, of the same shape.
    """

    steps: np.ndarray
    costs: np.ndarray
    openers: np.ndarray
    opened: np.ndarray

    def runs(self, first: int) -> Iterator[Ranked]:
        """All steps in runs, the first of `first` steps and each later one as long as all before it."""
        start, end = 0, first
        while start < len(self.steps):
            low, high = np.searchsorted(self.openers, (start, end)).tolist()
            pairs = slice(low, high)
            yield Ranked(self.steps[start:end], self.costs[start:end], self.openers[pairs] - start, self.opened[pairs])
            start, end = end, 2 * end


def value(steps: Steps, levels: np.ndarray) -> float:
    """Worth of everything that is kept at `levels`."""
    return float(steps.values[np.arange(len(steps.costs))[:, None] <= steps.of_choices(levels)].sum())


def opened_by(candidates: Candidates, levels: np.ndarray, count: int) -> np.ndarray:
    """Whether each of `count` openings is opened by what is kept, of shape `(count,)`."""
    owners, numbers = candidates.openings.pairs()
    opened = np.zeros(count, dtype=bool)
    opened[numbers[levels[owners] > NOTHING]] = True
    return opened


def greedy(steps: Steps, candidates: Candidates, overheads: np.ndarray, room: int, levels: np.ndarray) -> np.ndarray:
    """Levels of shape `(units,)` after steps were added to `levels` in order of worth, as far as `room` tokens go.

    What does not fit is passed over. A step that opens what is weighed waits until its worth by token, with the price
    of that, is the highest.
    """
    purchase = _Purchase(steps, candidates, overheads, room, levels)
    everything = len(steps.ranked.steps)
    for run in steps.ranked.runs(RUN if purchase.weighed is None else everything):  # what waits may go anywhere
        purchase.begin(run)
        while purchase.goes_on():
            pass
    return steps.to_units(purchase.level)


class _Purchase:
    """What was bought so far, and the steps that may still be, by falling worth.

    Everything up to the first step that does not fit is bought at once, and what can no longer fit is dropped, so there
    are few rounds, whatever the number of steps.
    """

    def __init__(
        self, steps: Steps, candidates: Candidates, overheads: np.ndarray, room: int, levels: np.ndarray
    ) -> None:
        self.room, self.level = room, steps.of_choices(levels).copy()
        self._steps, self._overheads = steps, np.asarray(overheads, dtype=np.int64)
        self.weighed = candidates.weighed if candidates.weighed is not None and candidates.weighed.any() else None
        self._opened = opened_by(candidates, levels, len(self._overheads))
        self._there = np.zeros(steps.costs.size + steps.choices, dtype=bool)  # a level below the first, then the steps
        if self.weighed is not None:
            self._worths, self._waited = steps.worths.ravel().copy(), np.zeros(steps.costs.size, dtype=bool)

    def begin(self, run: Ranked) -> None:
        """Turn to the next steps."""
        self._left, self._costs = run.steps, run.costs
        self._openers, self._numbers = run.openers, run.opened % max(len(self._overheads), 1)

    def goes_on(self) -> bool:
        """Buy the next run of steps; whether another may follow."""
        self._drop_hopeless()
        if not len(self._left):
            return False
        most = len(self._left)
        if self.weighed is not None:
            waiting, most = self._weigh(self.weighed)
            if waiting.any():
                self._let_wait(waiting)
                return True
        total = np.cumsum(self._costs + self._paid_first())
        count = min(int(np.searchsorted(total, self.room, side="right")), most)
        if count:
            self._buy(count)
            self.room -= int(total[count - 1])
        rest = np.arange(len(self._left)) >= (count if count == most else count + 1)  # what did not fit never will
        self._keep(rest)
        return True

    def _keep(self, kept: np.ndarray) -> None:
        """Go on with some of the steps that are left, by a mask or by their places in a new order."""
        places = np.full(len(self._left), -1, dtype=np.int64)
        order = np.flatnonzero(kept) if kept.dtype == bool else kept
        places[order] = np.arange(len(order))
        self._left, self._costs = self._left[order], self._costs[order]
        there = places[self._openers]
        self._openers, self._numbers = there[there >= 0], self._numbers[there >= 0]

    def _drop_hopeless(self) -> None:
        """Forget steps that cost too much, and those of choices that were passed over."""
        alive = self._costs <= self.room
        choices = self._steps.choices
        levels = self._left // choices
        following = self.level[self._left - levels * choices] == levels - 1
        for level in range(len(self._steps.costs)):
            own = np.flatnonzero(alive & (levels == level))
            own = own[following[own] | self._there[self._left[own]]]  # of this choice the level below
            self._there[self._left[own] + choices] = True
        alive &= self._there[self._left + choices]
        self._there[self._left + choices] = False
        self._keep(alive)
        self._keep(self._payable())

    def _payable(self) -> np.ndarray:
        """Whether there is room for each step that is left with all it opens, or others can open that before it."""
        closed = ~self._opened[self._numbers]
        openers, numbers = self._openers[closed], self._numbers[closed]
        direct = self._costs + np.bincount(openers, self._overheads[numbers], len(self._left)) <= self.room
        openable = np.zeros(len(self._overheads), dtype=bool)
        openable[numbers[direct[openers]]] = True
        stuck = np.zeros(len(self._left), dtype=bool)
        stuck[openers[~openable[numbers]]] = True
        return direct | ~stuck

    def _paid_first(self) -> np.ndarray:
        """What each step that is left pays for what it is the first to open, of shape `(left,)`."""
        closed = ~self._opened[self._numbers]
        first = np.full(len(self._overheads), len(self._left), dtype=np.int64)
        np.minimum.at(first, self._numbers[closed], self._openers[closed])
        paid = np.flatnonzero(first < len(self._left))
        return np.bincount(first[paid], self._overheads[paid], len(self._left)).astype(np.int64)

    def _buy(self, count: int) -> None:
        """Take the first steps that are left."""
        levels, choices = np.divmod(self._left[:count], self._steps.choices)
        np.maximum.at(self.level, choices, levels)
        self._opened[self._numbers[self._openers < count]] = True

    def _weigh(self, weighed: np.ndarray) -> tuple[np.ndarray, int]:
        """Which of the first steps that are left must wait, and how many steps can be bought at once.

        What opens something weighed and need not wait is worth its price, and the last of these; what opens it only
        after another step of its choice is looked at when that was bought.
        """
        heavy = ~self._opened[self._numbers] & weighed[self._numbers]
        extra = np.bincount(self._openers[heavy], self._overheads[self._numbers[heavy]], len(self._left))
        levels, choices = np.divmod(self._left, self._steps.choices)
        ready = self.level[choices] == levels - 1
        values = self._steps.values.ravel()[self._left]
        density = self._density = values / np.maximum(self._costs + extra, 1)
        waiting = (extra > 0) & ready & (density < self._worths[self._left])
        ends = np.flatnonzero((extra > 0) & ~waiting)
        most = len(self._left) if not len(ends) else int(ends[0]) + int(ready[ends[0]])
        waiting = waiting[:most]
        if waiting.any():  # up to where the first of them comes again, with what it opens
            again = np.maximum.accumulate(np.where(waiting, density[:most], -np.inf))
            waiting[1:] &= self._worths[self._left[1:most]] > again[:-1]
        return waiting, most

    def _let_wait(self, waiting: np.ndarray) -> None:
        """Put steps, the first ones that are left, back to where their worth with what they open is the highest."""
        places = np.flatnonzero(waiting)
        steps, worths = self._left[places], self._density[places]
        self._worths[steps], self._waited[steps] = worths, True
        moved = np.zeros(len(steps), dtype=bool)
        for above in range(1, len(self._steps.costs)):  # later steps of a choice come after those that they need
            later = np.minimum(steps + above * self._steps.choices, len(self._worths) - 1)
            inside = later == steps + above * self._steps.choices
            moved = inside & ((self._worths[later] > worths) | moved & (self._worths[later] == worths))
            self._worths[later[moved]], self._waited[later[moved]] = np.nextafter(worths[moved], -np.inf), True
        self._keep(np.lexsort((self._left, ~self._waited[self._left], -self._worths[self._left])))
