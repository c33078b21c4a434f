"""Scores of LongBench (arXiv:2308.14508) in [0, 1], as its own code computes them.

After `metrics.py` and `LongBench/eval.py` of https://github.com/THUDM/LongBench (commits f6227eb and 072a5a7), with the
packages that they use: rouge 1.0.1, whose ROUGE-L takes words as they are and each once (rouge-score stems and counts
them, and gives another number), and jieba.

The similarity of code is `fuzz.ratio` of fuzzywuzzy, the only such package among LongBench's requirements. By itself
it computes by `difflib`, as is done here; where python-Levenshtein happens to be installed too it gives
`round(rapidfuzz.fuzz.ratio)`, usually more. LongBench does not say which one its tables show (its issue 96).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from functools import partial
from string import punctuation
from typing import Any

from eval.readers.scores import normalized
from reet_hf.errors import ReetError

Metric = Callable[[str, str], float]

# What is no part of a Chinese word, beside ASCII punctuation.
_CHINESE = (
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』"
    "【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."
)
_NO_PUNCTUATION = str.maketrans("", "", punctuation + _CHINESE)


def words_f1(said: Sequence[str], gold: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words; 0 if they share none, even if neither has any."""
    common = (Counter(said) & Counter(gold)).total()
    return 2 * common / (len(said) + len(gold)) if common else 0.0


def qa_f1(said: str, gold: str) -> float:
    """F1 over words as SQuAD compares them."""
    return words_f1(normalized(said).split(), normalized(gold).split())


def qa_f1_zh(said: str, gold: str) -> float:
    """F1 over Chinese words, without punctuation."""
    return words_f1(_chinese_words(said), _chinese_words(gold))


def _chinese_words(text: str) -> list[str]:
    words = ("".join(word.lower().translate(_NO_PUNCTUATION).split()) for word in _cut(text))
    return [word for word in words if word]


def _cut(text: str) -> list[str]:
    try:
        import jieba
    except ImportError as missing:
        raise ImportError("Chinese words are found by the package jieba: pip install jieba") from missing
    return list(jieba.cut(text, cut_all=False))


def rouge(said: str, gold: str) -> float:
    """ROUGE-L over sentences that end with a full stop, words parted by spaces; 0 where the package fails.

    It fails on texts without a word, and on sentences so long (about a thousand words) that its recursion is too deep.
    """
    try:
        from rouge import Rouge
    except ImportError as missing:
        raise ImportError("LongBench's ROUGE-L is computed by the package rouge: pip install rouge") from missing
    try:
        return Rouge(metrics=["rouge-l"]).get_scores(said, gold, avg=True)["rouge-l"]["f"]
    except (ValueError, RecursionError):
        return 0.0


def rouge_zh(said: str, gold: str) -> float:
    """ROUGE-L over Chinese words."""
    return rouge(" ".join(_cut(said)), " ".join(_cut(gold)))


def classification(said: str, gold: str, classes: Sequence[str]) -> float:
    """One over how many classes are named if the right one is among them, else 0.

    A named class within the name of the right one does not count, unless it follows right after another such class: the
    original takes them out of the list that it walks through.
    """
    named = [each for each in classes if each in said]
    place = 0
    while place < len(named):
        if named[place] in gold and named[place] != gold:
            named.remove(named[place])
        place += 1
    return 1 / len(named) if gold in named else 0.0


def count(said: str, gold: str) -> float:
    """Share of the numbers said that are the right one."""
    numbers = re.findall(r"\d+", said)
    return numbers.count(gold) / len(numbers) if numbers else 0.0


def retrieval(said: str, gold: str, label: str = "Paragraph ") -> float:
    """Share of the numbers said that are the one behind `label` in the right answer.

    Raises:
        ReetError: If there is none.
    """
    found = re.search(rf"{label}(\d+)", gold)
    if found is None:
        raise ReetError(f"`answers` must have the form {label}1, got {gold!r}; is it another version of the benchmark?")
    return count(said, found[1])


def code_sim(said: str, gold: str) -> float:
    """Similarity of the right line to the first line said that has no comment and no fence, in whole percents."""
    lines = said.lstrip("\n").split("\n")
    code = next((line for line in lines if not any(mark in line for mark in ("`", "#", "//"))), "")
    return round(100 * SequenceMatcher(None, code, gold).ratio()) / 100


METRICS: dict[str, Metric] = {
    "qa_f1": qa_f1,
    "qa_f1_zh": qa_f1_zh,
    "rouge": rouge,
    "rouge_zh": rouge_zh,
    "count": count,
    "retrieval": retrieval,
    "retrieval_zh": partial(retrieval, label="段落"),
    "code_sim": code_sim,
}


def best(metric: str, said: str, golds: Sequence[str], classes: Sequence[str] | None = None) -> float:
    """The score of what was said against that one of the right answers that gives most.

    Args:
        metric: A name of `METRICS`, or `"classification"`.
        said: What a reader said.
        golds: The right answers.
        classes: All classes, for `"classification"`.
    """
    function: Any = partial(classification, classes=classes or ()) if metric == "classification" else METRICS[metric]
    return max((function(said, gold) for gold in golds), default=0.0)
