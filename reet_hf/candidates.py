"""Units that can be kept, what they cost and open, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import overload

import numpy as np

from .records import Span, Unit
from .unit_table import ALONE, UnitTable

WORTH = (1.0, 0.6, 0.3)  # of a word by `shortening.FORMS`: content, linking, the rest
NOTHING = -1  # the level of a unit that is left out


@dataclass(frozen=True)
class Forms:
    """Shorter forms of units, each containing the one before; the last is the whole unit.

    Attributes:
        costs: Estimated tokens of each form, of shape `(forms, units)`.
        slices: For each unit the half-open characters of each of its forms.
        worth: What a token that a form adds is worth beside one of the first form, falling, in (0, 1].
        shows: Whether there is anything in each form, of the shape of `costs`: short forms of filler alone are empty.
    """

    costs: np.ndarray
    slices: Sequence[Sequence[Sequence[tuple[int, int]]]]
    worth: Sequence[float] = WORTH
    shows: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        if self.shows.shape != self.costs.shape:
            object.__setattr__(self, "shows", shown_forms(self.slices, len(self.costs)))


def shown_forms(slices: Sequence[Sequence[Sequence[tuple[int, int]]]], count: int) -> np.ndarray:
    """Whether there is anything in each of `count` forms of units, of shape `(count, units)`."""
    told = [[bool(form) for form in forms] for forms in slices]
    return np.array(told, dtype=bool).reshape(-1, count).T


class Opens(Sequence[tuple[int, ...]]):
    """For each unit the numbers of what is opened, and paid for once, where anything of it is kept.

    Args:
        first: One that every unit opens, of shape `(units,)`.
        more: Further ones, by the place of the unit.
    """

    def __init__(self, first: np.ndarray, more: Mapping[int, tuple[int, ...]]) -> None:
        self.first, self.more = first, more

    @classmethod
    def of(cls, opens: Sequence[tuple[int, ...]]) -> Opens:
        """Openings as columns, if they are none."""
        if isinstance(opens, Opens):
            return opens
        first = np.array([numbers[0] for numbers in opens], dtype=np.int64)
        return cls(first, {place: tuple(numbers[1:]) for place, numbers in enumerate(opens) if len(numbers) > 1})

    def __len__(self) -> int:
        return len(self.first)

    @overload
    def __getitem__(self, place: int) -> tuple[int, ...]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[int, ...]]: ...
    def __getitem__(self, place: int | slice) -> tuple[int, ...] | list[tuple[int, ...]]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        return (int(self.first[place]), *self.more.get(place, ()))

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return ((first, *self.more.get(place, ())) for place, first in enumerate(self.first.tolist()))

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Place of the unit and number of the opening, for all there are."""
        places = np.arange(len(self.first))
        if not self.more:
            return places, self.first
        counts = [len(numbers) for numbers in self.more.values()]
        owners = np.repeat(np.fromiter(self.more, dtype=np.int64, count=len(self.more)), counts)
        numbers = np.fromiter((n for own in self.more.values() for n in own), dtype=np.int64, count=sum(counts))
        return np.concatenate((places, owners)), np.concatenate((self.first, numbers))

    def only(self, places: np.ndarray) -> Opens:
        """Those of some units."""
        more = {new: self.more[old] for new, old in enumerate(places.tolist()) if old in self.more} if self.more else {}
        return Opens(self.first[places], more)


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", UnitTable.of(self.units))
        if self.opens is not None:
            object.__setattr__(self, "opens", Opens.of(self.opens))

    @property
    def table(self) -> UnitTable:
        """The units as columns."""
        return UnitTable.of(self.units)

    @property
    def openings(self) -> Opens:
        """What units open."""
        return Opens(self.table.places[:, 0], {}) if self.opens is None else Opens.of(self.opens)

    @property
    def levels(self) -> int:
        """How many forms a unit has."""
        return len(self.forms.worth) if self.forms is not None else 1

    def choices(self) -> tuple[np.ndarray, int]:
        """For each unit the number of its choice, and how many there are: a group of units is one choice."""
        groups = self.table.groups
        numbers = np.arange(len(groups))
        grouped = groups != ALONE
        if not grouped.any():
            return numbers, len(numbers)
        _, first, inverse = np.unique(groups[grouped], return_index=True, return_inverse=True)
        numbers[grouped] = numbers[grouped][first][inverse]
        _, dense = np.unique(numbers, return_inverse=True)
        return dense, int(dense.max()) + 1

    def spans(self, levels: np.ndarray) -> list[Span]:
        """What is kept of each unit at its level, in order."""
        kept = np.flatnonzero(levels > NOTHING)
        rows, at = self.table.places[kept], levels[kept]
        short = at < self.levels - 1
        if self.forms is not None and short.any():
            slices = self.forms.slices
            parts = [
                slices[place][level] for place, level in zip(kept[short].tolist(), at[short].tolist(), strict=True)
            ]
            counts = np.ones(len(kept), dtype=np.int64)
            counts[short] = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
            ends = np.fromiter(chain.from_iterable(chain.from_iterable(parts)), dtype=np.int64).reshape(-1, 2)
            rows = np.repeat(rows, counts, axis=0)
            rows[np.repeat(short, counts), 1:] = ends
        return Span.of(zip(*rows.T.tolist(), strict=True))

    def only(self, places: np.ndarray) -> Candidates:
        """Some of the units, by their places in order, without forms and what they cover."""
        return Candidates(
            self.table.only(places),
            self.scores[places],
            self.costs[places],
            opens=None if self.opens is None else self.openings.only(places),
            along=None if self.along is None else self.along[places],
            weighed=self.weighed,
        )
