"""An ablation of REET: the query-blind prior in every regime."""

from __future__ import annotations

from collections.abc import Sequence

from eval.revision import revision
from eval.systems.base import Kept, QueryBlind
from eval.systems.reet import scorer
from reet_hf.budget import TokenCounter
from reet_hf.records import Turn
from reet_hf.registration import DEFAULT_MODEL, bundled_model
from reet_hf.state import State


class Prior(QueryBlind):
    """A scoring system that is never told the query, so that its scorer falls back on what any turn may need."""

    def compress(
        self, opened: State, query: str | None, history: Sequence[Turn], budgets: Sequence[float | int]
    ) -> list[Kept]:
        return super().compress(opened, None, (), budgets)


def build(counter: TokenCounter, model: str = DEFAULT_MODEL, unit: str = "auto") -> Prior:
    """The system; see `eval.systems.reet`."""
    return Prior(scorer(model), counter, unit, revision(bundled_model(model)))
