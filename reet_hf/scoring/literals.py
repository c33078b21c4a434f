"""What a query names letter by letter, and what that leads to.

Identifiers, quoted strings, and beginnings and ends of words mean nothing to an encoder, but they are exact: where one
stands is where the answer is, or the next link of a chain ("X = Y" in one place, "Y = 3" in another). So they are
looked up as they are written, and identifiers beside them in turn, as the variable tracking of RULER (arXiv:2404.06654)
and an agent's ids of orders, customers and payments ask for. What stands in many places names nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
import regex

from ..lexicon import FUNCTION_WORDS
from .extremes import ranked_places
from .scorer import MESSAGE, TokenScores

NAMED = 0.95  # chance of a unit that has a literal of the query
LINK = 0.98  # of that for each link between a unit and the query
MOST_UNITS = 4  # that have a literal: more of them say the same again, or are meant none of them
MOST_LINKS = 12  # from the query to a unit
MOST_NAMED = 96  # units for one query
MOST_SEARCHES = 64  # through all messages for one query, so that a pasted log asks for no more than a question
LEAST_AFFIX = 2  # letters

_QUOTED = regex.compile(r"\"([^\"\n]{2,80})\"|“([^”\n]{2,80})”|`([^`\n]{2,80})`|(?<!\w)['‘]([^'’\n]{2,80})['’](?!\w)")
_IDENTIFIER = regex.compile(
    r"(?<![\w-])(?:"
    r"(?!\d+(?:st|nd|rd|th|s|am|pm|[kM]?[gmlsBW]|km|min|cm|mm)(?![\w-]))(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9_-]{4,}"
    r"|[A-Z]{5,}|\w+_\w+|\d{5,}|[a-z]+(?:[A-Z][a-z0-9]+)+"
    r")(?![\w-])"
)
_WORD = regex.compile(r"\w+")
_AFFIX = regex.compile(r"\b(?:begin|start|end|prefix|suffix)", regex.IGNORECASE)


def identifiers(text: str) -> list[str]:
    """Words that look as if they were made to name one thing, each once, in order: ids, codes, variables, keys."""
    return list(dict.fromkeys(_IDENTIFIER.findall(text)))


def quoted(text: str) -> list[str]:
    """What stands in quotation marks, each once, in order."""
    return list(dict.fromkeys(next(filter(None, groups)).strip() for groups in _QUOTED.findall(text)))


def named_units(texts: Sequence[str], query: str, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Units that a query names by a literal, or by the rank of a number, or that such a unit leads to.

    Args:
        texts: Of the messages.
        query: What is asked.
        places: `(message, start, end)` of each unit in order, of shape `(units, 3)`.

    Returns:
        Numbers of units in order and chances in [0, 1] that they are meant, both of shape `(found,)`.
    """
    search = _Search(texts, places)
    first = search.meant(list(dict.fromkeys([*quoted(query), *identifiers(query)])))
    if not first and _AFFIX.search(query):
        first = search.affixed(query)
    found = dict.fromkeys(first, NAMED)
    seen, open_units = set(identifiers(query)), list(first)
    found.update(dict.fromkeys(search.at(ranked_places(texts, query)), NAMED))
    for link in range(1, MOST_LINKS + 1):
        names = dict.fromkeys(name for unit in open_units for name in identifiers(search.text(unit)))
        fresh = [name for name in names if name not in seen]
        seen.update(fresh)
        leads = (unit for name in fresh for unit in search.units(name))
        open_units = [unit for unit in dict.fromkeys(leads) if unit not in found][: MOST_NAMED - len(found)]
        if not open_units:
            break
        found.update(dict.fromkeys(open_units, NAMED * LINK**link))
    numbers = np.array(sorted(found), dtype=np.int64)
    return numbers, np.array([found[number] for number in numbers.tolist()])


