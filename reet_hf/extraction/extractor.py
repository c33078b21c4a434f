"""Entities and facts of a conversation from its cached token states."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import torch

from ..conversation import Conversation
from ..lexicon import FUNCTION_WORDS
from ..modeling.extraction_head import OwnFacts, Words, any_channel
from ..records import EntityMention, Span, Statement
from ..windows import TokenTable, plan_windows, special_frame
from .decoding import best_spans
from .examples import WindowWords, padded_rows

# chance above which a mention of a kind is found: best on the development sets
THRESHOLDS = {"named": 0.15, "nominal": 0.25, "term": 0.15, "argument": 0.5}
THRESHOLD = THRESHOLDS["named"]
FACT_THRESHOLD = 0.1
LINKED = 0.2  # share of the links of a fact from which on it is said of a subject
KINDS = ("named", "nominal")  # the kinds of mention that a conversation's entities have
FACT_KIND = "clause"
BATCH = 16  # windows


@dataclass(frozen=True)
class WordSpan:
    """A span of words of a window, both ends included, with its channel and the chance of it."""

    first: int
    last: int
    channel: int
    chance: float


def decode(logits: torch.Tensor, threshold: float = THRESHOLD) -> list[WordSpan]:
    """The spans of a window that are likelier than `threshold` and together likeliest, none overlapping another.

    Args:
        logits: By first word, width and channel, of shape `(words, widths, channels)`.
        threshold: In (0, 1). A span counts by how far its chance is above it.
    """
    best, channels = logits.max(-1)
    places = _likely(best, threshold)
    found = _chosen([(first, first + width) for first, width, _ in places], [each[2] for each in places], threshold)
    return [replace(span, channel=int(channels[span.first, span.last - span.first])) for span in found]


def _likely(logits: torch.Tensor, threshold: float) -> list[tuple[Any, ...]]:
    """Places of the logits that are likelier than a threshold, each with its chance behind its numbers."""
    places = (logits > math.log(threshold / (1.0 - threshold))).nonzero(as_tuple=True)
    return list(zip(*(place.tolist() for place in places), logits[places].sigmoid().tolist(), strict=True))


def _chosen(spans: Sequence[tuple[int, int]], chances: Sequence[float], threshold: float) -> list[WordSpan]:
    """Those of spans, given by first and last word, that are together likeliest, none overlapping another."""
    half_open = [(first, last + 1) for first, last in spans]
    best = best_spans(half_open, [chance - threshold for chance in chances])
    return [WordSpan(*spans[number], 0, chances[number]) for number in best]


class FoundWindow(NamedTuple):
    """What was found in a window.

    Attributes:
        first: Number of its first token.
        message: Message that this stands in.
        mentions: In the order of the text.
        statements: In the order of the text.
    """

    first: int
    message: int
    mentions: list[EntityMention]
    statements: list[Statement]


@dataclass
class Findings:
    """What was found in a conversation so far.

    Attributes:
        windows: In the order of the text.
        settled: Tokens of the windows that no later message changes.
        open_message: The first message in which what was found can change.
    """

    windows: list[FoundWindow] = field(default_factory=list)
    settled: int = 0
    open_message: int = 0

    @property
    def mentions(self) -> list[EntityMention]:
        """All mentions in the order of the text."""
        return [mention for window in self.windows for mention in window.mentions]

    @property
    def statements(self) -> list[Statement]:
        """All statements in the order of the text."""
        return [statement for window in self.windows for statement in window.statements]

    def since(self, message: int) -> tuple[list[EntityMention], list[Statement]]:
        """Mentions and statements in a message and those after it, in the order of the text."""
        first = max(bisect_left(self.windows, message, key=attrgetter("message")) - 1, 0)
        own = self.windows[first:]
        mentions = [mention for window in own for mention in window.mentions if mention.message >= message]
        return mentions, [said for window in own for said in window.statements if said.message >= message]


class ReetExtractor:
    """Finds entities and facts with a trained head.

    Args:
        model: A `ReetForCompression` or `ReetForEntityExtraction` with an extraction head.
        tokenizer: Its fast tokenizer.
        channels: Kind and type of the mentions that are found; default: those of `KINDS`, of all types.
        thresholds: Chance above which a mention is found, by its kind.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        channels: Iterable[tuple[str, str]] | None = None,
        thresholds: Mapping[str, float] = THRESHOLDS,
    ) -> None:
        self.model, self.config, self.thresholds = model, model.config, thresholds
        before, after = special_frame(tokenizer)
        self.capacity = model.config.window_tokens - len(before) - len(after)
        known = [(kind, name) for kind, name in model.config.channels]
        wanted = [pair for pair in known if pair[0] in KINDS] if channels is None else list(channels)
        self.types = [name for _, name in known]
        self.channels: dict[str, list[int]] = {}
        for pair in dict.fromkeys(wanted):
            self.channels.setdefault(pair[0], []).append(known.index(pair))
        self.fact_kind = model.config.fact_kinds.index(FACT_KIND)

    @torch.inference_mode()
    def extract(self, conversation: Conversation, scored: Any, before: Findings | None = None) -> Findings:
        """What is found in a conversation; of what was found `before` in its beginning, settled windows stay.

        Args:
            conversation: The messages.
            scored: Their `scoring.scorer.ScorerState`, whose token states are read, no text is encoded again.
            before: What this returned for a beginning of the conversation.
        """
        before = before or Findings()
        units, messages = (scored.tokens.column(name) for name in ("units", "messages"))
        found = before.windows[: bisect_left(before.windows, before.settled, key=attrgetter("first"))]
        windows = plan_windows(units, self.capacity, before.settled)
        for first in range(0, len(windows), BATCH):
            batch = windows[first : first + BATCH]
            read = self._batch(conversation, scored, batch)
            found.extend(
                FoundWindow(start, int(messages[start]), *own) for (start, _), own in zip(batch, read, strict=True)
            )
        opened = int(messages[scored.closed]) if scored.closed < len(messages) else 0
        return Findings(found, scored.closed, opened)

    def _batch(
        self, conversation: Conversation, scored: Any, windows: Sequence[tuple[int, int]]
    ) -> list[tuple[list[EntityMention], list[Statement]]]:
        read = [_Window(scored.part(slice(*window))) for window in windows]
        states = torch.nn.functional.normalize(scored.states.read(slice(windows[0][0], windows[-1][1])), dim=-1)
        device, offset = states.device, windows[0][0]
        columns = [
            padded_rows([getattr(window.words, name) for window in read], fill).to(device)
            for name, fill in (("first", -1), ("last", 0), ("shapes", 0), ("units", -1))
        ]
        first, last, shapes, units = columns
        mask = first >= 0
        words = Words(first.clamp(min=0), last, shapes, units, mask)
        inputs = torch.nn.utils.rnn.pad_sequence(
            [states[a - offset : b - offset] for a, b in windows], batch_first=True
        )
        known = self.model.extractor.read(inputs, words)
        logits = self.model.extractor.entities(known, mask).float().cpu()
        found = self._entities(conversation, read, logits)
        said = self._facts(known, words, read, found)
        results = []
        for window, own, linked in zip(read, found, said, strict=True):
            mentions = []
            for kind, span in own:
                where, text = window.read(conversation, span)
                mentions.append(
                    EntityMention(
                        text, self.types[span.channel], kind, where.message, where.start, where.end, span.chance
                    )
                )
            statements = _statements(conversation, window, [span for _, span in own], linked)
            results.append((sorted(mentions, key=lambda m: (m.message, m.start, m.end)), statements))
        return results

    def _facts(
        self,
        known: torch.Tensor,
        words: Words,
        read: Sequence[_Window],
        found: Sequence[Sequence[tuple[str, WordSpan]]],
    ) -> list[list[tuple[int, WordSpan]]]:
        """Of each window the likely facts with the number of the mention they are said of, as links see it too."""
        subjects = padded_rows([_ends([span for _, span in own]) for own in found], -1).to(known.device)
        if not subjects.shape[1]:
            return [[] for _ in read]
        kinds = torch.full((len(read),), self.fact_kind, device=known.device)
        said = _said(read, subjects.shape[1], self.model.extractor.own_facts(known, words, subjects, kinds))
        facts = padded_rows([_ends([span for _, span in own]) for own in said], 0).to(known.device)
        links = self.model.extractor.links(known, words, subjects.clamp(min=0), facts).float()
        shares = links.masked_fill(subjects[:, None, :, 0] < 0, torch.finfo(links.dtype).min).softmax(-1).cpu()
        return [
            [(number, span) for row, (number, span) in zip(shares[place], own, strict=False) if row[number] >= LINKED]
            for place, own in enumerate(said)
        ]

    def _entities(
        self, conversation: Conversation, read: Sequence[_Window], logits: torch.Tensor
    ) -> list[list[tuple[str, WordSpan]]]:
        """Mentions of each window and kind, those of one kind without overlap, no span as two kinds."""
        found: list[dict[tuple[int, int], tuple[str, WordSpan]]] = [{} for _ in read]
        values = logits.numpy()
        for kind, own in self.channels.items():
            threshold = self.thresholds[kind]
            likely: list[tuple[list[tuple[int, int]], list[float]]] = [([], []) for _ in read]
            for place, first, width, value in _likely(any_channel(logits[..., own]).squeeze(-1), threshold):
                if read[place].holds(first, first + width):
                    likely[place][0].append((first, first + width))
                    likely[place][1].append(value)
            for place, (spans, chances) in enumerate(likely):
                for span in _chosen(spans, chances, threshold):
                    if kind == "named" and _names_nothing(read[place].read(conversation, span)[1]):
                        continue
                    known = found[place].get((span.first, span.last))
                    if known is None or known[1].chance < span.chance:
                        channel = own[int(values[place, span.first, span.last - span.first, own].argmax())]
                        found[place][span.first, span.last] = (kind, replace(span, channel=channel))
        return [[spans[ends] for ends in sorted(spans)] for spans in found]


