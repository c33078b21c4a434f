"""What units cover: each entity once, by the unit that is needed most; often mentioned ones weigh more.

What the user or the system demanded ("always", "must never") is favoured over other text that is as likely needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

REFERENCE_WEIGHT = 0.2  # an entity that was referred to again weighs so much more each time
COVERED = 0.02  # worth of an entity's being kept at all, in tokens that are surely needed
LITERAL_RATE = 0.5  # keep rate from which on numbers, identifiers and the like may take the whole budget, if they must


CONSTRAINT = 1.0  # worth of a favoured constraint, in tokens that are surely needed for each of its tokens
CONSTRAINT_SHARE = 0.15  # share of the budget that constraints may take before everything else


@dataclass(frozen=True)
class Mentioned:
    """Mentions of entities, numbers and the like as arrays.

    Attributes:
        places: Message, first character and character after the last, of shape `(mentions, 3)`, in reading order.
        entities: Number of the entity of each, of shape `(mentions,)`.
        weights: Of each entity, of shape `(entities,)`.
        literal: Whether it is a number, date, identifier or address, of the same shape.
        constraints: Message, first character and character after the last of the sentences that state what must be
            done, of shape `(constraints, 3)`, in reading order.
    """

    places: np.ndarray
    entities: np.ndarray
    weights: np.ndarray
    literal: np.ndarray
    constraints: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))


def coverage(units: np.ndarray, scores: np.ndarray, mentioned: Mentioned) -> tuple[np.ndarray, np.ndarray]:
    """Summed weights of the entities that each unit is to cover, and how many of them are literal: both `(units,)`.

    Args:
        units: Message, first character and character after the last, in reading order, of shape `(units, 3)`.
        scores: Of the units; an entity is left to the unit of highest score that has the whole of a mention.
        mentioned: What there is to cover.
    """
    if not len(units) or not len(mentioned.places):
        return np.zeros(len(units)), np.zeros(len(units))
    stride = int(max(units[:, 1:].max(), mentioned.places[:, 1:].max())) + 1
    firsts = units[:, 0] * stride + units[:, 1]
    owner = np.searchsorted(firsts, mentioned.places[:, 0] * stride + mentioned.places[:, 1], side="right") - 1
    inside = (owner >= 0) & (units[owner, 0] == mentioned.places[:, 0]) & (mentioned.places[:, 2] <= units[owner, 2])
    owner, entities = owner[inside], mentioned.entities[inside]
    order = np.lexsort((owner, -scores[owner], entities))
    first = np.diff(entities[order], prepend=-1) != 0
    owner, entities = owner[order][first], entities[order][first]
    weights, literal = mentioned.weights[entities], mentioned.literal[entities]
    return np.bincount(owner, weights, len(units)), np.bincount(owner, literal, len(units))


def constrained(units: np.ndarray, mentioned: Mentioned) -> np.ndarray:
    """Whether each unit shares characters with a constraint, of shape `(units,)`."""
    if not len(units) or not len(mentioned.constraints):
        return np.zeros(len(units), dtype=bool)
    bound = mentioned.constraints
    stride = int(max(units[:, 1:].max(), bound[:, 1:].max())) + 1
    first = np.searchsorted(bound[:, 0] * stride + bound[:, 2], units[:, 0] * stride + units[:, 1], side="right")
    last = np.searchsorted(bound[:, 0] * stride + bound[:, 1], units[:, 0] * stride + units[:, 2], side="left")
    return last > first


def _likeliest(some: np.ndarray, scores: np.ndarray, costs: np.ndarray, room: float) -> np.ndarray:
    """Places of the units of highest score among `some` that together take no more tokens than there is room."""
    places = np.flatnonzero(some & (costs <= room))
    ranked = places[np.argsort(-scores[places], kind="stable")]
    return ranked[np.cumsum(costs[ranked]) <= room]


def worth_of_coverage(
    units: np.ndarray, scores: np.ndarray, costs: np.ndarray, mentioned: Mentioned, limit: int, rate: float | None
) -> np.ndarray:
    """What the first form of each unit is worth beside its score, in tokens that are surely needed, `(units,)`.

    What states a constraint comes first, the likeliest of them as far as a share of the budget goes.

    Numbers, dates, identifiers and addresses are what users miss first: where the first forms of the units that cover
    them take no more than a share of the budget, these come before everything. The share is all of it from
    `LITERAL_RATE` on and falls with the square of the rate below. A budget that is a number of tokens has no rate: one
    text may be compressed to it again and again, and what comes first each time is all that stays.

    Args:
        units, scores, mentioned: As in `coverage`.
        costs: Tokens of the first form of each unit, of shape `(units,)`.
        limit: The budget in tokens.
        rate: The budget as it was asked for, if it is a keep rate.
    """
    weights, literal = coverage(units, scores, mentioned)
    worth = COVERED * weights
    favoured = _likeliest(constrained(units, mentioned), scores, costs, CONSTRAINT_SHARE * limit)
    worth[favoured] += CONSTRAINT * costs[favoured]
    share = 0.0 if rate is None else min(1.0, rate / LITERAL_RATE) ** 2
    if share and costs[literal > 0].sum() <= share * limit:
        worth = worth + np.where(literal > 0, costs, 0.0)
    return worth
