"""States of a bounded number of tokens: those of the windows that matter least are given up and read again when needed.

A window's states are the same whenever it is read (see `encoders.packed`), so nothing but time is lost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from .rows import Quantized, Rows, StateRows

SPARE = 8  # one part in so many of the bound is for windows that were read again
Window = tuple[int, int]


class BoundedRows(StateRows):
    """As `StateRows`, of all tokens as they are seen, of at most about `bound` of them as they are kept.

    Args:
        width, dtype, device: As for `StateRows`.
        bound: Tokens whose states are kept; those of the open window always are.

    Attributes:
        read_again: Gives the states of windows, see `ReetScorer`.
    """

    def __init__(self, width: int, dtype: torch.dtype, device: torch.device, bound: int) -> None:
        super().__init__(width, dtype, device)
        self.bound = bound
        self.read_again: Callable[[Sequence[Window]], Iterable[torch.Tensor]] | None = None
        self._windows: list[Window] = []  # final ones
        self._kept = np.zeros(0, dtype=bool)  # of each whether its states are held
        self._first = np.zeros(0, dtype=np.int64)  # and where, if so
        self._gone = 0  # tokens of windows that are not held
        self._used: set[int] = set()
        self._again: OrderedDict[int, Quantized] = OrderedDict()

    def __len__(self) -> int:
        return super().__len__() + self._gone

    def reserve(self, count: int) -> None:
        super().reserve(count - self._gone)

    def stage(self, start: int, states: torch.Tensor) -> None:
        super().stage(start - self._gone, states)

    def publish(self, count: int) -> None:
        super().publish(count - self._gone)

    def close(self, windows: Sequence[Window], prior: np.ndarray) -> None:
        """Further windows are final; where there are too many tokens, the states of those of least worth are given up.

        Args:
            windows: Half-open tokens of each.
            prior: What any question may need of all tokens, of shape `(tokens,)`: a window is worth their mean, and
                more if it was read for the last query.
        """
        if not windows:
            return
        self._windows.extend(windows)
        self._kept = np.append(self._kept, np.ones(len(windows), dtype=bool))
        self._place()
        excess = super().__len__() - self.bound + self.bound // SPARE
        if excess <= self.bound // SPARE:
            return
        sizes = np.diff(np.array(self._windows), axis=1)[:, 0]
        used = np.isin(np.arange(len(sizes)), list(self._used))
        worth = np.add.reduceat(prior[: self._windows[-1][1]], [start for start, _ in self._windows]) / sizes
        order = [n for n in np.lexsort((worth, used)).tolist() if self._kept[n]]
        count = int(np.searchsorted(np.cumsum(sizes[order]), excess)) + 1
        self._give_up(order[:count], sizes)

    def _give_up(self, numbers: Sequence[int], sizes: np.ndarray) -> None:
        held = np.ones(len(self.held.values), dtype=bool)
        for number in numbers:
            first = int(self._first[number])
            held[first : first + sizes[number]] = False
        self.fill(self.held.only(torch.from_numpy(np.flatnonzero(held)).to(self.held.values.device)))
        self._kept[list(numbers)] = False
        self._gone += int(sizes[list(numbers)].sum())
        self._place()

    def _place(self) -> None:
        """Where the states of each window begin among those that are held."""
        sizes = np.array([end - start for start, end in self._windows], dtype=np.int64) * self._kept
        self._first = np.cumsum(sizes) - sizes

    def take(self, rows: Rows) -> Quantized:
        if not self._gone:
            return super().take(rows)
        device = self.held.values.device
        tokens = np.arange(len(self))[rows] if isinstance(rows, slice) else rows.cpu().numpy()
        starts = np.array([start for start, _ in self._windows], dtype=np.int64)
        number = np.maximum(np.searchsorted(starts, tokens, side="right") - 1, 0)
        closed = tokens < self._windows[-1][1]
        self._used = set(np.unique(number[closed]).tolist())
        held = ~closed | self._kept[number]
        places = np.where(closed, self._first[number] + tokens - starts[number], tokens - self._gone)
        found = super().take(torch.from_numpy(np.where(held, places, 0)).to(device))
        missing = np.unique(number[~held]).tolist()
        self._fetch([n for n in missing if n not in self._again])
        for each in missing:
            own = np.flatnonzero((number == each) & ~held)
            again = self.readable(self._again[each].only(torch.from_numpy(tokens[own] - starts[each]).to(device)))
            for part, rows_again in zip(found, again, strict=True):
                part[torch.from_numpy(own).to(device)] = rows_again
            self._again.move_to_end(each)
        self._forget()
        return found

    def _fetch(self, numbers: Sequence[int]) -> None:
        if not numbers or self.read_again is None:
            return
        for number, states in zip(numbers, self.read_again([self._windows[n] for n in numbers]), strict=True):
            self._again[number] = self.quantized(states)

    def _forget(self) -> None:
        total = sum(len(window.scales) for window in self._again.values())
        while total > self.bound // SPARE and len(self._again) > 1:
            total -= len(self._again.popitem(last=False)[1].scales)
