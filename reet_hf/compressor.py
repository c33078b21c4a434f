"""The one place where the stages meet: conversation, scores, units, budget, selection, rendering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from .budget import TokenCounter, resolve_counter, resolve_limit
from .conversation import Conversation, Message, Request, parse_request
from .errors import ReetError
from .mentions import message_mentions
from .protection import protected_spans, protection_rules
from .receipt import entities_of, make_receipt
from .records import Compressed, Mention, Piece, Span, TokenCounts, Turn, Unit
from .rendering import render_messages, render_text, whole
from .scoring.scorer import Scorer, TokenScores, pool
from .segmentation import UNITS, units
from .selection import Candidates, fit

STRATEGIES = ("extractive",)
FINER = {"message": ("sentence", "clause", "word"), "sentence": ("clause", "word"), "clause": ("word",), "word": ()}


@dataclass(frozen=True)
class Options:
    """What a caller may choose for one compression; see the README for each."""

    budget: float | int = 0.3
    tokenizer: Any = None
    unit: str = "auto"
    strategy: str = "extractive"
    protect: Sequence[Any] = ()

    def __post_init__(self) -> None:
        if self.unit not in (*UNITS, "auto"):
            raise ReetError(f"`unit` must be one of {', '.join(UNITS)} or auto, got {self.unit!r}.")
        if self.strategy == "facts":
            raise ReetError(
                "`strategy` 'facts' needs a checkpoint with an extraction head, which this one has not; "
                "use strategy='extractive'."
            )
        if self.strategy not in STRATEGIES:
            raise ReetError(f"`strategy` must be 'extractive' or 'facts', got {self.strategy!r}.")
        resolve_limit(self.budget, 0)
        protection_rules(self.protect)
        if self.tokenizer is not None:
            object.__setattr__(self, "tokenizer", resolve_counter(self.tokenizer))


@dataclass
class State:
    """A conversation and everything that is computed once a message; it only grows."""

    conversation: Conversation
    scored: Any = None
    mentions: list[Mention] = field(default_factory=list)
    units: dict[str, list[Unit]] = field(default_factory=dict)
    costs: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)
    overheads: dict[str, np.ndarray] = field(default_factory=dict)
    counter: TokenCounter | None = None  # what `costs`, `lines` and `overheads` were counted with


class Compressor:
    """Compresses conversations to a token budget with one scorer.

    Args:
        scorer: Where importance comes from.
        tokenizer: What counts a budget when a call names no tokenizer; see `budget.resolve_counter`.
    """

    def __init__(self, scorer: Scorer, tokenizer: Any) -> None:
        self.scorer = scorer
        self.counter = resolve_counter(tokenizer)

    def compress(self, inputs: Any, **options: Any) -> Compressed:
        """One input compressed; see `conversation.parse_request` for its forms and `Options` for the options.

        Raises:
            ReetError: If the input or an option cannot be honoured.
            TypeError: For an unknown option.
        """
        request = inputs if isinstance(inputs, Request) else parse_request(inputs)
        chosen = Options(**options)
        return self.select(self.encode(request.conversation), request.query, request.history, chosen)

    def compress_turn(
        self, state: State, query: str | None, history: Sequence[Turn] = (), **options: Any
    ) -> Compressed:
        """An encoded conversation compressed for one query; the state stays as it is."""
        return self.select(state, query, history, Options(**options))

    def restore(self, conversation: Conversation, arrays: dict[str, np.ndarray], history: Sequence[Turn]) -> State:
        """The state of `conversation` whose scorer part was saved as `arrays` after the turns of `history`."""
        state = State(conversation, self.scorer.load(arrays, conversation, history))
        for number in range(len(conversation.messages)):
            state.mentions.extend(message_mentions(conversation, number))
        return state

    def encode(self, conversation: Conversation, state: State | None = None) -> State:
        """A state for `conversation`; of one that `state` was made for a beginning, only what is new is computed."""
        state = state or State(conversation)
        known = len(state.conversation.messages) if state.scored is not None else 0
        state.scored = self.scorer.encode(conversation, state.scored)
        state.conversation = conversation
        for number in range(known, len(conversation.messages)):
            state.mentions.extend(message_mentions(conversation, number))
        return state

    def select(self, state: State, query: str | None, history: Sequence[Turn], options: Options) -> Compressed:
        """What is kept of an encoded conversation for one query, or for any, within the budget."""
        conversation = state.conversation
        counter = resolve_counter(options.tokenizer, self.counter)
        if not counter.is_same(state.counter):
            state.counter, state.costs, state.lines, state.overheads = counter, {}, {}, {}
        original = self._original(state, counter)
        limit = resolve_limit(options.budget, original)
        if options.budget == 1.0 and isinstance(options.budget, float):
            kept = [found.span for found in units(conversation, "message" if options.unit == "message" else "word")]
            limit = max(limit, self._count(conversation, counter, kept))
        unit = self._unit(state, counter, options.unit, query, limit)
        scores = self.scorer.score(state.scored, query, history)
        candidates = self._candidates(state, counter, unit, scores)
        protected = protected_spans(conversation, candidates.units, options.protect)

        spans = fit(
            candidates,
            self._overheads(state, counter),
            limit,
            protected,
            lambda kept: self._count(conversation, counter, kept),
            [partial(_split, conversation, scores, counter, level) for level in FINER[unit]],
            isinstance(options.budget, float) and options.budget == 1.0,
        )
        whole_units = {unit.span for unit in candidates.units} if unit != "word" else set()
        pieces = _pieces(conversation, spans, scores, whole_units)
        return self._result(state, spans, pieces, counter, TokenCounts(original, 0, limit))

    def _result(
        self, state: State, spans: list[Span], pieces: tuple[Piece, ...], counter: TokenCounter, tokens: TokenCounts
    ) -> Compressed:
        conversation = state.conversation
        receipt = make_receipt(conversation, state.mentions, spans)
        return Compressed(
            text=render_text(conversation, spans),
            messages=tuple(render_messages(conversation, spans)),
            pieces=pieces,
            tokens=TokenCounts(tokens.original, self._count(conversation, counter, spans), tokens.budget),
            entities=entities_of(receipt),
            receipt=receipt,
        )

    @staticmethod
    def _count(conversation: Conversation, counter: TokenCounter, spans: Sequence[Span]) -> int:
        """Exact tokens of what the caller gets: the messages where the counter has a chat template, else the text."""
        if not spans:
            return 0
        if counter.chat is not None and conversation.form == "messages":
            return counter.chat(render_messages(conversation, spans))
        return counter.count(render_text(conversation, spans))

    def _original(self, state: State, counter: TokenCounter) -> int:
        """Tokens of the whole conversation: exact with a chat template, else line by line as they were appended."""
        conversation = state.conversation
        if counter.chat is not None and conversation.form == "messages":
            return counter.chat(render_messages(conversation, whole(conversation)))
        spans = whole(conversation)
        if not spans:
            return 0
        lines = state.lines.setdefault(counter.name, [])
        fresh = [render_text(conversation, [span]) + "\n" for span in spans[len(lines) : len(spans) - 1]]
        *more, last = counter.counts([*fresh, render_text(conversation, spans[-1:])])
        lines.extend(more)
        return sum(lines) + last

    def _overheads(self, state: State, counter: TokenCounter) -> np.ndarray:
        """Estimated tokens that each message costs beside its text: label, line break, chat markers."""
        known = state.overheads.get(counter.name, np.zeros(0, dtype=np.int64))
        fresh = state.conversation.messages[len(known) :]
        labels = sorted({message.label for message in fresh})
        sizes = dict(zip(labels, counter.counts([f"{label}: " if label else "" for label in labels]), strict=True))
        frame = 4 if counter.chat is not None else 0
        more = [sizes[message.label] + frame + 8 * len(message.calls) for message in fresh]
        state.overheads[counter.name] = np.concatenate((known, np.array(more, dtype=np.int64)))
        return state.overheads[counter.name]

    def _unit(self, state: State, counter: TokenCounter, unit: str, query: str | None, limit: int) -> str:
        """`unit`, or for auto: words without a query; with one sentences, clauses where few sentences fit."""
        if unit != "auto":
            return unit
        if query is None:
            return "word"
        self._measure(state, counter, "sentence")
        costs = state.costs[counter.name, "sentence"]
        return "clause" if len(costs) and limit < 3 * costs.mean() else "sentence"

    def _measure(self, state: State, counter: TokenCounter, unit: str) -> None:
        """Bring the units of one kind and their costs up to the last message."""
        known = state.units.setdefault(unit, [])
        costs = state.costs.get((counter.name, unit), np.zeros(0, dtype=np.int64))
        first = known[-1].message + 1 if known else 0
        known.extend(units(state.conversation, unit, first))
        fresh = known[len(costs) :]
        state.costs[counter.name, unit] = np.concatenate((costs, _costs(state.conversation, fresh, counter)))

    def _candidates(self, state: State, counter: TokenCounter, unit: str, scores: TokenScores) -> Candidates:
        self._measure(state, counter, unit)
        found = state.units[unit]
        return Candidates(
            found, pool(scores, ((u.message, u.start, u.end) for u in found)), state.costs[counter.name, unit]
        )


def _costs(conversation: Conversation, found: Sequence[Unit], counter: TokenCounter) -> np.ndarray:
    grouped = [(number, list(own)) for number, own in groupby(found, key=lambda unit: unit.message)]
    texts = [conversation.messages[number].text for number, _ in grouped]
    return counter.costs(texts, [[(unit.start, unit.end) for unit in own] for _, own in grouped])


def _split(
    conversation: Conversation, scores: TokenScores, counter: TokenCounter, level: str, coarse: Sequence[Unit]
) -> Candidates:
    """The smaller units of given ones; what is never cut has none."""
    parts: list[Unit] = []
    for unit in coarse:
        if unit.kind not in UNITS:
            continue
        text = Conversation((Message("document", conversation.messages[unit.message].text[unit.start : unit.end]),))
        inner = units(text, level)
        parts.extend(Unit(unit.message, unit.start + u.start, unit.start + u.end, u.kind) for u in inner)
    importance = pool(scores, ((u.message, u.start, u.end) for u in parts))
    return Candidates(parts, importance, _costs(conversation, parts, counter))


def _pieces(
    conversation: Conversation, spans: Sequence[Span], scores: TokenScores, whole_units: set[Span]
) -> tuple[Piece, ...]:
    """Spans with their importance squashed into (0, 1).

    Smaller spans than the units that were asked for become one piece where they stand side by side.
    """
    runs: list[Span] = []
    for span in spans:
        if span.end == span.start:
            continue
        last = runs[-1] if runs else None
        if last is not None and last.message == span.message and not {last, span} <= whole_units:
            gap = conversation.messages[span.message].text[last.end : span.start]
            if not gap or gap.isspace():
                runs[-1] = Span(span.message, last.start, span.end)
                continue
        runs.append(span)
    importance = pool(scores, ((span.message, span.start, span.end) for span in runs))
    squashed = 1.0 / (1.0 + np.exp(-np.clip(importance, -30, 30)))
    return tuple(
        Piece(span.message, span.start, span.end, float(value)) for span, value in zip(runs, squashed, strict=True)
    )
