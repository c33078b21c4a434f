"""The one place where the stages meet: conversation, scores, units, budget, selection, rendering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from hashlib import sha256
from typing import Any, Protocol

import numpy as np

from .budget import resolve_counter, resolve_limit
from .candidates import Candidates
from .choice import backed
from .conversation import Conversation, Message, Request, parse_request
from .coverage import worth_of_coverage
from .deadlines import check_deadline
from .errors import ReetError
from .facts import choose_lines, sayings, weighted
from .formats import formatted, make_records
from .keeping import protected
from .mentions import find_mentions, message_mentions
from .openings import openings, weighed
from .options import Options
from .prefix import REBASE_TO, Prefix, Stability, checked_rebase_to, step
from .protection import protection_rules
from .recall import clipped, telling
from .receipt import entities_of
from .records import Compressed, Piece, Span, TokenCounts, Turn, Unit
from .rendering import render_messages, render_text, whole
from .scoring.literals import lifted, named_units
from .scoring.scorer import Scorer, TokenScores, chance, loudest, pool
from .segmentation import UNITS, span_array, units
from .selection import fit
from .state import (
    Counts,
    State,
    accounts_of,
    all_reported,
    comes_along,
    forms_of,
    labels_and_calls,
    measured,
    mentioned_in,
    original_tokens,
    overheads,
    unit_costs,
)
from .unit_table import UnitTable
from .user_requests import requests
from .view import View

REPEATED = 0.01  # what a line that was there before counts beside it
RELEVANT = 0.05  # chance of being needed below which extraction for a query leaves a fact out
LEAST_SHARE = 0.3  # of the best chance, below which nothing is recalled for a query
RUNNING = (*UNITS, "tool")  # kinds of units that are part of running text
FINER = {"message": ("sentence", "clause", "word"), "sentence": ("clause", "word"), "clause": ("word",), "word": ()}


class Extractor(Protocol):
    """What finds entities and facts; `extraction.extractor.ReetExtractor` is one."""

    def extract(self, conversation: Conversation, scored: Any, before: Any = None) -> Any:
        """`extraction.extractor.Findings` of a conversation, in part as found `before` in its beginning."""


@dataclass(frozen=True)
class _Asked:
    """One compression that was asked for.

    Attributes:
        view: How the result is shown and counted.
        options: What was asked for.
        scores: Of the conversation, for the query.
        unit: What is kept or dropped as a whole.
        original, limit: Tokens of everything, and those that may be used.
        everything: Whether nothing is to be left out.
    """

    view: View
    options: Options
    scores: TokenScores
    unit: str
    original: int
    limit: int
    everything: bool


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

    @property
    def revision(self) -> str:
        """What tells apart the scorers whose states are not each other's; empty if the scorer does not say."""
        return str(getattr(self.scorer, "revision", ""))

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
        ledger = accounts_of(state).ledger
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
        return formatted(make_records(all_reported(state), statements, names), output_format)

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
        state.grow(conversation)
        for number in range(known, len(conversation.messages)):
            check_deadline()
            state.mentions.extend(message_mentions(conversation, number))
        if self.extractor is not None:
            state.found = self.extractor.extract(conversation, state.scored, state.found)
        return state

    def compress_stable(
        self,
        state: State,
        query: str | None,
        history: Sequence[Turn],
        prefix: Prefix,
        rebase_to: float = REBASE_TO,
        **options: Any,
    ) -> tuple[Compressed, Prefix, Stability]:
        """An encoded conversation as a view that only grows, see `prefix.step`.

        Returns:
            The result, what the next call must be given as `prefix`, and what stayed as it was.
        """
        chosen = self.options(**options)
        checked_rebase_to(rebase_to, chosen.strategy)
        asked = self._asked(state, query, history, chosen)
        view, last = asked.view, len(state.conversation.messages) - 1

        def select(limit: int, with_last: bool) -> list[Span]:
            protect = [*protection_rules(chosen.protect), *([last] if with_last and last >= 0 else [])]
            spans = self._chosen(replace(asked, options=replace(chosen, protect=protect), limit=limit))
            if with_last and last >= 0 and (not spans or spans[-1].message < last):
                closed = [*spans, Span(last, 0, 0)]  # an empty last message has no unit that could be protected
                return closed if view.tokens(closed) <= limit else spans
            return spans

        made, stability = step(
            prefix,
            state.conversation,
            asked.limit,
            lambda spans: view.shown_tokens(spans, view.markers(spans)),
            lambda spans: render_messages(state.conversation, spans, view.markers(spans)),
            select,
            key=_key(chosen, view.counter.name, rebase_to),
            rebase_to=rebase_to,
        )
        return self._result(asked, list(made.spans)), made, stability

    def select(self, state: State, query: str | None, history: Sequence[Turn], options: Options) -> Compressed:
        """What is kept of an encoded conversation for one query, or for any, within the budget."""
        asked = self._asked(state, query, history, options)
        if options.strategy == "facts":
            tokens = TokenCounts(asked.original, 0, asked.limit)
            return self._as_facts(asked.view, query, asked.scores, tokens, options.threshold)
        if asked.everything:
            kept = [Span(*place) for place in measured(state, asked.view.counts, asked.unit).places.tolist()]
            return self._result(asked, _everything(state.conversation), asked.view.framed(kept))
        return self._result(asked, self._chosen(asked))

    def choose_within(
        self,
        state: State,
        parts: Sequence[Span],
        query: str | None,
        history: Sequence[Turn],
        limit: int,
        options: Options,
        count: Callable[[Sequence[Span]], int],
    ) -> list[Span]:
        """What of some parts of an encoded conversation a query most likely needs, in order.

        Where scores are chances, what is far less likely than the likeliest is left out; so is what says nothing, being
        the function words of a shortened sentence, and what is said again later.

        Args:
            state, query, history: As for `compress_turn`.
            parts: Spans in order, without overlap; nothing else is chosen.
            limit: Tokens that `count` may say of what is chosen.
            options: `tokenizer`, `unit` and `threshold` count.
            count: Exact tokens of spans.
        """
        conversation, counts = state.conversation, state.counted(resolve_counter(options.tokenizer, self.counter))
        scores = self._scores(state, counts, query, history, False)
        unit = "sentence" if options.unit == "auto" else options.unit
        found = [
            replace(each, kind=unit if each.kind == "tool" else each.kind, group=None)
            for each in telling(conversation, clipped(measured(state, counts, unit), parts))
        ]  # by themselves, whatever exchange they are part of
        candidates = Candidates(found, pool(scores, span_array(found)), unit_costs(conversation, found, counts))
        if scores.chances is not None or options.threshold is not None:
            least = options.threshold
            if least is None:
                least = LEAST_SHARE * candidates.scores.max(initial=0.0)
            candidates = _above(candidates, least, scores)
        opening = labels_and_calls(conversation.messages, counts.counter)
        finer = [partial(_split, conversation, scores, counts, level) for level in FINER[unit]]
        return fit(candidates, opening, limit, [], count, finer)

    def _asked(self, state: State, query: str | None, history: Sequence[Turn], options: Options) -> _Asked:
        """One compression that was asked for, its budget in tokens and its scores."""
        counts = state.counted(resolve_counter(options.tokenizer, self.counter))
        view = View(state, counts, options.tools or (), options.markers, prompt=query is None)
        original = original_tokens(state.conversation, counts) + view.tool_tokens
        limit = resolve_limit(options.budget, original)
        everything = options.threshold is None and isinstance(options.budget, float) and options.budget == 1.0
        if everything:
            limit = max(limit, view.tokens(whole(state.conversation)))
        scores = self._scores(state, counts, query, history, options.ask_last)
        unit = self._unit(state, counts, options.unit, query, limit, scores)
        return _Asked(view, options, scores, unit, original, limit, everything)

    def _scores(
        self, state: State, counts: Counts, query: str | None, history: Sequence[Turn], ask_last: bool | None
    ) -> TokenScores:
        """Scores for a query, for what the user asked last, or for any question."""
        parts: list[str] | list[str | None] = requests(state.conversation, ask_last) if query is None else []
        return loudest([self._asked_scores(state, counts, part, history) for part in parts or [query]])

    def _asked_scores(self, state: State, counts: Counts, query: str | None, history: Sequence[Turn]) -> TokenScores:
        """Scores for a query, or for any, with what it names letter by letter and what worked examples need."""
        scores = self.scorer.score(state.scored, query, history)
        if scores.chances is None:
            return scores
        texts = [message.text for message in state.conversation.messages]
        places = measured(state, counts, "sentence").places
        if query:
            units, chances = named_units(texts, query, places)
            scores = lifted(scores, places[units], chances)
        state.demonstrations.read(texts, places)
        if not state.demonstrations.answers:
            return scores
        units, chances = state.demonstrations.chances(pool(scores, places))
        return lifted(scores, places[units], chances)

    def _chosen(self, asked: _Asked) -> list[Span]:
        """Spans that are kept within the limit, with all that must stand beside them."""
        view, options, scores, unit = asked.view, asked.options, asked.scores, asked.unit
        state, counts, limit = view.state, view.counts, asked.limit
        found = measured(state, counts, unit)
        opening, along = overheads(state, counts), comes_along(state.conversation, found.places)
        pooled = _once(found, pool(scores, found.places), scores.chances is not None)
        candidates = Candidates(
            found,
            pooled,
            counts.costs[unit],
            opens=openings(found, state.conversation.homes, state.containers),
            along=along,
            weighed=weighed(state.conversation, state.containers),
        )
        if options.threshold is not None:
            candidates = _above(candidates, options.threshold, scores)
        elif options.unit == "auto" and scores.chances is not None:
            chances = _backed(scores, candidates.scores, found.places, found.are(RUNNING))
            forms = forms_of(state, counts, unit)
            rate = options.budget if isinstance(options.budget, float) else None
            covered = worth_of_coverage(found.places, chances, forms.costs[0], mentioned_in(state), limit, rate)
            candidates = replace(candidates, scores=chances, forms=forms, covered=covered)
        spans = fit(
            candidates,
            opening,
            limit,
            protected(view, found, options, limit),
            view.tokens,
            [partial(_split, state.conversation, scores, counts, level) for level in FINER[unit]],
            marked=options.markers,
        )
        return view.framed(spans)

    def _result(self, asked: _Asked, spans: list[Span], parts: list[Span] | None = None) -> Compressed:
        """The result for framed spans; its pieces are `parts` of them, if these are given."""
        view, state, conversation = asked.view, asked.view.state, asked.view.state.conversation
        omitted, markers = view.omitted(spans)
        accounts, ledgered = accounts_of(state), self.extractor is not None
        receipt, entities = accounts.account(conversation, spans)
        shown = {span.message for span in spans} if asked.unit != "word" else set()
        places = measured(state, view.counts, asked.unit).places
        whole_units = {Span(*place) for place in places[np.isin(places[:, 0], list(shown))].tolist()}
        return Compressed(
            text=render_text(conversation, spans, markers),
            messages=tuple(render_messages(conversation, spans, markers)),
            pieces=_pieces(conversation, spans if parts is None else parts, asked.scores, whole_units),
            tokens=TokenCounts(asked.original, view.shown_tokens(spans, markers), asked.limit),
            entities=entities if ledgered else entities_of(state.mentions, receipt),
            facts=accounts.ledger.as_facts() if ledgered else {},
            receipt=receipt,
            omitted=omitted,
        )

    def _as_facts(
        self,
        view: View,
        query: str | None,
        scores: TokenScores,
        tokens: TokenCounts,
        threshold: float | None,
    ) -> Compressed:
        """The lines that fit of the ledger and of what no fact stands for, those of most worth first."""
        if view.tool_tokens > tokens.budget:
            raise ReetError(
                f"`budget` allows {tokens.budget} tokens, but the definitions in `tools` alone need "
                f"{view.tool_tokens}; raise `budget` to at least {view.tool_tokens} tokens or pass fewer tools.",
                floor=view.tool_tokens,
            )
        state, counter = view.state, view.counter
        accounts, messages = accounts_of(state), state.conversation.messages
        ledger = accounts.ledger
        sentences = measured(state, view.counts, "sentence")
        texts, labels = [message.text for message in messages], [message.label for message in messages]
        found = sayings(ledger, sentences, texts, labels)
        chances = _chances(scores, [said.sources[-1] for said in found])
        homes = np.array([said.unit for said in found], dtype=np.int64)
        own = pool(scores, sentences.places)
        lent = np.append(_backed(scores, own, sentences.places) - own, 0.0)[homes]
        likely = np.where(chances >= (threshold or 0.0), chances + lent, 0.0).tolist()
        worth = weighted(found, likely, ledger if query is None else None)

        def as_messages(text: str) -> list[dict[str, Any]]:
            return [{"role": "user", "content": text}]

        chat = counter.chat if state.conversation.form == "messages" else None
        count = counter.count if chat is None else lambda text: chat(as_messages(text))
        lines = choose_lines(worth, tokens.budget - view.tool_tokens, count)
        kept = list(lines.sources)
        pieces = zip(kept, _chances(scores, kept).tolist(), strict=True)
        receipt, entities = accounts.account(state.conversation, kept)
        return Compressed(
            text=lines.text,
            messages=tuple(as_messages(lines.text)) if lines.text else (),
            pieces=tuple(Piece(span.message, span.start, span.end, value) for span, value in pieces),
            tokens=TokenCounts(tokens.original, lines.tokens + view.tool_tokens, tokens.budget),
            entities=entities,
            facts=ledger.as_facts(),
            receipt=receipt,
            omitted=view.omitted(sorted(kept))[0],
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


def _backed(
    scores: TokenScores, pooled: np.ndarray, places: np.ndarray, running: np.ndarray | None = None
) -> np.ndarray:
    """Chances of units as `choice.backed` has them for one query; what was pooled where there is none."""
    if scores.chances is None or scores.prior is None:
        return pooled
    return backed(pooled, pool(scores, places, scores.prior), running)


def _above(candidates: Candidates, threshold: float, scores: TokenScores) -> Candidates:
    """The candidates whose chance is at least `threshold`; a group stays if one of its units does."""
    if scores.chances is None:
        raise ReetError("`threshold` needs a scorer that gives chances, which this one does not; use `budget` alone.")
    dense, count = candidates.choices()
    best = np.zeros(count)
    np.maximum.at(best, dense, candidates.scores)
    return candidates.only(np.flatnonzero(best[dense] >= threshold))


def _key(options: Options, counter: str, rebase_to: float) -> str:
    """What names the options of a view that only grows."""
    told = {field.name: getattr(options, field.name) for field in fields(options) if field.name != "tokenizer"}
    return sha256(repr([sorted(told.items()), counter, rebase_to]).encode()).hexdigest()[:16]


def _everything(conversation: Conversation) -> list[Span]:
    """All messages as they are, none if there is nothing to see in any."""
    messages = conversation.messages
    return whole(conversation) if any(m.text.strip() or m.keeps_without_text for m in messages) else []


def _once(found: UnitTable, pooled: np.ndarray, chances: bool) -> np.ndarray:
    """Scores of units in which lines that say again what stands above come last."""
    repeats = found.are(["repeat"])
    if not repeats.any():
        return pooled
    return np.where(repeats, REPEATED * pooled if chances else pooled.min() - 1.0, pooled)


def _split(
    conversation: Conversation, scores: TokenScores, counts: Counts, level: str, coarse: Sequence[Unit]
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
    return Candidates(parts, importance, unit_costs(conversation, parts, counts))


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
