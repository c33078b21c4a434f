"""REET's other form of compression: the lines of the ledger that fit, facts that the query needs first."""

from __future__ import annotations

from eval.revision import revision
from eval.systems.base import QueryOptional
from eval.systems.reet import scorer
from reet_hf.budget import TokenCounter
from reet_hf.extraction.extractor import ReetExtractor
from reet_hf.registration import DEFAULT_MODEL, bundled_model


def build(counter: TokenCounter, model: str = DEFAULT_MODEL) -> QueryOptional:
    """The system; see `eval.systems.reet`."""
    own = scorer(model)
    extractor = ReetExtractor(own.model, own.tokenizer)
    return QueryOptional(own, counter, revision=revision(bundled_model(model)), extractor=extractor, strategy="facts")
