"""Cached rows of tokens: they grow without being copied, and states are kept in eight bits."""

from __future__ import annotations

from typing import NamedTuple

import torch

Rows = slice | torch.Tensor


class GrowingTensor:
    """Rows that are appended and replaced at the end without copying what stands before.

    Args:
        *shape: Of a row.
        dtype: What rows are kept in.
        device: Where they are kept.
    """

    def __init__(self, *shape: int, dtype: torch.dtype, device: torch.device) -> None:
        self._data = torch.empty(0, *shape, dtype=dtype, device=device)
        self._rows = 0
        self._held: list[tuple[int, torch.Tensor]] = []

    def __len__(self) -> int:
        return self._rows

    def write(self, start: int, rows: torch.Tensor) -> None:
        """Replace everything from row `start` on by `rows`."""
        self.reserve(start + len(rows))
        self.stage(start, rows)
        self.publish(start + len(rows))

    def reserve(self, count: int) -> None:
        """Make room for `count` rows, and forget what was staged and never published."""
        self._held.clear()
        if count > len(self._data):
            larger = self._data.new_empty(max(count, int(1.5 * len(self._data))), *self._data.shape[1:])
            larger[: self._rows] = self._data[: self._rows]
            self._data = larger

    def stage(self, start: int, rows: torch.Tensor) -> None:
        """Rows from number `start` on, in reserved room; until `publish` everything reads as it did before."""
        seen = min(max(self._rows - start, 0), len(rows))
        if seen:
            self._held.append((start, rows[:seen].to(self._data.dtype, copy=True)))
        self._data[start + seen : start + len(rows)] = rows[seen:]

    def publish(self, count: int) -> None:
        """Show what was staged: the first `count` rows are all there are."""
        for start, rows in self._held:
            self._data[start : start + len(rows)] = rows
        self._held.clear()
        self._rows = count

    def replace(self, rows: torch.Tensor) -> None:
        """Have these rows and no room for more."""
        self._data, self._rows = rows, len(rows)

    @property
    def rows(self) -> torch.Tensor:
        """All rows, as a view."""
        return self._data[: self._rows]


class Quantized(NamedTuple):
    """States in eight bits.

    Attributes:
        values: Whole numbers in [-127, 127], of shape `(rows, width)`, int8.
        scales: What they are multiplied with, of shape `(rows,)`, float16.
        norms: Their Euclidean length before that, of the same shape and type.
    """

    values: torch.Tensor
    scales: torch.Tensor
    norms: torch.Tensor

    @classmethod
    def of(cls, states: torch.Tensor) -> Quantized:
        """States of shape `(rows, width)`, each with the scale that has its widest part fill the range."""
        if not states.shape[-1]:
            nothing = states.new_zeros(len(states), dtype=torch.float16)
            return cls(states.to(torch.int8), nothing, nothing)
        states = states.float()
        scales = (states.abs().amax(-1) / 127).clamp(min=torch.finfo(torch.float16).tiny).to(torch.float16)
        values = (states / scales.float().unsqueeze(-1)).round_().clamp_(-127, 127)
        return cls(values.to(torch.int8), scales, values.norm(dim=-1).to(torch.float16))

    def only(self, rows: Rows) -> Quantized:
        """Some of them."""
        if isinstance(rows, slice):
            return Quantized(self.values[rows], self.scales[rows], self.norms[rows])
        return Quantized(*(part.index_select(0, rows) for part in self))  # copies rows, where an index copies numbers

    def states(self, dtype: torch.dtype) -> torch.Tensor:
        """As numbers of a type again."""
        return self.values.to(dtype).mul_(self.scales.to(dtype).unsqueeze(-1))


class StateRows:
    """States in eight bits, a quarter of float32 (symmetric quantization by row; Dettmers et al., arXiv:2208.07339).

    Args:
        width: Of a state.
        dtype: What states are given and read in.
        device: Where they are kept.
    """

    def __init__(self, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype = dtype
        self._parts = [
            GrowingTensor(*shape, dtype=kind, device=device)
            for shape, kind in (((width,), torch.int8), ((), torch.float16), ((), torch.float16))
        ]

    def __len__(self) -> int:
        return len(self._parts[0])

    @property
    def held(self) -> Quantized:
        """What is kept, as views."""
        return Quantized(*(part.rows for part in self._parts))

    def reserve(self, count: int) -> None:
        """As `GrowingTensor.reserve`."""
        for part in self._parts:
            part.reserve(count)

    def stage(self, start: int, states: torch.Tensor) -> None:
        """As `GrowingTensor.stage`, for states of shape `(tokens, width)`."""
        for part, rows in zip(self._parts, Quantized.of(states), strict=True):
            part.stage(start, rows)

    def publish(self, count: int) -> None:
        """As `GrowingTensor.publish`."""
        for part in self._parts:
            part.publish(count)

    def write(self, start: int, states: torch.Tensor) -> None:
        """Replace everything from row `start` on by `states`."""
        self.reserve(start + len(states))
        self.stage(start, states)
        self.publish(start + len(states))

    def fill(self, rows: Quantized) -> None:
        """Have these rows and no others."""
        for part, own in zip(self._parts, rows, strict=True):
            part.replace(own)

    def take(self, rows: Rows) -> Quantized:
        """Some of the states as they are kept."""
        return self.held.only(rows)

    def read(self, rows: Rows) -> torch.Tensor:
        """Some of the states, of shape `(rows, width)`."""
        return self.take(rows).states(self._dtype)