def _names_nothing(text: str) -> bool:
    """Whether a text is function words alone, such as a capitalised one that begins a sentence, and no abbreviation."""
    words = text.lower().split()
    return all(word in FUNCTION_WORDS for word in words) and not (text.isupper() and len(text) > 1)


class _Window:
    """Words of a window and where in the conversation they stand."""

    def __init__(self, table: TokenTable) -> None:
        self.words = WindowWords.of(table)
        self.messages = table.messages[self.words.first]
        self.starts, self.ends = table.starts[self.words.first], table.ends[self.words.last]
        # words of speaker labels stand nowhere; no span crosses them
        self.segments = np.cumsum(np.diff(self.messages * 2 + (self.starts < 0), prepend=-1) != 0)

    def __len__(self) -> int:
        return len(self.starts)

    def span(self, first: int, last: int) -> Span:
        """The characters of words `first` to `last`."""
        return Span(int(self.messages[first]), int(self.starts[first]), int(self.ends[last]))

    def read(self, conversation: Conversation, span: WordSpan) -> tuple[Span, str]:
        """Where a span of words stands in the conversation, and its text."""
        where = self.span(span.first, span.last)
        return where, conversation.messages[where.message].text[where.start : where.end]

    def holds(self, first: int, last: int) -> bool:
        """Whether words `first` to `last` are text of one message."""
        return last < len(self) and self.segments[first] == self.segments[last] and self.starts[first] >= 0


