"""The one place where the stages meet: conversation, scores, units, budget, selection, rendering."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from .budget import TokenCounter, resolve_counter, resolve_limit
from .conversation import Conversation, Message, Request, parse_request
from .errors import ReetError
from .mentions import find_mentions, message_mentions
from .protection import protected_spans, protection_rules
from .receipt import entities_of, make_receipt
from .records import Compressed, Mention, Piece, Span, TokenCounts, Turn, Unit
from .rendering import render_messages, render_text, rendered_tokens, whole
from .scoring.scorer import Scorer, TokenScores, pool, span_array
from .segmentation import UNITS, units
from .selection import Candidates, Forms, fit, lend
from .shortening import FORMS, short_forms

STRATEGIES = ("extractive",)
DEFAULT_BUDGET = 0.3
Slices = tuple[tuple[tuple[int, int], ...], ...]
FINER = {"message": ("sentence", "clause", "word"), "sentence": ("clause", "word"), "clause": ("word",), "word": ()}


@dataclass(frozen=True)
class Options:
    """What a caller may choose for one compression; see the README for each."""

    budget: float | int | None = None
    tokenizer: Any = None
    unit: str = "auto"
    strategy: str = "extractive"
    protect: Sequence[Any] = ()
    threshold: float | None = None

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
        if self.threshold is not None and not (_is_real(self.threshold) and 0.0 <= self.threshold <= 1.0):
            raise ReetError(f"`threshold` must be a chance between 0 and 1, got {self.threshold!r}.")
        if self.budget is None:
            object.__setattr__(self, "budget", DEFAULT_BUDGET if self.threshold is None else 1.0)
        resolve_limit(self.budget, 0)
        protection_rules(self.protect)
        if self.tokenizer is not None:
            object.__setattr__(self, "tokenizer", resolve_counter(self.tokenizer))


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))


@dataclass
class Counts:
    """What one counter said of a conversation's messages; each part grows with them."""

    counter: TokenCounter
    lines: list[int] = field(default_factory=list)
    overheads: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    costs: dict[str, np.ndarray] = field(default_factory=dict)
    forms: dict[str, np.ndarray] = field(default_factory=dict)  # costs of the forms of each unit, (forms, units)


