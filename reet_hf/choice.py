"""Which units are kept, and which of them whole, under a token budget.

A unit that has shorter forms is bought in steps, its content words first. A step is worth the chance that its words are
needed times what words of their kind are worth, so steps in order of worth by token are the greedy solution of a
multiple-choice knapsack (Sinha & Zoltners, 1979): with the best single unit as the other candidate its value is at
least half of the best there is.
"""

from __future__ import annotations

import numpy as np

from .candidates import NOTHING, Candidates
from .greedy import Steps, greedy, value

NEIGHBOUR = 0.3  # share of its chance that a unit lends to the one before and the one after
PRIOR = 0.2  # what the chance that any question needs a unit counts, as a share of the best chance for this one


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
    candidates: Candidates,
    overheads: np.ndarray,
    limit: int,
    spent: int = 0,
    taken: np.ndarray | None = None,
    steps: Steps | None = None,
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
        steps: Of the candidates, if they are known.

    Returns:
        For each unit the number of the form that is kept, `NOTHING` if none is.
    """
    kept = np.zeros(len(candidates.units), dtype=bool) if taken is None else taken
    levels = np.where(kept, candidates.levels - 1, NOTHING)
    if not len(levels):
        return levels
    steps = Steps.of(candidates) if steps is None else steps
    chosen = greedy(steps, candidates, overheads, limit - spent, levels)
    if candidates.forms is not None:
        alone = steps.values.sum(0)
        affordable = (steps.costs.sum(0) <= limit - spent) & (steps.of_choices(levels) == NOTHING)
        best = int(np.where(affordable, alone, -np.inf).argmax())
        if affordable[best] and alone[best] > value(steps, chosen) - value(steps, levels):
            first, units = levels.copy(), steps.units_of(best)
            first[units] = candidates.levels - 1
            opened = {number for place in units.tolist() for number in candidates.openings[place]}
            price = int(steps.costs[:, best].sum()) + sum(int(overheads[number]) for number in opened)
            if price <= limit - spent:
                return greedy(steps, candidates, overheads, limit - spent - price, first)
    return chosen
