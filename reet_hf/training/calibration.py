"""Chances that mean what they say: what a scorer says of sentences, what questions needed, and the fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..conversation import Conversation, parse_messages
from ..records import Turn
from ..scoring.labels import ANSWER_SENTENCE, relevance_targets
from ..scoring.scorer import ReetScorer, chance


@dataclass(frozen=True)
class Outcomes:
    """Sentences of one conversation for one question, or for none.

    Attributes:
        logits: Of each token, labels left out, of shape `(tokens,)`.
        sentences: Number of each token's sentence, from 0 without gaps, of shape `(tokens,)`.
        needed: Whether the sentence was needed, of shape `(sentences,)`: it holds an answer, or evidence where no
            answer stands in the text; without a query, for any of the questions.
    """

    logits: np.ndarray
    sentences: np.ndarray
    needed: np.ndarray


def outcomes(scorer: ReetScorer, row: Mapping[str, Any], turns: int) -> Iterator[tuple[bool, Outcomes]]:
    """Whether there was a query, and what came of it: first without one, then for each question after the earlier ones.

    Args:
        scorer: Its chances are left aside; only logits count.
        row: A row of the multi-turn schema.
        turns: At most so many questions are asked; without a query all of them count.
    """
    state = scorer.encode(Conversation(parse_messages(row["messages"])))
    body = state.table.starts >= 0
    sentences = np.unique(state.table.units[body], return_inverse=True)[1]
    count = int(sentences.max()) + 1 if len(sentences) else 0
    needed = np.zeros((len(row["questions"]), count), dtype=bool)
    for number, question in enumerate(row["questions"]):
        relevant = relevance_targets(state.table, question)[body] >= np.float32(ANSWER_SENTENCE)
        np.logical_or.at(needed[number], sentences, relevant)
    if not needed.size:
        return
    yield False, Outcomes(scorer.score(state).importance, sentences, np.asarray(needed.any(0)))
    history: list[Turn] = []
    for number, question in enumerate(row["questions"][:turns]):
        scores = scorer.score(state, question["question"], tuple(history))
        yield True, Outcomes(scores.importance, sentences, needed[number, :])
        history.append(Turn(question["question"], (question["answers"] or [""])[0]))


def sentence_chances(found: Outcomes, scale: float, shift: float) -> np.ndarray:
    """The chance of each sentence, the mean of its tokens' as in `scoring.scorer.pool`, of shape `(sentences,)`."""
    chances = chance(found.logits, scale, shift)
    count = len(found.needed)
    return np.bincount(found.sentences, chances, count) / np.maximum(np.bincount(found.sentences, minlength=count), 1)


def fit_scaling(by_set: Mapping[str, Sequence[Outcomes]]) -> tuple[float, float]:
    """Scale and shift under which the sentences' chances have the least cross-entropy (Platt, 1999).

    Args:
        by_set: Outcomes by data set; every set counts as much as any other.
    """
    used = [list(found) for found in by_set.values() if any(len(each.needed) for each in found)]
    logits = torch.from_numpy(np.concatenate([each.logits for found in used for each in found])).double()
    sizes = [len(each.needed) for found in used for each in found]
    firsts = np.concatenate(([0], np.cumsum(sizes)[:-1])).tolist()
    numbered = [each.sentences + first for each, first in zip((e for f in used for e in f), firsts, strict=True)]
    sentences = torch.from_numpy(np.concatenate(numbered))
    needed = torch.from_numpy(np.concatenate([each.needed for found in used for each in found])).double()
    per_set = [sum(len(each.needed) for each in found) for found in used]
    weights = torch.cat([torch.full((count,), 1.0 / (count * len(used)), dtype=torch.double) for count in per_set])
    lengths = torch.bincount(sentences, minlength=len(needed)).clamp(min=1)
    scaling = torch.tensor([1.0, 0.0], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([scaling], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        chances = torch.zeros_like(needed).index_add(0, sentences, torch.sigmoid(scaling[0] * logits + scaling[1]))
        chances = (chances / lengths).clamp(1e-9, 1 - 1e-9)
        value = functional.binary_cross_entropy(chances, needed, weight=weights, reduction="sum")
        value.backward()
        return value

    optimizer.step(loss)
    scale, shift = scaling.tolist()
    return scale, shift
