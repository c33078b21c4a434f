"""Cached rows of tokens: they grow without being copied, and many of them are kept in half precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

HALF_FROM = 1 << 17  # rows; from here on float32 rows are kept as float16, which halves what a long conversation takes


class GrowingTensor:
    """Rows that are appended and replaced at the end without copying what stands before.

    Args:
        *shape: Of a row.
        dtype: What rows are given and read in.
        device: Where they are kept.
        may_halve: Whether more than `HALF_FROM` rows of float32 are kept as float16.
    """

    def __init__(self, *shape: int, dtype: torch.dtype, device: torch.device, may_halve: bool = False) -> None:
        self._data = torch.empty(0, *shape, dtype=dtype, device=device)
        self._rows = 0
        self._dtype = dtype
        self._may_halve = may_halve and dtype == torch.float32
        self._held: list[tuple[int, torch.Tensor]] = []

    def write(self, start: int, rows: torch.Tensor) -> None:
        """Replace everything from row `start` on by `rows`."""
        self.reserve(start + len(rows))
        self.stage(start, rows)
        self.publish(start + len(rows))

    def reserve(self, count: int) -> None:
        """Make room for `count` rows, and forget what was staged and never published."""
        self._held.clear()
        dtype = torch.float16 if self._may_halve and count > HALF_FROM else self._data.dtype
        if count > len(self._data) or dtype != self._data.dtype:
            room = count if count <= len(self._data) else max(count, int(1.5 * len(self._data)))
            larger = self._data.new_empty(room, *self._data.shape[1:], dtype=dtype)
            larger[: self._rows] = self._data[: self._rows]
            self._data = larger

    def stage(self, start: int, rows: torch.Tensor) -> None:
        """Rows from number `start` on, in reserved room; until `publish` everything reads as it did before."""
        seen = min(max(self._rows - start, 0), len(rows))
        if seen:
            self._held.append((start, rows[:seen].clone()))
        self._data[start + seen : start + len(rows)] = rows[seen:]

    def publish(self, count: int) -> None:
        """Show what was staged: the first `count` rows are all there are."""
        for start, rows in self._held:
            self._data[start : start + len(rows)] = rows
        self._held.clear()
        self._rows = count

    @property
    def rows(self) -> torch.Tensor:
        """All rows as they are kept, as a view."""
        return self._data[: self._rows]

    @property
    def read(self) -> torch.Tensor | WideRows:
        """All rows in the precision in which they were given."""
        return self.rows if self._data.dtype == self._dtype else WideRows(self.rows, self._dtype)


class WideRows:
    """Rows that are kept in half precision and read in another, a part at a time: what a head asks of a tensor.

    Args:
        rows: As they are kept.
        dtype: What they are read in.
    """

    def __init__(self, rows: torch.Tensor, dtype: torch.dtype) -> None:
        self._rows, self.dtype, self.device, self.shape = rows, dtype, rows.device, rows.shape

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, part: slice) -> torch.Tensor:
        return self._rows[part].to(self.dtype)

    def split(self, sizes: Sequence[int]) -> Iterator[torch.Tensor]:
        """Consecutive parts of these lengths."""
        return (part.to(self.dtype) for part in self._rows.split(sizes))
