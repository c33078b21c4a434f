"""Cached rows of tokens: they grow without being copied, and states are kept in seven bits or eight."""

from __future__ import annotations

from functools import reduce
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
    """States as whole numbers.

    Attributes:
        values: Whole numbers in [-127, 127], of shape `(rows, width)`, int8; narrower where they are `packed`.
        scales: What they are multiplied with, of shape `(rows,)`, float16.
        norms: Their Euclidean length before that, of the same shape and type.
    """

    values: torch.Tensor
    scales: torch.Tensor
    norms: torch.Tensor

    @classmethod
    def of(cls, states: torch.Tensor, bits: int = 8) -> Quantized:
        """States of shape `(rows, width)`, each with the scale that has its widest part fill the range.

        Args:
            states: What is rounded.
            bits: Of a number: of 7 all are even.
        """
        if not states.shape[-1]:
            nothing = states.new_zeros(len(states), dtype=torch.float16)
            return cls(states.to(torch.int8), nothing, nothing)
        states, step = states.float(), 2 ** (8 - bits)
        most = 127 // step
        scales = (states.abs().amax(-1) / (step * most)).clamp(min=torch.finfo(torch.float16).tiny).to(torch.float16)
        values = (states / (step * scales.float()).unsqueeze(-1)).round_().clamp_(-most, most).mul_(step)
        return cls(values.to(torch.int8), scales, values.norm(dim=-1).to(torch.float16))

    def only(self, rows: Rows) -> Quantized:
        """Some of them."""
        if isinstance(rows, slice):
            return Quantized(self.values[rows], self.scales[rows], self.norms[rows])
        return Quantized(*(part.index_select(0, rows) for part in self))  # copies rows, where an index copies numbers

    def states(self, dtype: torch.dtype) -> torch.Tensor:
        """As numbers of a type again."""
        return self.values.to(dtype).mul_(self.scales.to(dtype).unsqueeze(-1))


def packed(values: torch.Tensor) -> torch.Tensor:
    """Even numbers, int8, eight in seven bytes: the last ones of a row go to the high bits of the halves of the others.

    Args:
        values: Of shape `(rows, width)`; of each 64 columns 8 are saved, of what is left over none.
    """
    saved = 8 * (values.shape[-1] // 64)
    own, others = (values >> 1).split((values.shape[-1] - saved, saved), -1)
    bits = others.unsqueeze(1) >> torch.arange(7, dtype=torch.int8, device=values.device).unsqueeze(-1)
    kept = own & 127
    kept[:, : 7 * saved] |= (bits << 7).flatten(1)
    return kept


def unpacked(kept: torch.Tensor, width: int) -> torch.Tensor:
    """What `packed` was given, of shape `(rows, width)`."""
    values, own = kept.new_empty(len(kept), width), kept.shape[-1]
    saved = width - own
    torch.bitwise_left_shift(kept, 1, out=values[:, :own])
    if saved and len(kept):
        weights = torch.tensor((2, 4, 8, 16, 32, 64, -128), dtype=torch.int8, device=kept.device)
        bits = (kept[:, : 7 * saved] >> 7).bitwise_and_(weights.repeat_interleave(saved))
        eights = bits.view(torch.int64).split(saved // 8, -1)  # eight bytes are joined at once
        values[:, own:] = reduce(torch.bitwise_or, eights).view(torch.int8)
    return values


class StateRows:
    """States as whole numbers (symmetric quantization by row; Dettmers et al., arXiv:2208.07339).

    Args:
        width: Of a state.
        dtype: What states are given and read in.
        device: Where they are kept.
        bits: Of a number: 8, which are read where they are, or 7, which take an eighth less, see `packed`.
    """

    def __init__(self, width: int, dtype: torch.dtype, device: torch.device, bits: int = 7) -> None:
        self._width, self._dtype, self._bits = width, dtype, bits
        self._parts = [
            GrowingTensor(*part.shape[1:], dtype=part.dtype, device=device)
            for part in self.quantized(torch.zeros(0, width))
        ]

    def __len__(self) -> int:
        return len(self._parts[0])

    @property
    def held(self) -> Quantized:
        """What is kept, as views; packed with 7 bits."""
        return Quantized(*(part.rows for part in self._parts))

    def quantized(self, states: torch.Tensor) -> Quantized:
        """States of shape `(rows, width)` as they are kept."""
        found = Quantized.of(states, self._bits)
        return found if self._bits == 8 else found._replace(values=packed(found.values))

    def readable(self, rows: Quantized) -> Quantized:
        """Of states as they are kept the numbers themselves."""
        return rows if self._bits == 8 else rows._replace(values=unpacked(rows.values, self._width))

    def reserve(self, count: int) -> None:
        """As `GrowingTensor.reserve`."""
        for part in self._parts:
            part.reserve(count)

    def stage(self, start: int, states: torch.Tensor) -> None:
        """As `GrowingTensor.stage`, for states of shape `(tokens, width)`."""
        for part, rows in zip(self._parts, self.quantized(states), strict=True):
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
        """Have these rows, as they are kept, and no others."""
        for part, own in zip(self._parts, rows, strict=True):
            part.replace(own)

    def take(self, rows: Rows) -> Quantized:
        """Some of the states as whole numbers."""
        return self.readable(self.held.only(rows))

    def read(self, rows: Rows) -> torch.Tensor:
        """Some of the states, of shape `(rows, width)`."""
        return self.take(rows).states(self._dtype)