@dataclass
class State:
    """A conversation and everything that is computed once a message; it only grows."""

    conversation: Conversation
    scored: Any = None
    mentions: list[Mention] = field(default_factory=list)
    units: dict[str, list[Unit]] = field(default_factory=dict)
    places: dict[str, np.ndarray] = field(default_factory=dict)  # (message, start, end) of each unit
    slices: dict[str, list[Slices]] = field(default_factory=dict)  # the forms of each unit
    counts: Counts | None = None

    def counted(self, counter: TokenCounter) -> Counts:
        """Counts of `counter`: those there are, or empty ones if another counter was used last."""
        if self.counts is None or not counter.is_same(self.counts.counter):
            self.counts = Counts(counter)
        return self.counts


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
        """An encoded conversation compressed for one query, whose importance the state then carries on."""
        return self.select(state, query, history, Options(**options))

    def restore(self, conversation: Conversation, arrays: dict[str, np.ndarray], history: Sequence[Turn]) -> State:
        """The state of `conversation` whose scorer part was saved as `arrays` after the turns of `history`."""
        state = State(conversation, self.scorer.load(arrays, conversation, history))
        state.mentions.extend(find_mentions(conversation))
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
        counts = state.counted(counter)
        original = self._original(conversation, counts)
        limit = resolve_limit(options.budget, original)
        everything = options.threshold is None and isinstance(options.budget, float) and options.budget == 1.0
        if everything:
            kept = [found.span for found in units(conversation, "message" if options.unit == "message" else "word")]
            limit = max(limit, rendered_tokens(conversation, kept, counter))
        scores = self.scorer.score(state.scored, query, history)
        unit = self._unit(state, counts, options.unit, query, limit, scores)
        found = self._measured(state, counts, unit)
        candidates = Candidates(found, pool(scores, state.places[unit]), counts.costs[unit])
        if options.threshold is not None:
            candidates = _above(candidates, options.threshold, scores)
        elif options.unit == "auto" and scores.chances is not None and not everything:
            chances = lend(candidates.scores) if query is not None else candidates.scores
            candidates = replace(candidates, scores=chances, forms=self._forms(state, counts, unit))
        spans = fit(
            candidates,
            self._overheads(conversation, counts),
            limit,
            protected_spans(conversation, found, options.protect),
            lambda kept: rendered_tokens(conversation, kept, counter),
            [partial(_split, conversation, scores, counter, level) for level in FINER[unit]],
            everything,
        )
        shown = {span.message for span in spans} if unit != "word" else set()
        pieces = _pieces(conversation, spans, scores, {u.span for u in found if u.message in shown})
        if query is not None:
            self.scorer.remember(state.scored, query, history, scores)
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
            tokens=TokenCounts(tokens.original, rendered_tokens(conversation, spans, counter), tokens.budget),
            entities=entities_of(state.mentions, receipt),
            receipt=receipt,
        )

    @staticmethod
    def _original(conversation: Conversation, counts: Counts) -> int:
        """Tokens of the whole conversation: exact with a chat template, else line by line as they were appended."""
        if not conversation.messages:
            return 0
        counter, lines = counts.counter, counts.lines
        if counter.chat is not None and conversation.form == "messages":
            return counter.chat(render_messages(conversation, whole(conversation)))
        spans = whole(conversation, len(lines))
        fresh = [render_text(conversation, [span]) + "\n" for span in spans[:-1]]
        empty, *more, last = counter.counts(["", *fresh, render_text(conversation, spans[-1:])])
        lines.extend(max(count - empty, 0) for count in more)  # special tokens come once
        return sum(lines) + last

    @staticmethod
    def _overheads(conversation: Conversation, counts: Counts) -> np.ndarray:
        """Estimated tokens that each message costs beside its text: label, line break, chat markers."""
        fresh = conversation.messages[len(counts.overheads) :]
        labels = sorted({message.label for message in fresh})
        empty, *sizes = counts.counter.counts(["", *(f"{label}: " if label else "" for label in labels)])
        label_size = {label: max(size - empty, 0) for label, size in zip(labels, sizes, strict=True)}
        frame = 4 if counts.counter.chat is not None else 0
        more = [label_size[message.label] + frame + 8 * len(message.calls) for message in fresh]
        counts.overheads = np.concatenate((counts.overheads, np.array(more, dtype=np.int64)))
        return counts.overheads

    def _unit(self, state: State, counts: Counts, unit: str, query: str | None, limit: int, scores: TokenScores) -> str:
        """`unit`, or for auto: sentences, clauses where few sentences fit; words for scores that say no chance."""
        if unit != "auto":
            return unit
        if query is None and scores.chances is None:
            return "word"
        self._measured(state, counts, "sentence")
        costs = counts.costs["sentence"]
        return "clause" if len(costs) and limit < 3 * costs.mean() else "sentence"

    @staticmethod
    def _forms(state: State, counts: Counts, unit: str) -> Forms:
        """The forms of all units of one kind, brought up to the last message."""
        found = state.units[unit]
        known = state.slices.setdefault(unit, [])
        known.extend(_slices(state, found[len(known) :]))
        costs = counts.forms.get(unit, np.zeros((len(FORMS), 0), dtype=np.int64))
        first = costs.shape[1]
        more = _form_costs(state.conversation, found[first:], known[first:], counts.counter)
        more[-1] = counts.costs[unit][first:]
        counts.forms[unit] = np.concatenate((costs, np.minimum.accumulate(more[::-1])[::-1]), axis=1)
        return Forms(counts.forms[unit], known)

    @staticmethod
    def _measured(state: State, counts: Counts, unit: str) -> list[Unit]:
        """All units of one kind, their costs in `counts` brought up to the last message."""
        found = state.units.setdefault(unit, [])
        fresh = units(state.conversation, unit, found[-1].message + 1 if found else 0)
        found.extend(fresh)
        places = state.places.get(unit, np.zeros((0, 3), dtype=np.int64))
        state.places[unit] = np.concatenate((places, span_array(fresh)))
        costs = counts.costs.get(unit, np.zeros(0, dtype=np.int64))
        more = _costs(state.conversation, found[len(costs) :], counts.counter)
        counts.costs[unit] = np.concatenate((costs, more))
        return found


