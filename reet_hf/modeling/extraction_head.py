"""The extraction head: spans of entities, what is said of them, and which of them it is said of, from cached states.

Spans are scored by the product of a view of their first and a view of their last word, with a term for each kind and
type (biaffine, Yu et al., arXiv:2005.07150; few parameters a type as in Su et al., arXiv:2208.03054). Only spans of
limited width are scored, so the cost is linear in the words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from .configuration_reet import ReetConfig
from .processor import rounded_rows

SHAPES = 9  # none, lower, capitalised, capitals, digits, letters and digits, punctuation, mixed, one capital
DISTANCES = 64  # words before and after a subject that are told apart
EXTRACTION_LOSSES = {"entity": 1.0, "fact": 1.0, "link": 0.2}


@dataclass
class Words:
    """Words of windows.

    Attributes:
        first: Place of each word's first token in its window, of shape `(windows, words)`.
        last: Place of its last token.
        shapes: How it is written, see `windows.word_shape`.
        units: Number of its sentence, never falling.
        mask: True for words, False for padding.
    """

    first: torch.Tensor
    last: torch.Tensor
    shapes: torch.Tensor
    units: torch.Tensor
    mask: torch.Tensor


class OwnFacts(NamedTuple):
    """What may be said of subjects, by the words that it may begin with, one subject after the other.

    Attributes:
        logits: By word and width, the lowest number there is where nothing can stand, of shape `(rows, fact_words)`.
        owners: Whose row it is, counted through all windows with their padding, never falling, of shape `(rows,)`.
        places: The word in its window, of the same shape.
    """

    logits: torch.Tensor
    owners: torch.Tensor
    places: torch.Tensor


class ExtractionHead(nn.Module):
    """Logits of entity spans, of facts of given subjects, and of the subjects of given facts."""

    def __init__(self, config: ReetConfig) -> None:
        super().__init__()
        width, dim, narrow = config.width, config.extraction_dim, config.span_dim
        kinds = config.mention_kinds
        self.kinds, self.narrow = len(kinds), narrow
        self.entity_words, self.fact_words = config.entity_words, config.fact_words
        self.channel_kinds = [kinds.index(kind) for kind, _ in config.channels or ()]
        channels = len(self.channel_kinds)
        self.shape = nn.Embedding(SHAPES, dim)
        self.word = nn.Linear(2 * width, dim)
        self.word_norm, self.mixed_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mixer = nn.LSTM(dim, dim // 2, batch_first=True, bidirectional=True)
        self.start, self.end = nn.Linear(dim, self.kinds * narrow), nn.Linear(dim, self.kinds * narrow)
        self.start_channel, self.end_channel = nn.Linear(dim, channels), nn.Linear(dim, channels)
        self.width_bias = nn.Parameter(torch.empty(self.kinds, config.entity_words))
        self.subject = nn.Linear(2 * dim, 3 * narrow)
        self.fact_kind = nn.Embedding(len(config.fact_kinds or ()), 3 * narrow)
        self.fact_start, self.fact_end = nn.Linear(dim, 2 * narrow), nn.Linear(dim, 2 * narrow)
        self.fact_distance = nn.Embedding(2 * DISTANCES + 1, narrow)
        self.fact_from, self.fact_to = nn.Linear(narrow, 1), nn.Linear(narrow, 1)
        self.fact_width = nn.Parameter(torch.empty(config.fact_words))
        self.same_unit = nn.Parameter(torch.empty(2))  # of facts, of links
        self.link = nn.Linear(2 * dim, narrow)
        self.link_distance = nn.Embedding(2 * DISTANCES + 1, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start with hardly any span being an entity or a fact."""
        for layer in (self.start, self.end, self.fact_start, self.fact_end):
            nn.init.normal_(layer.weight, std=0.02)
        for out, bias in (
            (self.start_channel, -3.0),
            (self.end_channel, -2.0),
            (self.fact_from, -2.0),
            (self.fact_to, -2.0),
        ):
            nn.init.normal_(out.weight, std=0.02)
            nn.init.constant_(out.bias, bias)
        for parameter in (self.width_bias, self.fact_width, self.same_unit, self.link_distance.weight):
            nn.init.zeros_(parameter)

    def read(self, states: torch.Tensor, words: Words) -> torch.Tensor:
        """What is known of each word, of shape `(windows, words, extraction_dim)`.

        Args:
            states: Token states scaled to length 1, of shape `(windows, tokens, width)`.
            words: Of the same windows.
        """
        ends = [_rows(states, place) for place in (words.first, words.last)]
        seen = torch.cat(ends, -1) * math.sqrt(states.shape[-1])  # numbers around 1, as before they were scaled
        known = self.dropout(self.word_norm(self.word(seen) + self.shape(words.shapes)))
        return self.dropout(self.mixed_norm(known + self._mixed(known, words.mask.sum(1).clamp(min=1))))

    def _mixed(self, known: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """What the LSTM makes of rows of words, zeros behind their ends, of the shape of `known`."""
        if torch.is_grad_enabled():
            packed = nn.utils.rnn.pack_padded_sequence(known, lengths.cpu(), batch_first=True, enforce_sorted=False)
            mixed, _ = self.mixer(packed)
            return nn.utils.rnn.pad_packed_sequence(mixed, batch_first=True, total_length=known.shape[1])[0]
        # each direction by itself over padded rows, the second from their ends on: a processor has a kernel for that,
        # five times faster than the one for packed rows
        count = known.shape[1]
        known = functional.pad(known, (0, 0, 0, rounded_rows(count) - count))  # for few lengths of rows
        places = torch.arange(known.shape[1], device=known.device).expand(known.shape[:2])
        inside = places < lengths[:, None]
        turned = torch.where(inside, lengths[:, None] - 1 - places, places)
        start = known.new_zeros(1, len(known), self.mixer.hidden_size)
        rows = (known, _rows(known, turned))
        ahead, back = (
            torch.lstm(row, (start, start), list(weights), True, 1, 0.0, False, False, True)[0]
            for row, weights in zip(rows, self.mixer.all_weights, strict=True)
        )
        return (torch.cat((ahead, _rows(back, turned)), -1) * inside.unsqueeze(-1))[:, :count]

    def entities(self, known: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits of spans by their first word and width, `(windows, words, entity_words, channels)`.

        Spans that leave the window have the lowest number there is.
        """
        windows, words, _ = known.shape
        starts, ends = (layer(known).unflatten(-1, (self.kinds, self.narrow)) for layer in (self.start, self.end))
        products = torch.einsum("wikd,wjkd->wkij", starts / math.sqrt(self.narrow), ends)
        last, real = _band(mask, self.entity_words)
        place = last.expand(windows, self.kinds, words, self.entity_words)
        scores = (products.gather(-1, place) + self.width_bias.unsqueeze(1)).permute(0, 2, 3, 1)
        ends = functional.pad(self.end_channel(known), (0, 0, 0, self.entity_words - 1)).unfold(1, self.entity_words, 1)
        logits = scores[..., self.channel_kinds] + self.start_channel(known).unsqueeze(2) + ends.transpose(2, 3)
        return logits.masked_fill(~real.unsqueeze(-1), torch.finfo(logits.dtype).min)

    def facts(self, known: torch.Tensor, words: Words, subjects: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        """Logits of what is said of each subject, of shape `(windows, subjects, words, fact_words)`.

        Args:
            known: What `read` returns.
            words: Of the same windows.
            subjects: First and last word of each, of shape `(windows, subjects, 2)`; -1 for padding.
            kinds: How facts are marked in each window, of shape `(windows,)`.
        """
        found, (windows, count, _) = self.own_facts(known, words, subjects, kinds), known.shape
        lowest = torch.finfo(found.logits.dtype).min
        everywhere = found.logits.new_full((subjects[..., 0].numel(), count, self.fact_words), lowest)
        placed = everywhere.index_put((found.owners, found.places), found.logits)
        return placed.unflatten(0, (windows, subjects.shape[1]))

    def own_facts(self, known: torch.Tensor, words: Words, subjects: torch.Tensor, kinds: torch.Tensor) -> OwnFacts:
        """The same for the words of each subject's sentence alone, where its facts stand.

        Args:
            known, words, subjects, kinds: As for `facts`.
        """
        window, subject = (subjects[..., 0] >= 0).nonzero(as_tuple=True)
        owners, places, later = _own_sentences(words, window, subjects[window, subject, 0])
        ends = subjects[window, subject]
        own = _rows(known, subjects.clamp(min=0).flatten(1)).unflatten(1, (-1, 2)).flatten(2)[window, subject]
        views = self.subject(own) + self.fact_kind(kinds)[window]
        as_start, as_end, scale = views.index_select(0, owners).chunk(3, -1)
        first, final = ends.index_select(0, owners).unbind(-1)
        distance = self.fact_distance(_distance(first, final, places))
        place, flat = window[owners] * known.shape[1] + places, known.flatten(0, 1)
        sides = []
        for view, layer, out in (
            (as_start, self.fact_start, self.fact_from),
            (as_end, self.fact_end, self.fact_to),
        ):
            plain, scaled = layer(flat).index_select(0, place).chunk(2, -1)
            hidden = torch.addcmul(plain + view + distance, scaled, scale)
            sides.append(out(functional.gelu(hidden)).squeeze(-1))
        logits = (sides[0] + self.same_unit[0]).unsqueeze(-1) + self._from_each(sides[1]) + self.fact_width
        # a fact ends within its sentence and is no part of its subject
        reach = torch.where(places < first, torch.minimum(first - places, later), later)
        reach = reach.masked_fill((places >= first) & (places <= final), 0)
        outside = torch.arange(self.fact_words, device=reach.device) >= reach.unsqueeze(-1)
        logits = logits.masked_fill(outside, torch.finfo(logits.dtype).min)
        return OwnFacts(logits, window[owners] * subjects.shape[1] + subject[owners], places)

    def _from_each(self, column: torch.Tensor) -> torch.Tensor:
        """What a column `(…, words)` says of each word and those after it, 0 behind: `(…, words, fact_words)`."""
        return functional.pad(column, (0, self.fact_words - 1)).unfold(-1, self.fact_words, 1)

    def links(self, known: torch.Tensor, words: Words, subjects: torch.Tensor, facts: torch.Tensor) -> torch.Tensor:
        """How far each fact is said of each subject, logits of shape `(windows, facts, subjects)`.

        Args:
            known: What `read` returns.
            words: Of the same windows.
            subjects: First and last word of each, of shape `(windows, subjects, 2)`.
            facts: The same of facts, `(windows, facts, 2)`.
        """
        ends = [_rows(known, spans.flatten(1)).unflatten(1, (-1, 2)).flatten(2) for spans in (subjects, facts)]
        as_subject, scale = self.subject(ends[0])[..., : self.narrow], math.sqrt(self.narrow)
        products = self.link(ends[1]) @ as_subject.transpose(1, 2) / scale
        before = facts[..., 0, None] - subjects[:, None, :, 1]
        after = facts[..., 1, None] - subjects[:, None, :, 0]
        gap = torch.where(before > 0, before, torch.where(after < 0, after, 0)).clamp(-DISTANCES, DISTANCES) + DISTANCES
        units = [words.units.gather(1, spans[..., 0]) for spans in (facts, subjects)]
        same = (units[0].unsqueeze(2) == units[1].unsqueeze(1)).to(known.dtype) * self.same_unit[1]
        return products + self.link_distance(gap).squeeze(-1) + same


def _band(mask: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Last word of every span by its first word and width, `(words, width)`, and which spans lie in the text."""
    count = mask.shape[1]
    last = torch.arange(count, device=mask.device)[:, None] + torch.arange(width, device=mask.device)
    inside = last.clamp(max=count - 1)
    return inside, (last < count) & mask.unsqueeze(-1) & mask[:, inside]


def _rows(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Rows of values `(windows, rows, size)` at places `(windows, places)`: `(windows, places, size)`."""
    offsets = torch.arange(len(values), device=values.device).unsqueeze(-1) * values.shape[1]
    return values.flatten(0, 1).index_select(0, (places + offsets).flatten()).unflatten(0, places.shape)


def _own_sentences(
    words: Words, windows: torch.Tensor, firsts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The words of the sentences of subjects, one subject after the other, each of the shape `(words_of_all,)`.

    Args:
        words: Of the windows.
        windows: Of each subject, of shape `(subjects,)`.
        firsts: First word of each.

    Returns:
        The number of the subject; the place of the word in its window; and how many words of the sentence begin there.
    """
    unit, inside = words.units[windows, firsts].unsqueeze(-1), words.mask[windows]
    lengths = ((words.units[windows] == unit) & inside).sum(-1)
    begins = ((words.units[windows] < unit) & inside).sum(-1)
    owners = torch.repeat_interleave(lengths)
    steps = torch.arange(len(owners), device=owners.device) - (lengths.cumsum(0) - lengths)[owners]
    return owners, begins[owners] + steps, lengths[owners] - steps


def _distance(first: torch.Tensor, final: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Words between subjects and words, signed, shifted to be a place; all of the same shape."""
    before, after = places - first, places - final
    gap = torch.where(before < 0, before, torch.where(after > 0, after, 0))
    return gap.clamp(-DISTANCES, DISTANCES) + DISTANCES


def any_channel(logits: torch.Tensor) -> torch.Tensor:
    """Logits of the chance that any of the channels holds, of shape `(..., 1)`; see `grouped`."""
    return logits.logsumexp(-1, keepdim=True)


def grouped(logits: torch.Tensor, groups: torch.Tensor, count: int) -> torch.Tensor:
    """Logits of groups of channels, of shape `(..., count)`: of the chance that any channel of a group holds.

    Args:
        logits: Of shape `(windows, ..., channels)`.
        groups: Group of each channel in each window, -1 for none, of shape `(windows, channels)`.
        count: How many groups there are.
    """
    members = functional.one_hot(groups + 1, count + 1)[..., 1:].to(logits.dtype)
    inner = (slice(None), *(None,) * (logits.dim() - 3))
    return (torch.exp(logits.clamp(-40.0, 30.0)) @ members[inner]).clamp(min=1e-18).log()


def entity_loss(logits: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of all spans and groups of channels, a word.

    Args:
        logits: What `ExtractionHead.entities` returns.
        groups: Group of each channel, -1 for none, of shape `(windows, channels)`.
        labels: First word, last word and group of each entity, of shape `(windows, entities, 3)`; group -1 for a span
            that trains nothing, -2 for padding.
        mask: True for words, of shape `(windows, words)`.
    """
    count = int(groups.max()) + 1
    scores = grouped(logits, groups, count)
    known = torch.arange(count, device=groups.device) <= groups.amax(-1, keepdim=True)
    weights = (logits[..., :1] > torch.finfo(logits.dtype).min) & known[:, None, None]
    weights = weights.to(scores.dtype)
    targets = torch.zeros_like(scores)
    width = labels[..., 1] - labels[..., 0]
    fits = (labels[..., 2] > -2) & (width < logits.shape[2])
    window, item = fits.nonzero(as_tuple=True)
    start, size, group = labels[window, item, 0], width[window, item], labels[window, item, 2]
    ignored = group < 0
    weights[window[ignored], start[ignored], size[ignored]] = 0.0
    targets[window[~ignored], start[~ignored], size[~ignored], group[~ignored]] = 1.0
    entropy = functional.binary_cross_entropy_with_logits(scores, targets, weights, reduction="sum")
    return entropy / mask.sum().clamp(min=1)


def fact_loss(logits: torch.Tensor, subjects: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of all spans of all subjects, a word.

    Args:
        logits: What `ExtractionHead.facts` returns.
        subjects: First and last word of each, -1 for padding, of shape `(windows, subjects, 2)`.
        labels: First and last word of the subject, then of the fact, -1 for padding, `(windows, facts, 4)`.
        mask: True for words of windows whose facts are marked, of shape `(windows, words)`.
    """
    real = (subjects[..., 0] >= 0)[..., None, None] & (logits > torch.finfo(logits.dtype).min)
    targets = torch.zeros_like(logits)
    width = labels[..., 3] - labels[..., 2]
    same = (labels[:, None, :, :2] == subjects[:, :, None]).all(-1)  # (windows, subjects, facts)
    same &= ((labels[..., 0] >= 0) & (width < logits.shape[-1]))[:, None]
    window, subject, fact = same.nonzero(as_tuple=True)
    targets[window, subject, labels[window, fact, 2], width[window, fact]] = 1.0
    weights = (real & mask.any(-1)[:, None, None, None]).to(logits.dtype)
    entropy = functional.binary_cross_entropy_with_logits(logits.clamp(min=-1e4), targets, weights, reduction="sum")
    return entropy / mask.sum().clamp(min=1)


def link_loss(logits: torch.Tensor, subjects: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the subjects of each fact; where several are right any of them will do.

    Args:
        logits: What `ExtractionHead.links` returns for the facts of `labels`.
        subjects: First and last word of each, -1 for padding, of shape `(windows, subjects, 2)`.
        labels: As in `fact_loss`.
    """
    lowest = torch.finfo(logits.dtype).min
    shares = logits.masked_fill(subjects[:, None, :, 0] < 0, lowest).log_softmax(-1)
    facts = labels[..., 2:]
    twins = (facts[:, :, None] == facts[:, None]).all(-1)  # the same fact said of several subjects
    right = (labels[:, :, None, :2] == subjects[:, None]).all(-1)
    right = (twins.to(logits.dtype) @ right.to(logits.dtype)) > 0
    used = right.any(-1) & (labels[..., 0] >= 0)
    loss = -torch.logsumexp(shares.masked_fill(~right, lowest), -1)
    return loss.where(used, 0.0).sum() / used.sum().clamp(min=1)
