"""What is measured while a scorer trains."""

from __future__ import annotations

import numpy as np
import torch
from transformers import EvalPrediction

from ..scoring.labels import ANSWER, ANSWER_SENTENCE

KEEP_RATE = 0.2


def kept_evidence(
    importance: torch.Tensor, relevance: torch.Tensor, units: torch.Tensor, keep_rate: float = KEEP_RATE
) -> torch.Tensor:
    """For each query the share of its best evidence among the best sentences, -1 where there is no evidence.

    Sentences are taken by their mean importance while all of them fit the budget. For a query with an answer in the
    text the value is 1 if a whole answer sentence is kept, else 0; without one it is the share of evidence tokens.

    Args:
        importance: Logits of shape `(conversations, queries, tokens)`.
        relevance: Targets of the same shape, -1 for padding.
        units: Sentence numbers, -1 for padding, of shape `(conversations, tokens)`.
        keep_rate: The budget as a share of the conversation's tokens.

    Returns:
        Of shape `(conversations, queries)`.
    """
    result = torch.full(relevance.shape[:2], -1.0, device=importance.device)
    for row in range(len(units)):
        real = units[row] >= 0
        _, places, lengths = torch.unique_consecutive(units[row][real], return_inverse=True, return_counts=True)
        for query in range(relevance.shape[1]):
            targets = relevance[row, query][real]
            if targets.max() < ANSWER_SENTENCE:
                continue
            scores = torch.segment_reduce(importance[row, query][real].float(), "mean", lengths=lengths)
            order = scores.argsort(descending=True)
            fits = torch.empty_like(lengths, dtype=torch.bool)
            fits[order] = lengths[order].cumsum(0) <= keep_rate * real.sum()
            gold = targets >= (ANSWER if targets.max() >= ANSWER else ANSWER_SENTENCE)
            kept = fits[places] & gold
            share = kept.sum() / gold.sum()
            result[row, query] = float(kept.any()) if targets.max() >= ANSWER else share
    return result


def scoring_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Mean of `kept_evidence` over all queries that have evidence, as `kept_at_20`."""
    values = np.asarray(prediction.predictions)
    return {"kept_at_20": float(values[values >= 0].mean())}
