"""An ablation of REET: sentences are kept whole or not at all, as the sentence rankers keep them."""

from __future__ import annotations

from eval.revision import revision
from eval.systems.base import QueryOptional
from eval.systems.reet import scorer
from reet_hf.budget import TokenCounter
from reet_hf.registration import DEFAULT_MODEL, bundled_model


def build(counter: TokenCounter, model: str = DEFAULT_MODEL) -> QueryOptional:
    """The system; see `eval.systems.reet`."""
    return QueryOptional(scorer(model), counter, "sentence", revision(bundled_model(model)))
