"""Many worked examples: the label of a sentence like those of some of them.

After the many-shot learning of SCBench (arXiv:2412.10319), whose labels are those of BIG-Bench Hard. Here a label is a
word of no meaning that all sentences about one trade have, so that it can be learned from the examples alone; the
sentence that is asked about stands in none of them.

Any one example of the trade tells the label. So the main measure, `answer_survival`, is 1 if one of them is kept whole,
the sentence with its label; `evidence_recall` is the share kept of the one that most is kept of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from eval.systems.base import Kept
from eval.tasks.generated import Question, Row, Text, compose, contents, count_words, generate, require_words, spread
from eval.tasks.haystack import TRADES, Haystack
from reet_hf.metrics import answer_survival, evidence_recall

VERSION = "1"
PATTERN = "Sentence: {sentence} Label: {label}"
QUESTIONS = (
    "Which label does this sentence get: {sentence}",
    "What is the label of the following? {sentence}",
    "Give the label, as in the examples. Sentence: {sentence}",
)
SYLLABLES = "bal dor fen gim hul jor kel lup mav nef pol rud sib tov vun wex yal zom".split()  # noqa: SIM905
LONGEST = 30  # words of an example at the most


def load(rows: int = 12, turns: int = 20, words: int = 1500, seeds: Iterable[int] = (0, 1, 2)) -> dict[str, list[Row]]:
    """Rows of examples; see `eval.tasks.generated.generate` for the options.

    Raises:
        ReetError: If an option is out of range or there is no room for an example for each turn.
    """
    return generate("many_shot", _build, rows, turns, words, seeds)


def score(row: Mapping[str, Any], question: Mapping[str, Any], kept: Kept) -> dict[str, float]:
    """Whether an example of the trade is kept whole, and the largest share of one that is."""
    texts = contents(row)
    return {
        "answer_survival": answer_survival(texts, question["evidence"], kept.pieces),
        "evidence_recall": max(evidence_recall(texts, [shot], kept.pieces) for shot in question["evidence"]),
    }


def _build(rng: Random, turns: int, words: int) -> tuple[Text, list[Question]]:
    require_words(words, LONGEST * turns, turns)
    syllables = ("".join(rng.sample(SYLLABLES, 2)) for _ in iter(int, 1))
    labels = list(dict.fromkeys(next(syllables) for _ in range(4 * len(TRADES))))[: len(TRADES)]
    haystack = Haystack(rng)
    shots: list[tuple[int, str]] = []
    entries: list[str] = []
    total = 0
    while total < words:
        trade, sentence = haystack.labelled()
        shots.append((trade, sentence))
        entries.append(PATTERN.format(sentence=sentence, label=labels[trade]))
        total += count_words(entries[-1:])
    text = compose(entries, rng, separator="\n")
    questions = []
    for place in spread(turns, len(entries), rng):
        trade = shots[place][0]
        alike = [number for number, (other, _) in enumerate(shots) if other == trade]
        asked = rng.choice(QUESTIONS).format(sentence=haystack.about(trade))
        spans = [text.span(number, labels[trade]) for number in alike]
        question: Question = {"question": asked, "answers": [labels[trade]], "kind": "extractive"}
        questions.append({**question, "answer_spans": spans, "evidence": [text.span(number) for number in alike]})
    return text, questions
