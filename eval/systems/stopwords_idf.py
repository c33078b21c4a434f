"""Words without stop words, the rarest of the conversation first: what survival measures cost without any model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.systems.base import QueryBlind
from reet_hf.budget import TokenCounter
from reet_hf.conversation import Conversation
from reet_hf.lexicon import WORD, word_identity
from reet_hf.records import Turn, Unit
from reet_hf.scoring.scorer import TokenScores
from reet_hf.segmentation import span_array, units
from reet_hf.windows import rarity


class RareWords:
    """A `Scorer` of words: 0 for stop words, higher the fewer times a form of the word occurs in the conversation."""

    def encode(self, conversation: Conversation, state: Any | None = None) -> TokenScores:
        """The scores of every word; no later turn changes them."""
        found = units(conversation, "word")
        inside = [_identities(conversation, unit) for unit in found]
        counts = Counter(identity for own in inside for identity in own)
        vocabulary = np.array(list(counts), dtype=np.int64)
        rare = rarity(vocabulary, np.array(list(counts.values())), sum(counts.values()))
        by_word = dict(zip(counts, rare.tolist(), strict=True))
        scores = np.array([max((by_word[identity] for identity in own), default=0.0) for own in inside])
        places = span_array(found)
        return TokenScores(places[:, 0], places[:, 1], places[:, 2], scores)

    def score(self, state: TokenScores, query: str | None, history: Sequence[Turn]) -> TokenScores:
        """What `encode` found, whatever is asked."""
        return state

    def load(self, arrays: dict[str, np.ndarray], conversation: Conversation) -> TokenScores:
        """The scores made again."""
        return self.encode(conversation)


def _identities(conversation: Conversation, unit: Unit) -> list[int]:
    text = conversation.messages[unit.message].text[unit.start : unit.end]
    return [word_identity(word) for word in WORD.findall(text)]


def build(counter: TokenCounter) -> QueryBlind:
    """The system."""
    return QueryBlind(RareWords(), counter, unit="word")
