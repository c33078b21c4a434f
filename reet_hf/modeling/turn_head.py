"""The turn-aware head: importance of cached token states for queries that were read in their conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from .configuration_reet import ReetConfig
from .processor import byte_product, multiplies_bfloat16, rounded_rows

TOKEN_FEATURES = 5  # highest cosine, cosine to the mean query, word match, the match's rarity, rarity
UNIT_FEATURES = 5  # late-interaction mean, lexical coverage, coverage by length, mean cosine, log length
REFERENCE_WEIGHT = 0.2
BLOCK_TOKENS = 8192

Rows = slice | torch.Tensor
Look = Callable[[Rows, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # see `TokenIndex.look`


@dataclass
class TokenIndex:
    """What the head reads of every token at every turn.

    Attributes:
        states: Token states scaled to length 1, of shape `(tokens, width)`.
        keys: The head's own view of a state, of shape `(tokens, token_dim)`.
        prior: Query-blind logit before age and rarity, of shape `(tokens,)`.
    """

    states: torch.Tensor
    keys: torch.Tensor
    prior: torch.Tensor

    def look(self, rows: Rows, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines of some of the tokens with directions `(targets, width)`, `(tokens, targets)`, and their keys."""
        return self.states[rows] @ targets.T, self.keys[rows]


@dataclass
class TurnScores:
    """Logits of one conversation: `prior` of shape `(tokens,)`, `importance` of shape `(tokens, queries)`."""

    prior: torch.Tensor
    importance: torch.Tensor


@dataclass
class Queries:
    """Queries of one conversation in the order of their turns.

    Attributes:
        states: Token states, of shape `(queries, query_tokens, width)`.
        mask: True for real tokens, of shape `(queries, query_tokens)`.
        words: Word identities of the same shape, 0 for none.
    """

    states: torch.Tensor
    mask: torch.Tensor
    words: torch.Tensor


@dataclass
class TurnContext:
    """What a turn adds to the cached states of one conversation; each tensor has the shape `(tokens,)`.

    Attributes:
        units: Sentence number of each token, never falling.
        words: Place of each token's word in `vocabulary`.
        vocabulary: Word identities of the conversation, each once, 0 for no content word, of shape `(words,)`.
        rarity: From 0 (a function word) to 1 (occurs once).
        ages: Age of the token's message in turns.
        mentions: 1 for tokens of names, numbers and the like.
        lengths: Tokens of each sentence, of shape `(units,)`, where that is known already.
        queries: What is asked; `None` for the prior alone.
        together: For a cross-encoder instead of `queries`: for each query the states of all tokens as the encoder reads
            them behind it, each of shape `(tokens, width)`.
    """

    units: torch.Tensor
    words: torch.Tensor
    vocabulary: torch.Tensor
    rarity: torch.Tensor
    ages: torch.Tensor
    mentions: torch.Tensor
    lengths: torch.Tensor | None = None
    queries: Queries | None = None
    together: Sequence[torch.Tensor] = ()


@dataclass
class Asked:
    """What every token is compared with at a turn; the same for all blocks of tokens.

    Attributes:
        targets: Directions of all query tokens and of the mean queries, of shape `(targets, width)`.
        values: What attention brings from query tokens, of shape `(queries, query_tokens, 2 * token_dim)`.
        named: Whether a word of the conversation is a query token's word, `(words, queries, query_tokens)`.
        matched: Whether it is any query token's word, of shape `(words, queries)`; zeros without lexical match.
        references: How often the query refers to it, once at most, of shape `(words, queries)`.
    """

    targets: torch.Tensor
    values: torch.Tensor
    named: torch.Tensor
    matched: torch.Tensor
    references: torch.Tensor


@dataclass
class SentenceViews:
    """What tokens say of themselves, and what their sentences see of them.

    Attributes:
        logits: Of the tokens, of shape `(tokens, queries)`.
        hidden: Mean hidden state, of shape `(units, queries, token_dim)`.
        cosine: Highest cosine with each query token, of shape `(units, queries, query_tokens)`.
        centre_cosine: Mean cosine with each mean query, of shape `(units, queries)`.
    """

    logits: torch.Tensor
    hidden: torch.Tensor
    cosine: torch.Tensor
    centre_cosine: torch.Tensor

    @classmethod
    def joined(cls, parts: Sequence[SentenceViews]) -> SentenceViews:
        """Those of consecutive sentences as one."""
        names = ("logits", "hidden", "cosine", "centre_cosine")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


