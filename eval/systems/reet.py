"""The turn-aware scorer of a checkpoint."""

from __future__ import annotations

import torch
from transformers import AutoTokenizer

from reet_hf import ReetForCompression
from reet_hf.registration import DEFAULT_MODEL, bundled_model
from reet_hf.scoring.scorer import ReetScorer


class System(ReetScorer):
    """`ReetScorer` from a Hub id or folder.

    Args:
        model: The checkpoint; `reet/reet-base` is the one that comes with the checkout.
    """

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        folder = bundled_model() if model == DEFAULT_MODEL else model
        loaded = ReetForCompression.from_pretrained(folder, dtype=torch.float32).eval()
        super().__init__(loaded, AutoTokenizer.from_pretrained(folder))
