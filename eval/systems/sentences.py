"""What sentence rankers share: every sentence is scored as a whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from reet_hf.conversation import Conversation
from reet_hf.records import Turn
from reet_hf.scoring.scorer import TokenScores
from reet_hf.segmentation import span_array, units


class SentenceRanker(ABC):
    """A `Scorer` that looks at sentences; a subclass fits an index and ranks with it, higher means kept first."""

    @abstractmethod
    def fit(self, sentences: list[str]) -> Any:
        """An index of the sentences."""

    @abstractmethod
    def rank(self, index: Any, query: str) -> np.ndarray:
        """A score for each sentence, of shape `(sentences,)`."""

    def encode(self, conversation: Conversation, state: Any | None = None) -> Any:
        """The sentences of the conversation and their index."""
        found = units(conversation, "sentence")
        texts = [conversation.messages[unit.message].text[unit.start : unit.end] for unit in found]
        return found, self.fit(texts) if texts else None

    def score(self, state: Any, query: str | None, history: Sequence[Turn]) -> TokenScores:
        """One score a sentence; a ranker that needs no query is given an empty one."""
        found, index = state
        scores = self.rank(index, query or "") if found else np.zeros(0)
        places = span_array(found)
        return TokenScores(places[:, 0], places[:, 1], places[:, 2], scores)

    def load(self, arrays: dict[str, np.ndarray], conversation: Conversation) -> Any:
        """The state made again: a ranker saves nothing."""
        return self.encode(conversation)
