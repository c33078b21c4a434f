"""The one place where the stages meet: conversation, scores, units, budget, selection, rendering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from .budget import TokenCounter, is_number, resolve_counter, resolve_limit
from .choice import Candidates, backed
from .conversation import Conversation, Message, Request, parse_request
from .coverage import worth_of_coverage
from .errors import ReetError
from .facts import choose_lines, sayings, weighted
from .formats import formatted, make_records
from .mentions import find_mentions, message_mentions
from .protection import protected_spans, protection_rules
from .receipt import entities_of, known_entities, make_receipt
from .records import Compressed, Piece, Span, TokenCounts, Turn, Unit
from .rendering import render_messages, render_text, rendered_tokens
from .scoring.scorer import Scorer, TokenScores, chance, pool
from .segmentation import UNITS, span_array, units
from .selection import fit
from .state import (
    Counts,
    State,
    accountable,
    forms_of,
    ledger_of,
    measured,
    mentioned_in,
    original_tokens,
    overheads,
    reported,
    unit_costs,
)

STRATEGIES = ("extractive", "facts")
DEFAULT_BUDGET = 0.3
RELEVANT = 0.05  # chance of being needed below which extraction for a query leaves a fact out
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
        if self.strategy not in STRATEGIES:
            raise ReetError(f"`strategy` must be 'extractive' or 'facts', got {self.strategy!r}.")
        if self.strategy == "facts" and (self.unit != "auto" or self.protect):
            raise ReetError("`strategy` 'facts' keeps facts, so it takes neither `unit` nor `protect`; leave them out.")
        if self.threshold is not None and not (is_number(self.threshold) and 0.0 <= self.threshold <= 1.0):
            raise ReetError(f"`threshold` must be a chance between 0 and 1, got {self.threshold!r}.")
        if self.budget is None:
            object.__setattr__(self, "budget", DEFAULT_BUDGET if self.threshold is None else 1.0)
        resolve_limit(self.budget, 0)
        protection_rules(self.protect)
        if self.tokenizer is not None:
            object.__setattr__(self, "tokenizer", resolve_counter(self.tokenizer))


class Extractor(Protocol):
    """What finds entities and facts; `extraction.extractor.ReetExtractor` is one."""

    def extract(self, conversation: Conversation, scored: Any, before: Any = None) -> Any:
        """`extraction.extractor.Findings` of a conversation, in part as found `before` in its beginning."""


class Compressor:
    """Compresses conversations to a token budget with one scorer.

    Args:
        scorer: Where importance comes from.
        tokenizer: What counts a budget when a call names no tokenizer; see `budget.resolve_counter`.
        extractor: Where entities and facts come from; without one names are found by rules, and there are no facts.
    """

    def __init__(self, scorer: Scorer, tokenizer: Any, extractor: Extractor | None = None) -> None:
        self.scorer, self.extractor = scorer, extractor
        self.counter = resolve_counter(tokenizer)

    def compress(self, inputs: Any, **options: Any) -> Compressed:
        """One input compressed; see `conversation.parse_request` for its forms and `Options` for the options.

        Raises:
            ReetError: If the input or an option cannot be honoured.
            TypeError: For an unknown option.
        """
        request = inputs if isinstance(inputs, Request) else parse_request(inputs)
        chosen = self.options(**options)
        return self.select(self.encode(request.conversation), request.query, request.history, chosen)

    def compress_turn(
        self, state: State, query: str | None, history: Sequence[Turn] = (), **options: Any
    ) -> Compressed:
        """An encoded conversation compressed for one query."""
        return self.select(state, query, history, self.options(**options))

    def options(self, **options: Any) -> Options:
        """Options of one compression by this compressor, checked before anything is computed.

        Raises:
            ReetError: If one cannot be honoured, or facts are asked for and there is no extractor.
            TypeError: For an unknown option.
        """
        chosen = Options(**options)
        if chosen.strategy == "facts" and self.extractor is None:
            raise ReetError(
                "`strategy` 'facts' needs a checkpoint with an extraction head, which this one has not; "
                "use strategy='extractive'."
            )
        return chosen

    def extract(
        self, state: State, query: str | None = None, history: Sequence[Turn] = (), output_format: str = "json"
    ) -> Any:
        """What was found in an encoded conversation, in one of `formats.FORMATS`.

        With a query the facts that are likely to be needed for it, the likeliest first, their scores these chances,
        and none that a later one has superseded.

        Raises:
            ReetError: Without an extractor, or for another format.
        """
        if self.extractor is None:
            raise ReetError("`extract` needs a checkpoint with an extraction head, which this one has not.")
        ledger = ledger_of(state)
        statements = list(state.found.statements)
        if query is not None and statements:
            scores = self.scorer.score(state.scored, query, history)
            chances = pool(scores, span_array([Span(s.message, s.start, s.end) for s in statements])).tolist()
            closed = {span for fact in ledger.facts if not fact.current for span in fact.sources}
            ranked = sorted(zip(chances, statements, strict=True), key=lambda pair: -pair[0])
            statements = [
                replace(said, score=chance)
                for chance, said in ranked
                if chance >= RELEVANT and Span(said.message, said.start, said.end) not in closed
            ]
        names = {span: known.name for known in ledger.entities for span in known.mentions}
        return formatted(make_records(reported(state), statements, names), output_format)

    def restore(self, conversation: Conversation, arrays: dict[str, np.ndarray]) -> State:
        """The state of `conversation` whose scorer part was saved as `arrays`."""
        state = State(conversation, self.scorer.load(arrays, conversation))
        state.mentions.extend(find_mentions(conversation))
        if self.extractor is not None:
            state.found = self.extractor.extract(conversation, state.scored)
        return state

    def encode(self, conversation: Conversation, state: State | None = None) -> State:
        """A state for `conversation`; of one that `state` was made for a beginning, only what is new is computed."""
        state = state or State(conversation)
        known = len(state.conversation.messages) if state.scored is not None else 0
        state.scored = self.scorer.encode(conversation, state.scored)
        state.conversation, state.ledger, state.mentioned = conversation, None, None
        for number in range(known, len(conversation.messages)):
            state.mentions.extend(message_mentions(conversation, number))
        if self.extractor is not None:
            state.found = self.extractor.extract(conversation, state.scored, state.found)
        return state

    def select(self, state: State, query: str | None, history: Sequence[Turn], options: Options) -> Compressed:
        """What is kept of an encoded conversation for one query, or for any, within the budget."""
        conversation = state.conversation
        counter = resolve_counter(options.tokenizer, self.counter)
        counts = state.counted(counter)
        original = original_tokens(conversation, counts)
        limit = resolve_limit(options.budget, original)
        everything = options.threshold is None and isinstance(options.budget, float) and options.budget == 1.0
        if everything:
            kept = [found.span for found in units(conversation, "message" if options.unit == "message" else "word")]
            limit = max(limit, rendered_tokens(conversation, kept, counter))
        scores = self.scorer.score(state.scored, query, history)
        if options.strategy == "facts":
            return self._as_facts(state, query, scores, counter, TokenCounts(original, 0, limit), options.threshold)
        unit = self._unit(state, counts, options.unit, query, limit, scores)
        found = measured(state, counts, unit)
        candidates = Candidates(found, pool(scores, state.places[unit]), counts.costs[unit])
        if options.threshold is not None:
            candidates = _above(candidates, options.threshold, scores)
        elif options.unit == "auto" and scores.chances is not None and not everything:
            chances = _backed(scores, candidates.scores, state.places[unit])
            forms = forms_of(state, counts, unit)
            rate = options.budget if isinstance(options.budget, float) else None
            places, mentioned = state.places[unit], mentioned_in(state)
            covered = worth_of_coverage(places, chances, forms.costs[0], mentioned, limit, rate)
            candidates = replace(candidates, scores=chances, forms=forms, covered=covered)
        spans = fit(
            candidates,
            overheads(conversation, counts),
            limit,
            protected_spans(conversation, found, options.protect),
            lambda kept: rendered_tokens(conversation, kept, counter),
            [partial(_split, conversation, scores, counter, level) for level in FINER[unit]],
            everything,
        )
        shown = {span.message for span in spans} if unit != "word" else set()
        pieces = _pieces(conversation, spans, scores, {u.span for u in found if u.message in shown})
        return self._result(state, spans, pieces, counter, TokenCounts(original, 0, limit))

    def _result(
        self, state: State, spans: list[Span], pieces: tuple[Piece, ...], counter: TokenCounter, tokens: TokenCounts
    ) -> Compressed:
        conversation = state.conversation
        ledger = ledger_of(state) if self.extractor is not None else None
        receipt = make_receipt(conversation, accountable(state), spans, ledger)
        return Compressed(
            text=render_text(conversation, spans),
            messages=tuple(render_messages(conversation, spans)),
            pieces=pieces,
            tokens=TokenCounts(tokens.original, rendered_tokens(conversation, spans, counter), tokens.budget),
            entities=entities_of(state.mentions, receipt) if ledger is None else known_entities(ledger, receipt.kept),
            facts={} if ledger is None else ledger.as_facts(),
            receipt=receipt,
        )

    def _as_facts(
        self,
        state: State,
        query: str | None,
        scores: TokenScores,
        counter: TokenCounter,
        tokens: TokenCounts,
        threshold: float | None,
    ) -> Compressed:
        """The lines that fit of the ledger and of what no fact stands for, those of most worth first."""
        ledger, messages = ledger_of(state), state.conversation.messages
        sentences = measured(state, state.counted(counter), "sentence")
        texts, labels = [message.text for message in messages], [message.label for message in messages]
        found = sayings(ledger, sentences, texts, labels)
        chances = _chances(scores, [said.sources[-1] for said in found])
        homes = np.array([said.unit for said in found], dtype=np.int64)
        own = pool(scores, state.places["sentence"])
        lent = np.append(_backed(scores, own, state.places["sentence"]) - own, 0.0)[homes]
        likely = np.where(chances >= (threshold or 0.0), chances + lent, 0.0).tolist()
        worth = weighted(found, likely, ledger if query is None else None)

        def as_messages(text: str) -> list[dict[str, Any]]:
            return [{"role": "user", "content": text}]

        chat = counter.chat if state.conversation.form == "messages" else None
        count = counter.count if chat is None else lambda text: chat(as_messages(text))
        lines = choose_lines(worth, tokens.budget, count)
        kept = list(lines.sources)
        pieces = zip(kept, _chances(scores, kept).tolist(), strict=True)
        receipt = make_receipt(state.conversation, accountable(state), kept, ledger)
        return Compressed(
            text=lines.text,
            messages=tuple(as_messages(lines.text)) if lines.text else (),
            pieces=tuple(Piece(span.message, span.start, span.end, value) for span, value in pieces),
            tokens=TokenCounts(tokens.original, lines.tokens, tokens.budget),
            entities=known_entities(ledger, receipt.kept),
            facts=ledger.as_facts(),
            receipt=receipt,
        )

    def _unit(self, state: State, counts: Counts, unit: str, query: str | None, limit: int, scores: TokenScores) -> str:
        """`unit`, or for auto: sentences, clauses where few sentences fit; words for scores that say no chance."""
        if unit != "auto":
            return unit
        if query is None and scores.chances is None:
            return "word"
        measured(state, counts, "sentence")
        costs = counts.costs["sentence"]
        return "clause" if len(costs) and limit < 3 * costs.mean() else "sentence"


def _chances(scores: TokenScores, spans: Sequence[Span]) -> np.ndarray:
    """Mean chances of spans, of shape `(spans,)`; importance squashed into (0, 1) where scores say no chance."""
    pooled = pool(scores, span_array(spans))
    return pooled if scores.chances is not None else chance(pooled)


def _backed(scores: TokenScores, pooled: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Chances of units as `choice.backed` has them for one query; what was pooled where there is none."""
    if scores.chances is None or scores.prior is None:
        return pooled
    return backed(pooled, pool(replace(scores, chances=scores.prior), places))


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
    return Candidates(parts, importance, unit_costs(conversation, parts, counter))


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
    squashed = importance if scores.chances is not None else chance(importance)
    return tuple(
        Piece(span.message, span.start, span.end, float(value)) for span, value in zip(runs, squashed, strict=True)
    )
