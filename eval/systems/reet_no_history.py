"""An ablation of REET: each question as if it were the first, with no history."""

from __future__ import annotations

from collections.abc import Sequence

from eval.revision import revision
from eval.systems.base import Kept, QueryOptional
from eval.systems.reet import scorer
from reet_hf.budget import TokenCounter
from reet_hf.records import Turn
from reet_hf.registration import DEFAULT_MODEL, bundled_model
from reet_hf.state import State


class NoHistory(QueryOptional):
    """A scoring system that is never told of earlier turns."""

    def compress(
        self, opened: State, query: str | None, history: Sequence[Turn], budgets: Sequence[float | int]
    ) -> list[Kept]:
        return super().compress(opened, query, (), budgets)


def build(counter: TokenCounter, model: str = DEFAULT_MODEL, unit: str = "auto") -> NoHistory:
    """The system; see `eval.systems.reet`."""
    return NoHistory(scorer(model), counter, unit, revision(bundled_model(model)))
