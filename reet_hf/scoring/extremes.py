"""The number that a query asks for by its rank: the largest of a list, the second smallest, the median.

Which number of a list is the largest cannot be told from any one of them, so no score of theirs can say it; it is
computed. After Math.Find of ∞Bench (arXiv:2402.13718), which SCBench (arXiv:2412.10319) asks in several turns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import regex

from ..lexicon import WORD, word_identity

LEAST_NUMBERS = 16  # of a list; fewer are looked at one by one
LEAST_ROWS = 3  # with the same field

_LARGEST = "largest|biggest|greatest|highest|maximum|max|longest|top"
_SMALLEST = "smallest|lowest|minimum|min|shortest|bottom"
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}
_RANK = regex.compile(
    rf"\b(?:(?P<ordinal>{'|'.join(_ORDINALS)}|\d{{1,3}}(?:st|nd|rd|th))[\s-]+)?"
    rf"(?:(?P<largest>{_LARGEST})|(?P<smallest>{_SMALLEST})|(?P<middle>median))\b",
    regex.IGNORECASE,
)
_NUMBER = r"[-−]?\d+(?:\.\d+)?"
_LIST = regex.compile(rf"(?<![\w.]){_NUMBER}(?:[ \t\r\n]*+[,;\s][ \t\r\n]*+{_NUMBER}){{{LEAST_NUMBERS - 1},}}+(?![\w])")
_LISTED = re.compile(r"\d[,;\s]\s*[-−]?\d+(?:\.\d+)?[,;\s]\s*[-−]?\d")  # in each list, and quickly found
_ONE = regex.compile(_NUMBER)
_FIELD = regex.compile(rf"\"(?P<name>[^\"\n]{{1,40}})\"\s*:\s*(?P<value>{_NUMBER})(?![\w.])")

Place = tuple[int, int]  # message, character
Valued = list[tuple[float, Place]]


def ranked_places(texts: Sequence[str], query: str) -> list[Place]:
    """Where the numbers stand that a query names by their rank, as `(message, character)` each.

    Numbers are those of lists of at least `LEAST_NUMBERS`, and those of a field of JSON records whose name the query
    has. Equal ones count once, and the first of them is told.

    Args:
        texts: Of the messages.
        query: What is asked; one that names no rank finds nothing.
    """
    wanted = list(_RANK.finditer(query))
    if not wanted:
        return []
    found: list[Place] = []
    for numbers in (*_lists(texts), *_fields(texts, query)):
        ordered = sorted(dict(reversed(numbers)).items())
        for match in wanted:
            found.extend(place for _, place in ordered[_chosen(match, len(ordered))])
    return list(dict.fromkeys(found))


def _chosen(match: regex.Match, count: int) -> slice:
    """Which of `count` numbers in rising order a rank means."""
    if match["middle"]:
        return slice((count - 1) // 2, count // 2 + 1)
    told = (match["ordinal"] or "first").lower()
    rank = _ORDINALS.get(told) or int(told[:-2])
    if not 1 <= rank <= count:
        return slice(0, 0)
    return slice(count - rank, count - rank + 1) if match["largest"] else slice(rank - 1, rank)


def _value(text: str) -> float:
    return float(text.replace("−", "-"))


def _lists(texts: Sequence[str]) -> Iterator[Valued]:
    for message, text in enumerate(texts):
        if not _LISTED.search(text):
            continue
        for match in _LIST.finditer(text):
            own = _ONE.finditer(text, match.start(), match.end())
            yield [(_value(each.group()), (message, each.start())) for each in own]


def _fields(texts: Sequence[str], query: str) -> Iterator[Valued]:
    """The values of each field whose name's words are all in the query, by message."""
    asked = {word_identity(word) for word in WORD.findall(query)} - {0}
    for message, text in enumerate(texts):
        if '":' not in text and '" :' not in text:
            continue
        named: dict[str, Valued] = {}
        for match in _FIELD.finditer(text):
            named.setdefault(match["name"], []).append((_value(match["value"]), (message, match.start("value"))))
        for name, numbers in named.items():
            words = {word_identity(word) for word in WORD.findall(name.replace("_", " "))} - {0}
            if len(numbers) >= LEAST_ROWS and words and words <= asked:
                yield numbers