class PriorHead(nn.Module):
    """Query-blind importance of tokens."""

    def __init__(self, config: ReetConfig) -> None:
        super().__init__()
        self.prior_in = nn.Linear(config.width, config.unit_dim)
        self.prior_out = nn.Linear(config.unit_dim, 1)
        self.prior_features = nn.Linear(3, 1, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def blind(self, token_states: torch.Tensor) -> torch.Tensor:
        """What a token's state alone says, of shape `(tokens,)`, computed once a token."""
        return self.prior_out(self.dropout(functional.gelu(self.prior_in(token_states)))).squeeze(-1)

    def prior(self, blind: torch.Tensor, context: TurnContext) -> torch.Tensor:
        """Logits of shape `(tokens,)`: what `blind` said, with rarity, mentions and age."""
        mentions, rarity, ages = (column.to(blind.dtype) for column in (context.mentions, context.rarity, context.ages))
        features = torch.stack((rarity, mentions, 1.0 / (1.0 + ages)), -1)
        return blind + self.prior_features(features).squeeze(-1)


class TurnHead(PriorHead):
    """Prior and importance of tokens from cached states, in the encoder's own geometry.

    A token sees the query through cosines in the encoder's space and through attention over the query's tokens.
    Sentences then add what only they can tell (how much of the query they cover, and what their neighbours say), so
    a token's logit is its own part plus its sentence's part.
    """

    def __init__(self, config: ReetConfig) -> None:
        super().__init__(config)
        width, narrow, wide = config.width, config.token_dim, config.unit_dim
        self.lexical_match = config.lexical_match
        self.key = nn.Linear(width, narrow)
        self.query = nn.Linear(width, 2 * narrow)
        self.token_features = nn.Linear(TOKEN_FEATURES, narrow)
        self.token_out = nn.Linear(narrow, 1)
        self.unit_in = nn.Linear(narrow + UNIT_FEATURES, wide)
        self.unit_neighbours = nn.Conv1d(
            wide, wide, kernel_size=2 * config.neighbours + 1, padding=config.neighbours, groups=wide
        )
        self.unit_mix = nn.Linear(wide, wide)
        self.unit_out = nn.Linear(wide + UNIT_FEATURES, 1)
        self.sharpness = nn.Parameter(torch.empty(1))
        self.entity_gate = nn.Parameter(torch.empty(1)) if config.entity_gate else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start as a late-interaction ranker: cosines count, everything learned begins near zero."""
        nn.init.orthogonal_(self.key.weight)
        for out in (self.token_out, self.prior_out, self.unit_out):
            nn.init.normal_(out.weight, std=0.02)
            nn.init.constant_(out.bias, -1.0)
        self.unit_out.bias.zero_()
        self.unit_out.weight[0, -UNIT_FEATURES:] = torch.tensor([4.0, 2.0, 1.0, 4.0, 0.0])
        nn.init.zeros_(self.prior_features.weight)
        self.sharpness.fill_(10.0)
        if self.entity_gate is not None:
            self.entity_gate.fill_(0.3)

    def index(self, token_states: torch.Tensor) -> TokenIndex:
        """The query-independent part, computed once a token."""
        return TokenIndex(functional.normalize(token_states, dim=-1), self.key(token_states), self.blind(token_states))

    def look(
        self, values: torch.Tensor, scales: torch.Tensor, norms: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `TokenIndex.look` returns, of states that are kept as whole numbers, in one product.

        Args:
            values: States before they are scaled, of shape `(tokens, width)`, int8.
            scales: What makes states of them, of shape `(tokens,)`.
            norms: Their Euclidean length before that, of the same shape.
            targets: Directions, of shape `(targets, width)`.
        """
        both = byte_product(values, torch.cat((targets, self.key.weight)))
        cosine, keys = both.split((len(targets), len(self.key.weight)), -1)
        lengths = norms.to(targets.dtype).clamp(min=1e-6).unsqueeze(-1)
        return cosine / lengths, torch.addcmul(self.key.bias, keys, scales.to(targets.dtype).unsqueeze(-1))

    def forward(self, index: TokenIndex, context: TurnContext) -> TurnScores:
        """Scores of one conversation; without queries importance has no columns."""
        prior = self.prior(index.prior, context)
        if context.queries is None:
            return TurnScores(prior, prior.new_zeros(len(prior), 0))
        return TurnScores(prior, self.importance(index.look, context, context.queries))

    def importance(self, look: Look, context: TurnContext, queries: Queries) -> torch.Tensor:
        """Logits of all tokens, of shape `(tokens, queries)`.

        Args:
            look: Compares some of the tokens with directions.
            context: Of the turn.
            queries: What is asked.
        """
        asked, dtype = self._ask(context, queries), queries.states.dtype
        mentions, rarity = (column.to(dtype) for column in (context.mentions, context.rarity))
        lengths = _lengths(context)
        found = self._sentences(asked, queries.mask, lengths, look, context.words, rarity, mentions)
        places = torch.repeat_interleave(lengths)
        coverage = self._coverage(asked, context.words, rarity, places, len(lengths))
        features = _unit_features(found, coverage, lengths, queries.mask)
        inner = self._inner(found.hidden, features)
        around = self._around(inner)
        return found.logits + self._unit_logits(inner, around, features)[places]

    def coarse_to_fine(
        self, look: Look, look_at_units: Look, context: TurnContext, queries: Queries, room: int
    ) -> torch.Tensor:
        """Logits of all tokens, of shape `(tokens, queries)`, of which only `room` are looked at one by one.

        Every sentence is read as one token first: the mean of its states. Those of the highest logits are then read
        token by token; the tokens of the others have the logits of their sentence.

        Args:
            look: Compares some of the tokens with directions.
            look_at_units: Compares the means of some of the sentences with directions.
            context: Of the turn.
            queries: What is asked.
            room: Tokens that are read.
        """
        asked, dtype = self._ask(context, queries), queries.states.dtype
        mentions, rarity = (column.to(dtype) for column in (context.mentions, context.rarity))
        lengths, mask = _lengths(context), queries.mask
        places, units = torch.repeat_interleave(lengths), torch.arange(len(lengths), device=lengths.device)
        matched = _any_token(asked.matched, context.words, places, len(lengths))
        named = _any_token(asked.references, context.words, places, len(lengths))
        whole = replace(asked, matched=matched, references=named)
        means = [_means(column, lengths) for column in (rarity, mentions)]
        coarse = self._sentences(whole, mask, torch.ones_like(lengths), look_at_units, units, *means)
        coverage = self._coverage(asked, context.words, rarity, places, len(lengths))
        features = _unit_features(coarse, coverage, lengths, mask)
        inner = self._inner(coarse.hidden, features)
        around = self._around(inner)
        logits = coarse.logits + self._unit_logits(inner, around, features, coarse=True)

        ranked = logits.amax(-1).argsort(descending=True, stable=True)
        best = ranked[: int(torch.searchsorted(lengths[ranked].cumsum(0), room, right=True))].sort().values
        chosen = torch.zeros(len(lengths), dtype=torch.bool, device=lengths.device)
        chosen[best] = True
        rows = chosen[places].nonzero().squeeze(-1)
        columns = (context.words[rows], rarity[rows], mentions[rows])
        fine = self._sentences(asked, mask, lengths[best], lambda part, targets: look(rows[part], targets), *columns)
        inner[best] = self._inner(fine.hidden, own := _unit_features(fine, coverage[best], lengths[best], mask))
        exact = self._unit_logits(inner[best], self._around(inner, best), own)
        found = logits[places]
        found[rows] = fine.logits + exact.repeat_interleave(lengths[best], 0)
        return found

    def _sentences(
        self,
        asked: Asked,
        mask: torch.Tensor,
        lengths: torch.Tensor,
        look: Look,
        words: torch.Tensor,
        rarity: torch.Tensor,
        mentions: torch.Tensor,
    ) -> SentenceViews:
        """What tokens say of themselves and of their sentences, in blocks that stay in the processor's cache."""
        parts = []
        for units, tokens in _blocks(lengths):
            seen = look(tokens, asked.targets)
            columns = (column[tokens] for column in (words, rarity, mentions))
            parts.append(self._tokens(asked, mask, lengths[units], *seen, *columns))
        return parts[0] if len(parts) == 1 else SentenceViews.joined(parts)

    def _coverage(
        self, asked: Asked, words: torch.Tensor, rarity: torch.Tensor, places: torch.Tensor, units: int
    ) -> torch.Tensor:
        if not self.lexical_match:
            return rarity.new_zeros(units, asked.named.shape[1])
        return _coverage(asked.named, words, rarity, places, units)

    def _ask(self, context: TurnContext, queries: Queries) -> Asked:
        """What every token is compared with."""
        directions = functional.normalize(queries.states, dim=-1)
        centre = functional.normalize((directions * queries.mask.unsqueeze(-1)).sum(1), dim=-1)
        named = _named(context.vocabulary, queries.words)
        references = matched = named.any(-1).to(directions.dtype)
        if not self.lexical_match:
            matched = torch.zeros_like(matched)
        targets = torch.cat((directions.flatten(0, 1), centre))
        return Asked(targets, self.query(queries.states), named, matched, references)

    def _tokens(
        self,
        asked: Asked,
        mask: torch.Tensor,
        lengths: torch.Tensor,
        cosines: torch.Tensor,
        keys: torch.Tensor,
        words: torch.Tensor,
        rarity: torch.Tensor,
        mentions: torch.Tensor,
    ) -> SentenceViews:
        """The tokens' part of the logits, and what their sentences of `lengths` tokens see of them."""
        cosine, centre_cosine = cosines.split((mask.numel(), len(mask)), -1)
        cosine = cosine.unflatten(1, mask.shape)
        best = (cosine if mask.all() else cosine.masked_fill(~mask, -1.0)).amax(-1)
        matched = asked.matched[words]
        weight = rarity.unsqueeze(-1).expand_as(matched)
        features = torch.stack((best, centre_cosine, matched, matched * weight, weight), -1)

        # softmax over a handful of items without its slow reduction: cosines are at most 1, so exp is at most 1
        attention = torch.exp((cosine.float() - 1) * self.sharpness) * mask
        total = attention.sum(-1, keepdim=True).clamp(min=torch.finfo(attention.dtype).tiny)  # 0 for padded queries
        attention = (attention / total).to(keys.dtype)
        shift, gain = _mix(attention, asked.values).chunk(2, -1)
        hidden = torch.addcmul(self.token_features(features) + shift, keys.unsqueeze(1), 1 + gain)
        hidden = self.dropout(functional.gelu(hidden))
        if self.entity_gate is not None:
            gate = 1 + self.entity_gate * mentions.unsqueeze(-1) * (1 + REFERENCE_WEIGHT * asked.references[words])
            hidden = hidden * gate.unsqueeze(-1)
        return SentenceViews(
            self.token_out(hidden).squeeze(-1),
            segment(hidden, lengths, "mean"),
            segment(cosine, lengths, "max"),
            segment(centre_cosine, lengths, "mean"),
        )

    def _inner(self, hidden: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """What a sentence is for itself, of shape `(units, queries, unit_dim)`."""
        return functional.gelu(self.unit_in(torch.cat((hidden, features), -1)))

    def _around(self, inner: torch.Tensor, units: torch.Tensor | None = None) -> torch.Tensor:
        """What `unit_neighbours` says of all sentences, or of some, of shape `(units, queries, unit_dim)`.

        Sums of shifted rows are several times as fast on a processor as a convolution by channels.
        """
        reach = int(self.unit_neighbours.padding[0])
        weights = self.unit_neighbours.weight.squeeze(1).T.contiguous()
        beside = functional.pad(inner, (0, 0, 0, 0, reach, reach))
        around = torch.zeros_like(inner if units is None else inner[: len(units)])
        for k, weight in enumerate(weights):
            around.addcmul_(beside[k : k + len(inner)] if units is None else beside.index_select(0, units + k), weight)
        return around if self.unit_neighbours.bias is None else around + self.unit_neighbours.bias

    def _unit_logits(
        self, inner: torch.Tensor, around: torch.Tensor, features: torch.Tensor, coarse: bool = False
    ) -> torch.Tensor:
        """The sentence's part of the logits, of shape `(units, queries)`.

        Args:
            inner, around, features: What a sentence is, and its neighbours say.
            coarse: Whether the largest product may be one of bfloat16, where that is faster.
        """
        if coarse and inner.device.type == "cpu" and multiplies_bfloat16():
            layer, rows = self.unit_mix, len(around)
            short = around.new_zeros(rounded_rows(rows), *around.shape[1:], dtype=torch.bfloat16)
            short[:rows] = around
            heard = functional.linear(short, layer.weight.to(short.dtype), layer.bias.to(short.dtype))[:rows]
            heard = heard.to(inner.dtype)
        else:
            heard = self.unit_mix(self.dropout(around))
        mixed = inner + functional.gelu(heard)
        own, told = self.unit_out.weight[0].split((mixed.shape[-1], features.shape[-1]))
        return mixed @ own + features @ told + self.unit_out.bias


def _unit_features(
    found: SentenceViews, coverage: torch.Tensor, lengths: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Of each sentence by reductions over its tokens, of shape `(units, queries, UNIT_FEATURES)`."""
    cosine, centre_cosine = found.cosine, found.centre_cosine
    weight = mask.to(cosine.dtype)
    late_interaction = (cosine * weight).sum(-1) / weight.sum(-1).clamp(min=1)
    sizes = torch.log1p(lengths.to(cosine.dtype)).unsqueeze(-1).expand_as(centre_cosine) / 5
    return torch.stack((late_interaction, coverage, coverage / sizes, centre_cosine, sizes), -1)


def _lengths(context: TurnContext) -> torch.Tensor:
    """Tokens of each sentence."""
    if context.lengths is not None:
        return context.lengths
    return torch.unique_consecutive(context.units, return_counts=True)[1]


def _blocks(lengths: torch.Tensor) -> Iterator[tuple[slice, slice]]:
    """Sentences and their tokens in blocks of about `BLOCK_TOKENS`."""
    ends = lengths.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    if total <= BLOCK_TOKENS:
        yield slice(0, len(lengths)), slice(0, total)
        return
    numbers = torch.bincount((ends - 1) // BLOCK_TOKENS).cumsum(0).tolist()
    for first, last in pairwise([0, *numbers]):
        if last > first:
            yield slice(first, last), slice(int(ends[first - 1]) if first else 0, int(ends[last - 1]))


def _any_token(of_words: torch.Tensor, words: torch.Tensor, places: torch.Tensor, units: int) -> torch.Tensor:
    """Of what holds of words whether it holds of any token of each unit, as numbers of shape `(units, queries)`."""
    tokens = of_words.any(-1)[words].nonzero().squeeze(-1)
    found = of_words.new_zeros(units, of_words.shape[1])
    token, query = of_words[words[tokens]].nonzero(as_tuple=True)
    found[places[tokens[token]], query] = 1.0
    return found


def _means(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mean of values of shape `(tokens,)` over consecutive units of `lengths` tokens, of shape `(units,)`."""
    sums = functional.pad(values.double().cumsum(0), (1, 0))
    ends = lengths.cumsum(0)
    return ((sums[ends] - sums[ends - lengths]) / lengths).to(values.dtype)


def _mix(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Weighted sums: weights `(tokens, queries, items)` of values `(queries, items, size)`."""
    if values.shape[0] == 1:
        return (weights[:, 0] @ values[0]).unsqueeze(1)
    return torch.einsum("nkl,klh->nkh", weights, values)


def _named(vocabulary: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Whether each word of the conversation is each word of the texts, of shape `(words, texts, text_words)`."""
    return (vocabulary[:, None, None] == words) & (words != 0)


def _coverage(
    named: torch.Tensor, words: torch.Tensor, rarity: torch.Tensor, places: torch.Tensor, units: int
) -> torch.Tensor:
    """Share of the query's words, weighted by rarity, that each unit names, of shape `(units, queries)`.

    Args:
        named: Whether a word of the conversation is a query token's word, `(words, queries, query_tokens)`.
        words: Word of each token, of shape `(tokens,)`.
        rarity: Of shape `(tokens,)`. A query word that is nowhere in the conversation weighs nothing.
        places: Unit of each token.
        units: How many units there are.
    """
    tokens = named.flatten(1).any(-1)[words].nonzero(as_tuple=True)[0]
    chosen, query, word = named[words[tokens]].nonzero(as_tuple=True)
    token = tokens[chosen]
    weight = rarity.new_zeros(named.shape[1:])
    weight[query, word] = rarity[token]
    covered = rarity.new_zeros(units, *named.shape[1:])
    covered[places[token], query, word] = 1.0
    return (covered * weight).sum(-1) / weight.sum(-1).clamp(min=1e-6)


def segment(values: torch.Tensor, lengths: torch.Tensor, reduce: str) -> torch.Tensor:
    """Values of shape `(tokens, ...)` reduced over consecutive units of `lengths` tokens."""
    flat = values.flatten(1) if values.dim() > 1 else values.unsqueeze(-1)
    if reduce == "mean" and not flat.requires_grad:  # ten times faster on a CPU than segment_reduce
        rows = torch.arange(len(flat), device=flat.device)
        reduced = functional.embedding_bag(rows, flat, lengths.cumsum(0) - lengths, mode="mean")
    else:
        reduced = torch.segment_reduce(flat.contiguous(), reduce, lengths=lengths, axis=0)
    return reduced.unflatten(1, values.shape[1:]) if values.dim() > 2 else reduced.reshape(-1, *values.shape[1:])
