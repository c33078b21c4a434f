"""REET with its small weights: three encoder layers instead of six."""

from __future__ import annotations

from eval.systems import reet
from eval.systems.base import QueryOptional
from reet_hf.budget import TokenCounter

SMALL_MODEL = "reet/reet-small"


def build(counter: TokenCounter, model: str = SMALL_MODEL, unit: str = "auto") -> QueryOptional:
    """The system; see `eval.systems.reet`."""
    return reet.build(counter, model, unit)
