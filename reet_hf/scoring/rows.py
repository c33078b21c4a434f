"""Cached rows of tokens: they grow without being copied, and states are kept in eight bits."""

from __future__ import annotations

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

    @property
    def rows(self) -> torch.Tensor:
        """All rows, as a view."""
        return self._data[: self._rows]


class StateRows:
    """States in eight bits with a scale each, a quarter of float32 (symmetric quantization by row; Dettmers et al.,
    arXiv:2208.07339).

    Args:
        width: Of a state.
        dtype: What states are given and read in.
        device: Where they are kept.
    """

    def __init__(self, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype = dtype
        self.values = GrowingTensor(width, dtype=torch.int8, device=device)
        self.scales = GrowingTensor(dtype=torch.float16, device=device)

    def __len__(self) -> int:
        return len(self.values)

    def reserve(self, count: int) -> None:
        """As `GrowingTensor.reserve`."""
        self.values.reserve(count)
        self.scales.reserve(count)

    def stage(self, start: int, states: torch.Tensor) -> None:
        """As `GrowingTensor.stage`, for states of shape `(tokens, width)`."""
        values, scales = quantized(states)
        self.values.stage(start, values)
        self.scales.stage(start, scales)

    def publish(self, count: int) -> None:
        """As `GrowingTensor.publish`."""
        self.values.publish(count)
        self.scales.publish(count)

    def write(self, start: int, states: torch.Tensor) -> None:
        """Replace everything from row `start` on by `states`."""
        self.reserve(start + len(states))
        self.stage(start, states)
        self.publish(start + len(states))

    def read(self, rows: Rows) -> torch.Tensor:
        """Some of the states, of shape `(rows, width)`."""
        scales = self.scales.rows[rows].to(self._dtype).unsqueeze(-1)
        return self.values.rows[rows].to(self._dtype).mul_(scales)


def quantized(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers in [-127, 127] of the shape of `states`, and the scale of each row in float16, `(rows,)`."""
    if not states.shape[-1]:
        return states.to(torch.int8), states.new_zeros(len(states), dtype=torch.float16)
    widest = states.float().abs().amax(-1)
    scales = (widest / 127).clamp(min=torch.finfo(torch.float16).tiny).to(torch.float16)
    values = (states.float() / scales.float().unsqueeze(-1)).round_().clamp_(-127, 127)
    return values.to(torch.int8), scales
