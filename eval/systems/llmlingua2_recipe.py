"""LLMLingua-2's recipe (arXiv:2403.12968) at our size: a token classifier that reads a conversation without a query."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForTokenClassification

from eval.adapters import ENCODER, load_adapter, token_scores
from eval.systems.base import QueryBlind
from reet_hf.budget import TokenCounter
from reet_hf.conversation import Conversation
from reet_hf.records import Turn
from reet_hf.scoring.scorer import TokenScores
from reet_hf.windows import special_frame, tokenize

ADAPTER = Path(__file__).parents[1] / "baselines" / "llmlingua2-recipe"
WINDOW_TOKENS = 512


class LlmLingua2Recipe:
    """A `Scorer` of the chance that a token is worth keeping; words get the mean of their tokens.

    Args:
        model: A token classification model in evaluation mode whose second class is to preserve.
        tokenizer: Its fast tokenizer.
        window_tokens: Tokens of a window, special tokens included.
    """

    def __init__(self, model: Any, tokenizer: Any, window_tokens: int = WINDOW_TOKENS) -> None:
        self.model, self.tokenizer, self.window_tokens = model, tokenizer, window_tokens
        self.before = special_frame(tokenizer)[0]

    def encode(self, conversation: Conversation, state: Any | None = None) -> TokenScores:
        """The scores of all tokens, which no query changes."""
        table = tokenize(conversation, self.tokenizer)
        return token_scores(self.model, self.tokenizer, table, self.before, self.window_tokens, asked=False)

    def score(self, state: TokenScores, query: str | None, history: Sequence[Turn]) -> TokenScores:
        """The same scores for every query."""
        return state

    def load(self, arrays: dict[str, np.ndarray], conversation: Conversation) -> TokenScores:
        """The state made again: nothing is saved."""
        return self.encode(conversation)


def build(counter: TokenCounter, encoder: str = ENCODER, adapter: str | Path = ADAPTER) -> QueryBlind:
    """The system.

    Args:
        counter: What counts tokens.
        encoder: Hub id or folder of the encoder.
        adapter: Folder of the trained adapter.
    """
    model, tokenizer, revision = load_adapter(AutoModelForTokenClassification, encoder, adapter)
    return QueryBlind(LlmLingua2Recipe(model, tokenizer), counter, unit="word", revision=revision)
