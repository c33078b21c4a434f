"""Provence's recipe (arXiv:2501.16214) at our size: question and text are read together, and each token is judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForTokenClassification

from eval.adapters import ENCODER, load_adapter, token_scores
from eval.systems.base import QueryRequired
from reet_hf.budget import TokenCounter
from reet_hf.conversation import Conversation
from reet_hf.records import Turn
from reet_hf.scoring.scorer import TokenScores
from reet_hf.windows import TokenTable, query_tokens, tokenize

ADAPTER = Path(__file__).parents[1] / "baselines" / "cross-encoder"
WINDOW_TOKENS = 256
QUERY_TOKENS = 96


class CrossEncoder:
    """A `Scorer` of the chance that a token belongs to what the question needs; sentences get the mean of theirs.

    Every query reads the whole conversation again, and knows nothing of the turns before it.

    Args:
        model: A token classification model in evaluation mode whose second class is to keep.
        tokenizer: Its fast tokenizer.
        window_tokens: Tokens of a window, question and special tokens included.
    """

    def __init__(self, model: Any, tokenizer: Any, window_tokens: int = WINDOW_TOKENS) -> None:
        self.model, self.tokenizer, self.window_tokens = model, tokenizer, window_tokens

    def encode(self, conversation: Conversation, state: Any | None = None) -> TokenTable:
        """The tokens of the conversation."""
        return tokenize(conversation, self.tokenizer)

    def score(self, state: TokenTable, query: str | None, history: Sequence[Turn]) -> TokenScores:
        """The chances of all tokens for this query alone."""
        question = query_tokens(query or "", self.tokenizer, QUERY_TOKENS)[0]
        return token_scores(self.model, self.tokenizer, state, question, self.window_tokens, asked=True)

    def load(self, arrays: dict[str, np.ndarray], conversation: Conversation) -> TokenTable:
        """The state made again: nothing is saved."""
        return self.encode(conversation)


def build(counter: TokenCounter, encoder: str = ENCODER, adapter: str | Path = ADAPTER) -> QueryRequired:
    """The system.

    Args:
        counter: What counts tokens.
        encoder: Hub id or folder of the encoder.
        adapter: Folder of the trained adapter.
    """
    model, tokenizer, revision = load_adapter(AutoModelForTokenClassification, encoder, adapter)
    return QueryRequired(CrossEncoder(model, tokenizer), counter, revision=revision)
