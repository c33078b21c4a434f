"""What the turn-aware head is trained for: tokens by cross-entropy, sentences by ranking."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from .turn_head import TurnScores, segment

LOSS_WEIGHTS = {"token": 1.0, "ranking": 0.5, "prior": 0.5, "prior_ranking": 0.0}


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
