"""Windows as batches with little padding, for runtimes that take rectangles of tokens.

A window is padded to a length that depends on it alone, and only windows of one such length are read together. So what
stands beside a window changes neither its padding nor, as far as a runtime computes rows apart, its states.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..modeling.modeling_reet import ReetModel

STEP = 16  # tokens: lengths are rounded up to a multiple, so that a runtime prepares for few shapes
BATCH = 8  # windows: more together are no faster on a CPU

Rectangle = Callable[[np.ndarray, np.ndarray], np.ndarray]


def read_grouped(
    run: Rectangle, windows: Sequence[Sequence[int]], longest: int, padding: int = 0, batch: int = BATCH
) -> list[torch.Tensor]:
    """States of windows, of shape `(tokens, width)` each, in float32 and in the order of the windows.

    Args:
        run: From ids and an attention mask, both of shape `(windows, tokens)` in int64, to states of shape
            `(windows, tokens, width)`.
        windows: Token ids with special tokens.
        longest: Tokens that the encoder has positions for; padding never goes beyond.
        padding: The id that fills up.
        batch: Windows that are read together at most.
    """
    groups: dict[int, list[int]] = {}
    for number, window in enumerate(windows):
        groups.setdefault(padded_length(len(window), longest), []).append(number)
    found: dict[int, torch.Tensor] = {}
    for length, numbers in groups.items():
        for first in range(0, len(numbers), batch):
            some = numbers[first : first + batch]
            ids = np.full((len(some), length), padding, dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, number in enumerate(some):
                ids[row, : len(windows[number])] = windows[number]
                mask[row, : len(windows[number])] = 1
            states = torch.from_numpy(np.ascontiguousarray(run(ids, mask), dtype=np.float32))
            found.update({number: states[row, : len(windows[number])] for row, number in enumerate(some)})
    return [found[number] for number in range(len(windows))]


class GroupedEncoder(ABC):
    """What encoders of such runtimes have in common: how windows become rectangles, and states the model's again.

    Args:
        model: Whose weights are read.
    """

    def __init__(self, model: ReetModel) -> None:
        self._dtype, self._longest = model.dtype, model.config.window_tokens
        self._padding = model.config.encoder.pad_token_id or 0

    @abstractmethod
    def _run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """States of a rectangle of windows, see `read_grouped`."""

    def read(self, windows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """States of windows, of shape `(tokens, width)` each, in the precision of the model.

        Args:
            windows: Vocabulary ids with special tokens, none empty.
        """
        found = read_grouped(self._run, windows, self._longest, self._padding)
        return [states.to(self._dtype) for states in found]


def padded_length(tokens: int, longest: int) -> int:
    """Tokens that a window is padded to: the next multiple of `STEP`, but not more than `longest`."""
    return max(tokens, min(-(-tokens // STEP) * STEP, longest))