def lifted(scores: TokenScores, places: np.ndarray, chances: np.ndarray) -> TokenScores:
    """The scores with chances that are at least those of the units in which they are.

    Args:
        scores: That say chances.
        places: `(message, start, end)` of some units, of shape `(units, 3)`.
        chances: Of these, of shape `(units,)`.
    """
    if scores.chances is None or not len(places):
        return scores
    firsts, _ = scores.bounds
    low = np.searchsorted(firsts, places[:, 0] * MESSAGE + places[:, 1])
    high = np.searchsorted(firsts, places[:, 0] * MESSAGE + places[:, 2])
    raised = scores.chances.copy()
    for first, last, chance in zip(low.tolist(), high.tolist(), chances.tolist(), strict=True):
        np.maximum(raised[first:last], chance, out=raised[first:last])
    return replace(scores, chances=raised)


class _Search:
    """The units of messages by what is written in them."""

    def __init__(self, texts: Sequence[str], places: np.ndarray) -> None:
        self.texts, self.places, self._left = texts, places, MOST_SEARCHES
        self._firsts = np.searchsorted(places[:, 0], np.arange(len(texts) + 1))

    def text(self, unit: int) -> str:
        """What a unit says."""
        message, start, end = self.places[unit].tolist()
        return self.texts[message][start:end]

    def units(self, literal: str) -> list[int]:
        """The units that have a literal between borders of words; none if they are more than `MOST_UNITS`.

        None after `MOST_SEARCHES` searches either.
        """
        if not self._left:
            return []
        self._left -= 1
        border = regex.compile(rf"(?<![\w-]){regex.escape(literal)}(?![\w-])")
        return self._few(
            (number, match.start())
            for number, text in enumerate(self.texts)
            if literal in text
            for match in border.finditer(text)
        )

    def meant(self, literals: Iterable[str]) -> list[int]:
        """The units that have most of some literals."""
        counts: dict[int, int] = {}
        for literal in literals:
            for unit in self.units(literal):
                counts[unit] = counts.get(unit, 0) + 1
        most = max(counts.values(), default=0)
        return [unit for unit, count in counts.items() if count == most]

    def affixed(self, query: str) -> list[int]:
        """The units with a word that begins with one of the query's words, or of what it quotes, and ends with another.

        The words are some that stand nowhere by themselves; of a quotation one end will do.
        """
        marked = [each for each in quoted(query) if _WORD.fullmatch(each)]
        words = dict.fromkeys([*marked, *_WORD.findall(query)])
        parts = [
            word
            for word in words
            if len(word) >= LEAST_AFFIX and word.lower() not in FUNCTION_WORDS and not self._stands(word)
        ]
        written = {part: regex.escape(part) for part in parts}
        both = [rf"(?<!\w){written[a]}\w+{written[b]}(?!\w)" for a, b in permutations(parts, 2)]
        either = [rf"(?<!\w){written[part]}\w|\w{written[part]}(?!\w)" for part in parts if part in marked]
        return self._matching(both, parts) or self._matching(either, parts)

    def _matching(self, patterns: Sequence[str], parts: Sequence[str]) -> list[int]:
        """The units with a match of a pattern, each of which has one of some parts in it."""
        if not patterns:
            return []
        pattern = regex.compile("|".join(patterns))
        return self._few(
            (number, match.start())
            for number, text in enumerate(self.texts)
            if any(part in text for part in parts)
            for match in pattern.finditer(text)
        )

    def _stands(self, word: str) -> bool:
        """Whether a word stands somewhere by itself."""
        pattern = regex.compile(rf"(?<!\w){regex.escape(word)}(?!\w)")
        return any(word in text and pattern.search(text) for text in self.texts)

    def _few(self, hits: Iterator[tuple[int, int]]) -> list[int]:
        """The units of hits, `(message, character)` each; none if they are more than `MOST_UNITS`."""
        found: dict[int, None] = {}
        for hit in hits:
            found.update(dict.fromkeys(self.at([hit])))
            if len(found) > MOST_UNITS:
                return []
        return list(found)

    def at(self, hits: Sequence[tuple[int, int]]) -> list[int]:
        """The units in which characters stand, `(message, character)` each."""
        found = []
        for message, character in hits:
            low, high = self._firsts[message : message + 2].tolist()
            unit = low + int(np.searchsorted(self.places[low:high, 1], character, side="right")) - 1
            if low <= unit < high and character < self.places[unit, 2]:
                found.append(unit)
        return found
