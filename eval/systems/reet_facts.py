"""REET's other form of compression: the lines of the ledger that fit, facts that the query needs first."""

from __future__ import annotations

from eval.revision import revision
from eval.systems.base import QueryOptional
from eval.systems.reet import extractor, scorer
from reet_hf.budget import TokenCounter
from reet_hf.registration import DEFAULT_MODEL, bundled_model


def build(counter: TokenCounter, model: str = DEFAULT_MODEL) -> QueryOptional:
    """The system; see `eval.systems.reet`."""
    own = scorer(model)
    digest = revision(bundled_model(model))
    return QueryOptional(own, counter, revision=digest, extractor=extractor(own), strategy="facts")
