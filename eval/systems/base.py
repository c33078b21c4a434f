"""What every system under test offers, and the base of those that score text."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from reet_hf.budget import TokenCounter
from reet_hf.compressor import Compressor, Extractor
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.options import Options
from reet_hf.records import Span, Turn
from reet_hf.scoring.scorer import Scorer, TokenScores
from reet_hf.state import State

Messages = Sequence[Mapping[str, Any]]
QueryUse = Literal["required", "optional", "unused"]


@dataclass(frozen=True)
class Kept:
    """What a system kept of a conversation for one question and one budget.

    Attributes:
        text: What a reader gets.
        pieces: Where the text comes from, in reading order.
        tokens, budget: Tokens of the counting tokenizer, labels and markers included.
        milliseconds: Time for this question and budget, without the time that went into reading the conversation.
        foreign_words: Words of the text that no word of the conversation, in the order of the text, accounts for.
    """

    text: str
    pieces: tuple[Span, ...]
    tokens: int
    budget: int
    milliseconds: float
    foreign_words: int = 0


class System(ABC):
    """A compressor under test; each file of this folder has a function `build(counter, **options)` that makes one.

    Attributes:
        query: Whether a query is required, optional, or has no influence on what is kept.
        budgeted: Whether budgets are obeyed; only the system that keeps everything does without.
        stochastic: Whether results depend on a seed, so that several are run.
        revision: What identifies the weights (a Hub revision or a digest of the files), empty without weights.
    """

    query: ClassVar[QueryUse]
    budgeted: ClassVar[bool] = True
    stochastic: ClassVar[bool] = False
    revision: str = ""

    @abstractmethod
    def open(self, messages: Messages) -> Any:
        """A conversation read once for all questions about it; the caller keeps it between turns."""

    @abstractmethod
    def compress(
        self, opened: Any, query: str | None, history: Sequence[Turn], budgets: Sequence[float | int]
    ) -> list[Kept]:
        """What is kept for one query under each budget.

        Args:
            opened: What `open` returned.
            query: The question of this turn, or `None` where the regime shows none.
            history: Earlier questions with their answers.
            budgets: Shares of the conversation's tokens (float) or numbers of tokens (int).
        """


class _OneScore:
    """A scorer that scores each turn once, however many budgets are asked."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.found: TokenScores | None = None
        self.milliseconds = 0.0

    def encode(self, conversation: Conversation, state: Any | None) -> Any:
        """As the scorer does."""
        return self.scorer.encode(conversation, state)

    def score(self, state: Any, query: str | None, history: Sequence[Turn]) -> TokenScores:
        """The scores of this turn, made at the first call."""
        if self.found is None:
            start = time.perf_counter()
            self.found = self.scorer.score(state, query, history)
            self.milliseconds = 1000 * (time.perf_counter() - start)
        return self.found

    def load(self, arrays: dict[str, Any], conversation: Conversation) -> Any:
        """As the scorer does."""
        return self.scorer.load(arrays, conversation)


class ScoringSystem(System):
    """A `Scorer` behind the selection that all scoring systems share: same units, same budget, same filling.

    Args:
        scorer: Where importance comes from.
        counter: What counts tokens.
        unit: What is kept or dropped as a whole; see `reet_hf.compressor.Options`.
        revision: See `System`.
        extractor: Where entities and facts come from, if they are wanted.
        strategy: What a compression consists of, as `unit`.
    """

    def __init__(
        self,
        scorer: Scorer,
        counter: TokenCounter,
        unit: str = "auto",
        revision: str = "",
        extractor: Extractor | None = None,
        strategy: str = "extractive",
    ) -> None:
        self.scorer = _OneScore(scorer)
        self.compressor = Compressor(self.scorer, counter, extractor)
        self.unit, self.strategy = unit, strategy
        self.revision = revision

    def open(self, messages: Messages) -> State:
        return self.compressor.encode(Conversation(parse_messages(messages)))

    def compress(
        self, opened: State, query: str | None, history: Sequence[Turn], budgets: Sequence[float | int]
    ) -> list[Kept]:
        self.scorer.found = None
        return [self._select(opened, query, history, self._options(budget)) for budget in budgets]

    def _options(self, budget: float | int) -> Options:
        # questions are asked of the whole history, so its last turn has no claim of its own
        return self.compressor.options(budget=budget, unit=self.unit, strategy=self.strategy, keep_recent=0)

    def _select(self, opened: State, query: str | None, history: Sequence[Turn], options: Options) -> Kept:
        scored, start = self.scorer.found is not None, time.perf_counter()
        result = self.compressor.select(opened, query, history, options)
        milliseconds = 1000 * (time.perf_counter() - start) + (self.scorer.milliseconds if scored else 0.0)
        return Kept(
            text=result.text,
            pieces=tuple(Span(piece.message, piece.start, piece.end) for piece in result.pieces),
            tokens=result.tokens.compressed,
            budget=result.tokens.budget,
            milliseconds=milliseconds,
        )


class QueryBlind(ScoringSystem):
    """A scoring system that keeps the same whatever is asked."""

    query = "unused"


class QueryRequired(ScoringSystem):
    """A scoring system that cannot do without a query."""

    query = "required"


class QueryOptional(ScoringSystem):
    """A scoring system that uses a query where there is one."""

    query = "optional"
