"""REET as it is measured: the bundled weights, loaded as a user loads them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import pipeline

from eval.speed.clock import milliseconds
from reet_hf.compressor import Compressor
from reet_hf.registration import DEFAULT_MODEL, bundled_model
from reet_hf.session import Session


def load(model: str = DEFAULT_MODEL) -> Any:
    """The compression pipeline of a checkpoint.

    Args:
        model: Hub id or folder; `reet/reet-base` and `reet/reet-small` come with the checkout.
    """
    return pipeline("reet-compression", model=bundled_model(model), device="cpu")  # type: ignore[call-overload]


def warm(compressor: Compressor) -> None:
    """Compress something short, so that nothing is loaded or built while the clock runs."""
    session = Session(compressor)
    session.append([{"role": "user", "content": "Ann Lee lives in Oslo. Her visa expires on 3 June. " * 20}])
    session.compress("Where does Ann live?", budget=40)


class Reference:
    """A fixed piece of work that tells how fast the machine is at a moment: one pass of the encoder over fixed tokens.

    Args:
        scorer: A `ReetScorer`.
        tokens: Of the one window that is read, special tokens included.
    """

    def __init__(self, scorer: Any, tokens: int = 256) -> None:
        tokens = min(tokens, scorer.config.window_tokens)
        self._ids = torch.randint(10, scorer.config.encoder.vocab_size, (tokens,), generator=torch.Generator()).tolist()
        self._read = scorer.encoder.read
        self._read([self._ids])

    def milliseconds(self) -> float:
        """Time of one pass."""
        return milliseconds(lambda: self._read([self._ids]))