def _costs(conversation: Conversation, found: Sequence[Unit], counter: TokenCounter) -> np.ndarray:
    grouped = [(number, list(own)) for number, own in groupby(found, key=lambda unit: unit.message)]
    texts = [conversation.messages[number].text for number, _ in grouped]
    return counter.costs(texts, [[(unit.start, unit.end) for unit in own] for _, own in grouped])


def _slices(state: State, found: Sequence[Unit]) -> Iterator[Slices]:
    """The forms of units: what is no running text, and what states a constraint, has none but itself."""
    mentions: dict[int, list[Mention]] = {}
    for mention in state.mentions:
        mentions.setdefault(mention.message, []).append(mention)
    for number, own in groupby(found, key=lambda unit: unit.message):
        text = state.conversation.messages[number].text
        named = [(m.start, m.end) for m in mentions.get(number, ()) if m.type != "CONSTRAINT"]
        bound = [m for m in mentions.get(number, ()) if m.type == "CONSTRAINT"]
        for unit in own:
            if unit.kind not in UNITS or any(m.start < unit.end and unit.start < m.end for m in bound):
                yield (((unit.start, unit.end),),) * len(FORMS)
            else:
                first = bisect_right(named, unit.start, key=itemgetter(1))
                last = bisect_left(named, unit.end, key=itemgetter(0))
                yield short_forms(text, unit.start, unit.end, named[first:last])


def _form_costs(
    conversation: Conversation, found: Sequence[Unit], slices: Sequence[Slices], counter: TokenCounter
) -> np.ndarray:
    """Estimated tokens of each form but the last, whose row is left empty, of shape `(forms, units)`."""
    costs = np.zeros((len(FORMS), len(found)), dtype=np.int64)
    for level in range(len(FORMS) - 1):
        parts = [
            Unit(unit.message, start, end)
            for unit, forms in zip(found, slices, strict=True)
            for start, end in forms[level]
        ]
        owners = np.repeat(np.arange(len(found)), [len(forms[level]) for forms in slices])
        costs[level] = np.bincount(owners, _costs(conversation, parts, counter), len(found))
    return costs


def _above(candidates: Candidates, threshold: float, scores: TokenScores) -> Candidates:
    """The candidates whose chance is at least `threshold`; a group stays if one of its units does."""
    if scores.chances is None:
        raise ReetError("`threshold` needs a scorer that gives chances, which this one does not; use `budget` alone.")
    dense, count = candidates.choices()
    best = np.zeros(count)
    np.maximum.at(best, dense, candidates.scores)
    places = np.flatnonzero(best[dense] >= threshold)
    return Candidates(
        [candidates.units[place] for place in places.tolist()], candidates.scores[places], candidates.costs[places]
    )


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
    importance = pool(scores, span_array(parts))
    return Candidates(parts, importance, _costs(conversation, parts, counter))


def _pieces(
    conversation: Conversation, spans: Sequence[Span], scores: TokenScores, whole_units: set[Span]
) -> tuple[Piece, ...]:
    """Spans with their chances, or with their importance squashed into (0, 1) where scores say no chance.

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
    importance = pool(scores, span_array(runs))
    squashed = importance if scores.chances is not None else 1.0 / (1.0 + np.exp(-np.clip(importance, -30, 30)))
    return tuple(
        Piece(span.message, span.start, span.end, float(value)) for span, value in zip(runs, squashed, strict=True)
    )
