"""Units as columns, so that a hundred thousand of them are looked at in milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from .growth import GrowingArray
from .records import Unit

ALONE = -1  # the group of a unit that is in none


class UnitTable(Sequence[Unit]):
    """Units in reading order, each also a row of columns; it only grows.

    Args:
        units: The first ones.
    """

    def __init__(self, units: Iterable[Unit] = ()) -> None:
        self._places = GrowingArray(np.int64, 3)
        self._groups = GrowingArray(np.int64)
        self._codes = GrowingArray(np.int16)
        self._kinds: dict[str, int] = {}
        self.extend(list(units))

    @classmethod
    def of(cls, units: Sequence[Unit]) -> UnitTable:
        """Units as a table, if they are none."""
        return units if isinstance(units, UnitTable) else cls(units)

    def extend(self, units: Sequence[Unit]) -> None:
        """Add units at the end."""
        self._places.append(np.array([(u.message, u.start, u.end) for u in units], dtype=np.int64).reshape(-1, 3))
        self._groups.append(np.array([ALONE if u.group is None else u.group for u in units], dtype=np.int64))
        codes = [self._kinds.setdefault(unit.kind, len(self._kinds)) for unit in units]
        self._codes.append(np.array(codes, dtype=np.int16))

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Unit: ...
    @overload
    def __getitem__(self, place: slice) -> list[Unit]: ...
    def __getitem__(self, place: int | slice) -> Unit | list[Unit]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        message, start, end = self.places[place].tolist()
        group = int(self.groups[place])
        return Unit(message, start, end, list(self._kinds)[self._codes.rows[place]], None if group == ALONE else group)

    def __iter__(self) -> Iterator[Unit]:
        names = list(self._kinds)
        columns = (self.places.tolist(), self._codes.rows.tolist(), self.groups.tolist())
        for (message, start, end), code, group in zip(*columns, strict=True):
            yield Unit(message, start, end, names[code], None if group == ALONE else group)

    @property
    def places(self) -> np.ndarray:
        """`(message, start, end)` of each unit, of shape `(units, 3)`."""
        return self._places.rows

    @property
    def groups(self) -> np.ndarray:
        """Group of each unit, `ALONE` for none, of shape `(units,)`."""
        return self._groups.rows

    def are(self, kinds: Iterable[str]) -> np.ndarray:
        """Whether each unit is of one of some kinds, of shape `(units,)`."""
        wanted = [self._kinds[kind] for kind in kinds if kind in self._kinds]
        return np.isin(self._codes.rows, wanted)

    def only(self, chosen: np.ndarray) -> UnitTable:
        """Some of the units, by a mask or by places in order."""
        found = UnitTable()
        found._kinds = dict(self._kinds)
        found._places.append(self.places[chosen])
        found._groups.append(self.groups[chosen])
        found._codes.append(self._codes.rows[chosen])
        return found

    def of_messages(self, first: int, last: int) -> slice:
        """The units of messages `first` to `last`."""
        low, high = np.searchsorted(self.places[:, 0], (first, last + 1)).tolist()
        return slice(low, high)
