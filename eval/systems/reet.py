"""The turn-aware scorer of a checkpoint."""

from __future__ import annotations

import torch
from transformers import AutoTokenizer

from eval.revision import revision
from eval.systems.base import QueryOptional
from reet_hf import ReetForCompression
from reet_hf.budget import TokenCounter
from reet_hf.extraction.extractor import ReetExtractor
from reet_hf.registration import DEFAULT_MODEL, bundled_model
from reet_hf.scoring.scorer import ReetScorer


def scorer(model: str = DEFAULT_MODEL) -> ReetScorer:
    """The scorer of a checkpoint, in float32.

    Args:
        model: Hub id or folder; `reet/reet-base` and `reet/reet-small` come with the checkout.
    """
    folder = bundled_model(model)
    loaded = ReetForCompression.from_pretrained(folder, dtype=torch.float32).eval()
    return ReetScorer(loaded, AutoTokenizer.from_pretrained(folder))


def extractor(own: ReetScorer) -> ReetExtractor | None:
    """The extractor of the same checkpoint, if it has a head."""
    return ReetExtractor(own.model, own.tokenizer) if own.config.extraction else None


def build(counter: TokenCounter, model: str = DEFAULT_MODEL, unit: str = "auto") -> QueryOptional:
    """The system, as the pipeline has it.

    Args:
        counter: What counts tokens.
        model: Hub id or folder of the checkpoint.
        unit: What is kept or dropped as a whole.
    """
    own = scorer(model)
    return QueryOptional(own, counter, unit, revision(bundled_model(model)), extractor(own))
