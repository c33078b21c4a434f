"""Word lists of RULER: which words come most often. Written as `common_words_extraction.py` and
`freq_words_extraction.py` of the original do it; the sources are those that `eval.tasks.ruler` names.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from random import Random

from eval.tasks.ruler_texts import Asked, Made, Span
from eval.tasks.ruler_words import Words

COMMON = 10  # words that are asked for
LONG = 4096  # tokens, from which words come more often: (words of the example, repetitions of common and other words)
EXAMPLES = {True: (40, 10, 3), False: (20, 3, 1)}
REPEATS = {True: (30, 3), False: (6, 1)}
LETTERS = 6
ZETA_OF_2 = math.pi**2 / 6
PER_WORD = 50  # tokens of a text for each different coded word


def common(template: str, prefix: str, words: Words, length: int, rng: Random, units: int) -> Made:
    """A numbered list in which ten words come ten times as often as the others, after a worked example.

    Args:
        template, prefix: Of the prompt, for the example.
        words: What the list is made of.
        length: Tokens that are wanted: long lists repeat more.
        rng: Where all chance comes from.
        units: Different words.
    """
    shown, answers = _numbered(words, rng, *EXAMPLES[length >= LONG])
    example = (template + prefix).replace("{context}", _text(shown)) + _text(answers) + "\n"
    listed, answers = _numbered(words, rng, units, *REPEATS[length >= LONG])
    starts: dict[str, list[Span]] = {}
    place = 0
    for number, word in enumerate(listed, 1):
        first = place + len(f"{number}. ")
        starts.setdefault(word, []).append((first, first + len(word)))
        place = first + len(word) + 1
    return Made(_text(listed), (_asked(answers, starts),), example)


def _numbered(words: Words, rng: Random, count: int, often: int, seldom: int) -> tuple[list[str], list[str]]:
    """The list, and its common words."""
    chosen = words.sample(count, rng)
    listed = chosen[:COMMON] * often + chosen[COMMON:] * seldom
    rng.shuffle(listed)
    return listed, chosen[:COMMON]


def _text(words: Sequence[str]) -> str:
    return " ".join(f"{number}. {word}" for number, word in enumerate(words, 1))


def _asked(answers: Sequence[str], places: dict[str, list[Span]]) -> Asked:
    spans = tuple(tuple(places[word]) for word in answers)
    return Asked("", tuple(answers), spans, tuple(sorted(span for each in spans for span in each)))


def frequent(length: int, rng: Random, units: int) -> Made:
    """Coded words whose numbers fall with the square of their rank, the first of them dots.

    Args:
        length: Tokens that are wanted; the more, the more different words.
        rng: Where all chance comes from.
        units: Words, before their numbers are rounded down.
    """
    coded: dict[str, None] = {"...": None}
    while len(coded) < length // PER_WORD:
        coded["".join(rng.choices(string.ascii_lowercase, k=LETTERS))] = None
    ranked = list(coded)
    words = [word for rank, word in enumerate(ranked, 1) for _ in range(int(units / rank**2 / ZETA_OF_2))]
    rng.shuffle(words)
    places: dict[str, list[Span]] = {word: [] for word in ranked[1:4]}
    start = 0
    for word in words:
        if word in places:
            places[word].append((start, start + len(word)))
        start += len(word) + 1
    return Made(" ".join(words), (_asked(ranked[1:4], places),))
