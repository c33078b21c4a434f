"""Everything is kept: what a reader makes of the whole conversation, beside which compressors are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.systems.base import Kept, QueryBlind
from eval.systems.sentences import SentenceRanker
from reet_hf.budget import TokenCounter
from reet_hf.records import Turn
from reet_hf.state import State


class Alike(SentenceRanker):
    """The same score for every sentence."""

    def fit(self, sentences: list[str]) -> int:
        return len(sentences)

    def rank(self, index: int, query: str) -> np.ndarray:
        return np.zeros(index)


class Full(QueryBlind):
    """The whole conversation whatever the budget; `Kept.budget` is then what it needs."""

    budgeted = False

    def __init__(self, counter: TokenCounter) -> None:
        super().__init__(Alike(), counter, unit="message")

    def compress(
        self, opened: State, query: str | None, history: Sequence[Turn], budgets: Sequence[float | int]
    ) -> list[Kept]:
        return super().compress(opened, None, (), [1.0]) * len(budgets)


def build(counter: TokenCounter) -> Full:
    """The system."""
    return Full(counter)
