"""What stands in for a model where only the form of an output matters: a scorer and counters that are fast."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import regex

from reet_hf.conversation import Conversation
from reet_hf.records import Turn
from reet_hf.scoring.scorer import TokenScores

_WORD = regex.compile(r"\w+|[^\w\s]+")

OPEN_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.content is string %}{{ m.content }}{% elif m.content %}"
    "{% for part in m.content %}{{ part.text or '[image]' }}{% endfor %}{% endif %}"
    "{% for call in m.tool_calls or [] %}[{{ call.id }} {{ call.function.name }} {{ call.function.arguments }}]"
    "{% endfor %}{{ m.tool_call_id or '' }}<|end|>\n{% endfor %}"
)
"""A chat template that takes roles in any order."""
CLOSED_TEMPLATE = (
    "{% set spoken = messages | rejectattr('role', 'in', ['system', 'developer']) | list %}"
    "{% if spoken and spoken[0].role == 'assistant' %}{{ raise_exception('A user speaks first.') }}{% endif %}"
    "{% for m in spoken %}{% if not loop.first and m.role == 'user' and loop.previtem.role == 'user' %}"
    "{{ raise_exception('Roles must alternate.') }}{% endif %}{% endfor %}" + OPEN_TEMPLATE
)
"""A chat template that refuses what does not alternate."""


class WordScorer:
    """Long words and those of the query matter more; which words of one length do depends on a seed.

    Args:
        seed: Of the differences between words.
        chances: Whether scores are chances, as those of a trained model.
    """

    def __init__(self, seed: int = 0, chances: bool = False) -> None:
        self.seed, self.chances = seed, chances

    def encode(self, conversation: Conversation, state: Any = None) -> Conversation:
        """The conversation itself."""
        return conversation

    def score(self, state: Conversation, query: str | None, history: Sequence[Turn]) -> TokenScores:
        """An importance for each word."""
        asked = set(_WORD.findall(query or ""))
        rows = [
            (number, word.start(), word.end(), self._importance(word.group(), asked))
            for number, message in enumerate(state.messages)
            for word in _WORD.finditer(message.text)
        ]
        columns = np.array(rows, dtype=float).reshape(-1, 4).T
        messages, starts, ends = (column.astype(np.int64) for column in columns[:3])
        likely = 1.0 / (1.0 + np.exp(4.0 - columns[3] / 4.0)) if self.chances else None
        return TokenScores(messages, starts, ends, columns[3], likely, likely)

    def load(self, arrays: dict[str, np.ndarray], conversation: Conversation) -> Conversation:
        """The conversation itself."""
        return conversation

    def _importance(self, word: str, asked: set[str]) -> float:
        return len(word) + zlib.crc32(f"{self.seed} {word}".encode()) % 97 / 24 + 9.0 * (word in asked)


def words(text: str) -> int:
    """Words of a text."""
    return len(text.split())


def characters(text: str) -> int:
    """A token for four characters."""
    return -(-len(text) // 4)
