"""The last words that fit the budget: the truncation that most applications do."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from eval.systems.base import Kept, Messages, System
from reet_hf.budget import TokenCounter, resolve_limit
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.records import Span, Turn
from reet_hf.rendering import render_text, rendered_tokens, whole
from reet_hf.segmentation import words


@dataclass(frozen=True)
class Words:
    """A conversation, the places of its words in reading order, and its tokens."""

    conversation: Conversation
    places: tuple[Span, ...]
    tokens: int

    def last(self, count: int) -> list[Span]:
        """The last `count` words with all that stands between them: one span a message."""
        spans: list[Span] = []
        for place in self.places[len(self.places) - count :]:
            if spans and spans[-1].message == place.message:
                place = Span(place.message, spans.pop().start, place.end)
            spans.append(place)
        return spans


class LastK(System):
    """A suffix of the conversation, cut before a word.

    Args:
        counter: What counts tokens.
    """

    query = "unused"

    def __init__(self, counter: TokenCounter) -> None:
        self.counter = counter

    def open(self, messages: Messages) -> Words:
        conversation = Conversation(parse_messages(messages))
        places: list[Span] = []
        for number, message in enumerate(conversation.messages):
            found = words(message.text) or [(0, 0)] * message.keeps_without_text
            places.extend(Span(number, start, end) for start, end in found)
        return Words(conversation, tuple(places), rendered_tokens(conversation, whole(conversation), self.counter))

    def compress(
        self, opened: Words, query: str | None, history: Sequence[Turn], budgets: Sequence[float | int]
    ) -> list[Kept]:
        return [self._cut(opened, resolve_limit(budget, opened.tokens)) for budget in budgets]

    def _cut(self, opened: Words, limit: int) -> Kept:
        start = time.perf_counter()

        def cost(count: int) -> int:
            return rendered_tokens(opened.conversation, opened.last(count), self.counter)

        most = 64  # words of which the limit holds fewer, or all there are
        while most < len(opened.places) and cost(most) <= limit:
            most *= 2
        kept = bisect_right(range(min(most, len(opened.places)) + 1), limit, key=cost) - 1
        while (tokens := cost(kept)) > limit:
            kept -= 1  # a tokenizer may count fewer tokens for more text
        spans = opened.last(kept)
        text = render_text(opened.conversation, spans)
        return Kept(text, tuple(spans), tokens, limit, 1000 * (time.perf_counter() - start))


def build(counter: TokenCounter) -> LastK:
    """The system."""
    return LastK(counter)
