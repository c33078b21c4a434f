"""How right an answer is: exact match and F1 as in SQuAD (arXiv:1606.05250), ROUGE-L (Lin, 2004)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from reet_hf.errors import ReetError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(text: str) -> str:
    """`text` as SQuAD compares it: lower case, no ASCII punctuation, no English articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact(gold: str, text: str) -> float:
    """1 if the two texts are the same once normalized, else 0."""
    return float(normalized(gold) == normalized(text))


def f1(gold: str, text: str) -> float:
    """Harmonic mean of precision and recall over normalized words, in [0, 1]; 1 if neither text has a word left."""
    wanted, given = normalized(gold).split(), normalized(text).split()
    if not wanted or not given:
        return float(wanted == given)
    return 2 * (Counter(wanted) & Counter(given)).total() / (len(wanted) + len(given))


def rouge_l(gold: str, text: str) -> float:
    """F1 of the longest common subsequence of stemmed words, in [0, 1]; words of a to z and digits only."""
    return _rouge().score(gold, text)["rougeL"].fmeasure


@lru_cache(maxsize=1)
def _rouge() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as missing:
        raise ImportError("ROUGE-L is computed by the package rouge-score: pip install rouge-score") from missing
    return RougeScorer(["rougeL"], use_stemmer=True)


def score(question: Mapping[str, Any], text: str) -> dict[str, float]:
    """`{"rouge_l": ...}` for an abstractive question, `{"f1": ..., "exact": ...}` for any other; higher is better.

    The best of the acceptable answers counts, for each measure. An empty answer scores 0.

    Args:
        question: A question of the multi-turn schema; its `answers` and `kind` are used.
        text: What a reader answered. A call that failed has no score.

    Raises:
        ReetError: If the question has no answers.
    """
    if not question["answers"]:
        raise ReetError(
            f"`question` must have answers to be scored, got none for {question['question']!r}; leave out questions "
            "that `Reader.suits` refuses."
        )
    measures = {"rouge_l": rouge_l} if question["kind"] == "abstractive" else {"f1": f1, "exact": exact}
    if not text.strip():
        return dict.fromkeys(measures, 0.0)
    return {name: max(measure(gold, text) for gold in question["answers"]) for name, measure in measures.items()}
