"""A list of numbers: the one of a given rank.

After Math.Find of ∞Bench (arXiv:2402.13718) and SCBench (arXiv:2412.10319). No number says by itself that it is the
second largest, and the question shares nothing with the list. The list stands in one message, as Python prints it.

The main measure, `answer_survival`, is 1 if the number that is asked for is kept at its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from eval.tasks.generated import Question, Row, Text, extractive, generate, require_words
from eval.tasks.generated import retention as score

__all__ = ["VERSION", "load", "score"]

VERSION = "1"
RANKS = (
    ("largest", -1),
    ("smallest", 0),
    ("second largest", -2),
    ("second smallest", 1),
    ("third largest", -3),
    ("third smallest", 2),
    ("fourth largest", -4),
    ("fourth smallest", 3),
    ("fifth largest", -5),
    ("fifth smallest", 4),
)
QUESTIONS = ("What is the {rank} number in the list?", "Find the {rank} number.", "Which number is the {rank} one?")
LEAST = 40  # numbers, so that no rank is the same from both ends
MOST = 1_000_000  # that no number reaches


def load(rows: int = 12, turns: int = 11, words: int = 1500, seeds: Iterable[int] = (0, 1, 2)) -> dict[str, list[Row]]:
    """Rows of one list each, a number a word; see `eval.tasks.generated.generate` for the options.

    Raises:
        ReetError: If an option is out of range, there are more turns than the 11 ranks, or fewer numbers than 40.
    """
    return generate("math_find", _build, rows, min(turns, len(RANKS) + 1), words, seeds)


def _build(rng: Random, turns: int, words: int) -> tuple[Text, list[Question]]:
    require_words(words, LEAST, turns)
    numbers = rng.sample(range(MOST), words | 1)  # so many that one is in the middle
    ordered = sorted(numbers)
    body = ", ".join(map(str, numbers))
    starts, place = {}, 1
    for number in numbers:
        starts[number] = place
        place += len(str(number)) + 2
    text = Text([f"[{body}]"], [{"role": "document", "name": "", "content": f"[{body}]"}], [(0, 0)])
    ranks = [*RANKS, ("median", len(ordered) // 2)]
    questions = []
    for rank, position in rng.sample(ranks, turns):
        answer = ordered[position]
        span = {"message": 0, "start": starts[answer], "end": starts[answer] + len(str(answer))}
        questions.append(extractive(rng.choice(QUESTIONS).format(rank=rank), str(answer), span, [span]))
    return text, questions
