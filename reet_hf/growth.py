"""Arrays that grow at the end without being copied each time."""

from __future__ import annotations

import numpy as np


class GrowingArray:
    """Rows of one type that are appended and taken away at the end; appending `n` rows costs O(n) on the mean.

    Args:
        dtype: Of the rows.
        *shape: Of a row.
    """

    def __init__(self, dtype: type | np.dtype, *shape: int) -> None:
        self._data = np.empty((0, *shape), dtype=dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> np.ndarray:
        """All rows, of shape `(rows, *shape)`, as a view that later appending does not change."""
        return self._data[: self._count]

    def append(self, rows: np.ndarray) -> None:
        """Add rows at the end; values are cast to the type of the array."""
        count = self._count + len(rows)
        if count > len(self._data):
            larger = np.empty((max(count, int(1.5 * len(self._data))), *self._data.shape[1:]), dtype=self._data.dtype)
            larger[: self._count] = self._data[: self._count]
            self._data = larger
        self._data[self._count : count] = rows
        self._count = count

    def truncate(self, count: int) -> None:
        """Keep the first `count` rows."""
        self._count = min(self._count, count)