def _ends(spans: Sequence[WordSpan]) -> np.ndarray:
    """First and last word of each, of shape `(spans, 2)`."""
    return np.array([(span.first, span.last) for span in spans], dtype=np.int64).reshape(-1, 2)


def _said(read: Sequence[_Window], subjects: int, facts: OwnFacts) -> list[list[tuple[int, WordSpan]]]:
    """Of each window the facts that are likely of each mention, which stand in its sentence, with its number.

    Args:
        read: The windows.
        subjects: Mentions of each, with padding.
        facts: What may be said of them.
    """
    owners, places = facts.owners.tolist(), facts.places.tolist()
    likely: dict[int, tuple[list[tuple[int, int]], list[float]]] = {}
    for row, width, value in _likely(facts.logits.float().cpu(), FACT_THRESHOLD):
        first = places[row]
        if read[owners[row] // subjects].holds(first, first + width):
            spans, chances = likely.setdefault(owners[row], ([], []))
            spans.append((first, first + width))
            chances.append(value)
    said: list[list[tuple[int, WordSpan]]] = [[] for _ in read]
    for owner, (spans, chances) in likely.items():
        said[owner // subjects] += [(owner % subjects, span) for span in _chosen(spans, chances, FACT_THRESHOLD)]
    return said


def _statements(
    conversation: Conversation, window: _Window, subjects: Sequence[WordSpan], said: Sequence[tuple[int, WordSpan]]
) -> list[Statement]:
    """What is said of each subject, in the order of the text."""
    found = []
    for number, span in said:
        subject = subjects[number]
        (where, text), of = window.read(conversation, span), window.span(subject.first, subject.last)
        if where.message == of.message:
            found.append(Statement(of, text, where.message, where.start, where.end, span.chance))
    return sorted(found, key=lambda s: (s.message, s.start, s.end, s.subject))
