"""Steps of choices, bought in order of worth by token as far as a budget goes; whole runs of them at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .candidates import NOTHING, Candidates

RUN = 4096  # steps that are looked at together at the least


@dataclass(frozen=True)
class Steps:
    """What can be bought of the choices, a choice's steps one after the other; arrays of shape `(levels, choices)`.

    Attributes:
        costs: Estimated tokens that the step adds beside what it opens.
        worths: Worth of a token of the step.
        values: Worth of the step.
        members: Units, those of a choice together and in order, of shape `(units,)`.
        starts: Where in `members` the units of each choice begin, and where the last ones end, `(choices + 1,)`.
        openers: Unit of each opening, those of a choice together, of shape `(pairs,)`.
        opened: Number of what it opens, of the same shape.
        firsts: Where in `openers` those of each choice begin, and where the last ones end, `(choices + 1,)`.
        shows: Whether there is anything of each unit at each level, of shape `(levels, units)`.
        leading: How many steps are ranked at once; of the others those that can be bought after these.
    """

    costs: np.ndarray
    worths: np.ndarray
    values: np.ndarray
    members: np.ndarray
    starts: np.ndarray
    openers: np.ndarray
    opened: np.ndarray
    firsts: np.ndarray
    shows: np.ndarray
    leading: int

    @classmethod
    def of(cls, candidates: Candidates, room: int | None = None) -> Steps:
        """The steps of all choices.

        Args:
            candidates: The units.
            room: About as many tokens will be used, if that is known.
        """
        dense, count = candidates.choices()
        forms = candidates.forms
        totals = candidates.costs[None] if forms is None else forms.costs
        members, starts, score = np.arange(len(dense)), np.arange(count + 1), candidates.scores
        if count < len(dense):
            members = np.argsort(dense, kind="stable")
            starts = np.searchsorted(dense[members], starts)
            score = np.maximum.reduceat(score[members], starts[:-1])
        worth = np.ones(1) if forms is None else np.asarray(forms.worth)
        costs = np.diff(np.stack([_summed(row, dense, count).astype(np.int64) for row in totals]), axis=0, prepend=0)
        worths = worth[:, None] * score
        if candidates.covered is not None:
            worths[0] += _summed(candidates.covered, dense, count) / np.maximum(costs[0], 1)
        values = costs * worths
        if candidates.along is not None:
            costs = costs * ~_summed(candidates.along, dense, count).astype(bool)
        openers, opened = candidates.openings.pairs()
        if len(openers) > len(dense) or count < len(dense):
            order = np.argsort(dense[openers], kind="stable")
            openers, opened = openers[order], opened[order]
        firsts = np.searchsorted(dense[openers], np.arange(count + 1))
        shows = np.ones((1, len(dense)), dtype=bool) if forms is None else forms.shows
        leading = costs.size
        if room is not None and not (candidates.weighed is not None and candidates.weighed.any()):
            leading = max(RUN, int(room * costs.size / max(int(costs.sum()), 1)))
        return cls(costs, worths, values, members, starts, openers, opened, firsts, shows, leading)

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
    def ranked(self) -> tuple[Ranked, np.ndarray]:
        """The leading steps by falling worth of a token, and whether each step is one of the others."""
        best = self.best(np.arange(self.costs.size), self.leading)
        others = np.ones(self.costs.shape, dtype=bool)
        others.ravel()[best] = False
        return self.run(best), others

    def best(self, steps: np.ndarray, count: int) -> np.ndarray:
        """The best of some steps by falling worth of a token: so many, and those that are worth as much as the last.

        Args:
            steps: Their numbers, level by level, rising.
            count: How many.
        """
        losses = -self.worths.ravel()[steps]
        if count < len(steps):
            ahead = losses <= np.partition(losses, count - 1)[count - 1]
            steps, losses = steps[ahead], losses[ahead]
        return steps[np.argsort(losses, kind="stable")]

    def run(self, steps: np.ndarray) -> Ranked:
        """Steps, in the order of their numbers as given, with what they cost and open."""
        levels, choices = np.divmod(steps, self.choices)
        counts = self.firsts[choices + 1] - self.firsts[choices]
        places = np.repeat(np.arange(len(steps)), counts)
        pairs = np.arange(len(places)) + np.repeat(self.firsts[choices] - np.cumsum(counts) + counts, counts)
        seen = self.shows[levels[places], self.openers[pairs]]
        places, opened = places[seen], self.opened[pairs[seen]]
        if self.choices < len(self.members) and len(places):  # units of one choice may open the same
            places, opened = np.unique(np.column_stack((places, opened)), axis=0).T
        return Ranked(steps, self.costs.ravel()[steps], places, opened)


def _summed(values: np.ndarray, dense: np.ndarray, count: int) -> np.ndarray:
    """Sums of values of units, of shape `(units,)`, by choice, of shape `(choices,)`."""
    return values if count == len(dense) else np.bincount(dense, values, count)


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
    run, others = steps.ranked
    purchase.spend(run)
    count = steps.leading
    while len(left := purchase.affordable(others)):
        best = steps.best(left, count)
        purchase.spend(steps.run(best))
        others = np.zeros_like(others)
        others.ravel()[left] = True
        others.ravel()[best] = False
        count *= 2
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

    def spend(self, run: Ranked) -> None:
        """Buy what can be bought of the next steps."""
        self._left, self._costs = run.steps, run.costs
        self._openers, self._numbers = run.openers, run.opened % max(len(self._overheads), 1)
        while self._goes_on():
            pass

    def affordable(self, steps: np.ndarray) -> np.ndarray:
        """Numbers of those of the next steps, of shape `(levels, choices)`, that there may be room for."""
        found = steps & (self._steps.costs <= self.room)
        for level, own in enumerate(found):
            own &= (self.level == level - 1) | (found[level - 1] if level else False)
        return np.flatnonzero(found)

    def _goes_on(self) -> bool:
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
