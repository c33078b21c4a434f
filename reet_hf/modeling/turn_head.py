"""The turn-aware head: importance of cached token states for queries that were read in their conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from .configuration_reet import ReetConfig

TOKEN_FEATURES = 5  # highest cosine, cosine to the mean query, word match, the match's rarity, rarity
UNIT_FEATURES = 5  # late-interaction mean, lexical coverage, coverage by length, mean cosine, log length
REFERENCE_WEIGHT = 0.2
BLOCK_TOKENS = 8192
LOSS_WEIGHTS = {"token": 1.0, "ranking": 0.5, "prior": 0.5, "prior_ranking": 0.0}


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

    def prior(self, index: TokenIndex, context: TurnContext) -> torch.Tensor:
        """Logits of shape `(tokens,)`, with rarity, mentions and age."""
        mentions, rarity, ages = (
            column.to(index.prior.dtype) for column in (context.mentions, context.rarity, context.ages)
        )
        features = torch.stack((rarity, mentions, 1.0 / (1.0 + ages)), -1)
        return index.prior + self.prior_features(features).squeeze(-1)


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

    def forward(self, index: TokenIndex, context: TurnContext) -> TurnScores:
        """Scores of one conversation; without queries importance has no columns."""
        prior = self.prior(index, context)
        if context.queries is None:
            return TurnScores(prior, prior.new_zeros(len(prior), 0))
        mentions, rarity = (column.to(index.keys.dtype) for column in (context.mentions, context.rarity))
        return TurnScores(prior, self._importance(index, context, context.queries, rarity, mentions))

    def _importance(
        self, index: TokenIndex, context: TurnContext, queries: Queries, rarity: torch.Tensor, mentions: torch.Tensor
    ) -> torch.Tensor:
        asked = self._ask(context, queries)
        lengths = torch.unique_consecutive(context.units, return_counts=True)[1]
        places = torch.repeat_interleave(lengths)
        # blocks of whole sentences that stay in the processor's cache; in training one block holds everything
        blocks = torch.bincount(lengths.cumsum(0).sub(1) // BLOCK_TOKENS)
        inside = [part for part in lengths.split(blocks.tolist()) if len(part)]
        sizes = [int(part.sum()) for part in inside]
        columns = (index.states, index.keys, context.words, rarity, mentions)
        split = zip(inside, *(column.split(sizes) for column in columns), strict=True)
        parts = [self._tokens(asked, queries.mask, *block) for block in split]
        token_logit, hidden, cosine, centre_cosine = (
            parts[0] if len(parts) == 1 else (torch.cat(part) for part in zip(*parts, strict=True))
        )
        coverage = _coverage(asked.named, context.words, rarity, places, len(lengths))
        if not self.lexical_match:
            coverage = torch.zeros_like(coverage)
        unit_logit = self._units(hidden, cosine, centre_cosine, coverage, lengths, queries.mask)
        return token_logit + unit_logit[places]

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
        states: torch.Tensor,
        keys: torch.Tensor,
        words: torch.Tensor,
        rarity: torch.Tensor,
        mentions: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """The tokens' part of the logits, and what their sentences see of them.

        Returns:
            Logits `(tokens, queries)`; then for each of the sentences of `lengths` tokens the mean hidden state
            `(units, queries, token_dim)`, the highest cosine with each query token `(units, queries, query_tokens)`
            and the mean cosine with each mean query `(units, queries)`.
        """
        cosine, centre_cosine = (states @ asked.targets.T).split((mask.numel(), len(mask)), -1)
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
        return (
            self.token_out(hidden).squeeze(-1),
            segment(hidden, lengths, "mean"),
            segment(cosine, lengths, "max"),
            segment(centre_cosine, lengths, "mean"),
        )

    def _units(
        self,
        hidden: torch.Tensor,
        cosine: torch.Tensor,
        centre_cosine: torch.Tensor,
        coverage: torch.Tensor,
        lengths: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """The sentence's part of the logits, of shape `(units, queries)`, from reductions over its tokens."""
        weight = mask.to(cosine.dtype)
        late_interaction = (cosine * weight).sum(-1) / weight.sum(-1).clamp(min=1)
        sizes = torch.log1p(lengths.to(cosine.dtype)).unsqueeze(-1).expand_as(centre_cosine) / 5
        features = torch.stack((late_interaction, coverage, coverage / sizes, centre_cosine, sizes), -1)
        inner = functional.gelu(self.unit_in(torch.cat((hidden, features), -1)))
        around = self.unit_neighbours(inner.permute(1, 2, 0)).permute(2, 0, 1)
        inner = inner + functional.gelu(self.unit_mix(self.dropout(around)))
        return self.unit_out(torch.cat((inner, features), -1)).squeeze(-1)


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


def scoring_loss(
    scores: TurnScores,
    units: torch.Tensor,
    relevance: torch.Tensor,
    prior: torch.Tensor,
    weights: Mapping[str, float] = LOSS_WEIGHTS,
) -> torch.Tensor:
    """Token cross-entropy on importance and prior, and rankings of sentences by a softmax over them.

    By importance any gold sentence of a query counts; by the prior each counts as often as queries need it.

    Args:
        scores: Logits of one conversation.
        units: Sentence number of each token.
        relevance: Targets of shape `(queries, tokens)`, -1 for queries that are padding.
        prior: Targets of shape `(tokens,)`.
        weights: Of the terms `token`, `ranking`, `prior` and `prior_ranking`.
    """
    used = (relevance >= 0).T
    targets = relevance.T.clamp(min=0).to(scores.importance.dtype)
    entropy = functional.binary_cross_entropy_with_logits(scores.importance, targets, reduction="none")
    token_loss = (entropy * used).sum() / used.sum().clamp(min=1)
    blind = prior >= 0
    prior_loss = functional.binary_cross_entropy_with_logits(
        scores.prior, prior.clamp(min=0).to(scores.prior.dtype), reduction="none"
    )
    prior_loss = (prior_loss * blind).sum() / blind.sum().clamp(min=1)

    lengths = torch.unique_consecutive(units, return_counts=True)[1]
    unit_logits = segment(scores.importance, lengths, "mean")
    gold = segment(targets, lengths, "max")
    gold = (gold >= 0.5 * gold.amax(0).clamp(min=1e-6)) & (gold > 0)
    asked = gold.any(0)
    log_share = unit_logits.log_softmax(0).masked_fill(~gold, torch.finfo(unit_logits.dtype).min)
    ranking = -torch.logsumexp(log_share, 0).where(asked, 0.0)
    ranking_loss = ranking.sum() / asked.sum().clamp(min=1)
    wanted = gold.to(targets.dtype).sum(1)
    shares = segment(scores.prior, lengths, "mean").log_softmax(0)
    terms = {
        "token": token_loss,
        "ranking": ranking_loss,
        "prior": prior_loss,
        "prior_ranking": -(wanted * shares).sum() / wanted.sum().clamp(min=1),
    }
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
