"""Which tokens matter for which turn: targets from the questions that are asked later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..windows import TokenTable

ANSWER = 1.0
ANSWER_SENTENCE = 0.6
EVIDENCE = 0.15
PRIOR_SHARE = 0.5  # what a sentence that holds an answer is worth to the query-blind prior beside the answer itself


def relevance_targets(table: TokenTable, question: Mapping[str, Any]) -> np.ndarray:
    """How much each token matters to one question, in [0, 1], of shape `(tokens,)`.

    Answer tokens count 1, the rest of their sentence 0.6, other annotated evidence 0.15. Where no answer stands in the
    text (an abstractive answer), the evidence takes the place of the sentence. An unanswerable question has zeros.

    Args:
        table: The conversation's tokens.
        question: A question of the multi-turn schema with `answer_spans` and `evidence`.
    """
    answers = _covered(table, question["answer_spans"])
    evidence = _covered(table, question["evidence"])
    if not answers.any():
        return np.where(evidence, ANSWER_SENTENCE, 0.0).astype(np.float32)
    sentence = np.isin(table.units, np.unique(table.units[answers])) & (table.starts >= 0)
    return np.select([answers, sentence, evidence], [ANSWER, ANSWER_SENTENCE, EVIDENCE], 0.0).astype(np.float32)


def prior_targets(relevance: Sequence[np.ndarray]) -> np.ndarray:
    """How much each token matters to any of the questions asked later, in [0, 1].

    Evidence of several turns compounds as independent chances do: `1 - prod(1 - p)`, where an answer token has p = 1
    and the rest of its sentence half of its relevance.

    Args:
        relevance: Targets of every question that comes after the text: in the multi-turn schema, of all.
    """
    chances = [np.where(row >= ANSWER, row, PRIOR_SHARE * row) for row in relevance]
    return (1.0 - np.prod([1.0 - chance for chance in chances], axis=0)).astype(np.float32)


def _covered(table: TokenTable, spans: Sequence[Mapping[str, int]]) -> np.ndarray:
    covered = np.zeros(len(table), dtype=bool)
    for span in spans:
        inside = (table.starts < span["end"]) & (table.ends > span["start"])
        covered |= (table.messages == span["message"]) & inside
    return covered
