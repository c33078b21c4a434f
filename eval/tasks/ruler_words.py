"""Words that RULER's needles and lists are made of: our own, or those of the package that the original uses."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from eval.tasks.haystack import TRADES
from reet_hf.errors import ReetError

KINDS = ("words", "numbers", "uuids")
SOURCES = ("own", "wonderwords")
DIGITS = 7


@dataclass(frozen=True)
class Words:
    """Words by part of speech, each list sorted."""

    nouns: Sequence[str]
    adjectives: Sequence[str]
    verbs: Sequence[str]

    @classmethod
    def of(cls, source: str) -> Words:
        """The words of a source.

        Raises:
            ReetError: If there is no such source.
            ImportError: If its package is not installed.
        """
        if source not in SOURCES:
            raise ReetError(f"`words` must be one of {', '.join(SOURCES)}, got {source!r}; leave it out for ours.")
        return _packaged() if source == "wonderwords" else _own()

    def pair(self, rng: Random) -> str:
        """An adjective and a noun with a hyphen between, as the original's keys are."""
        return f"{rng.choice(self.adjectives)}-{rng.choice(self.nouns)}"

    @property
    def single(self) -> list[str]:
        """All of them, sorted."""
        return sorted({*self.nouns, *self.adjectives, *self.verbs})

    def sample(self, count: int, rng: Random) -> list[str]:
        """Different words in random order: single ones, and pairs where there are not enough of them."""
        single = self.single
        found = dict.fromkeys(rng.sample(single, min(count, len(single))))
        while len(found) < count:
            found[self.pair(rng)] = None
        words = list(found)
        rng.shuffle(words)
        return words


class Drawn:
    """Random words, numbers and identifiers, none of them twice."""

    def __init__(self, rng: Random, words: Words) -> None:
        self._rng, self._words = rng, words
        self._seen: set[str] = set()

    def next(self, kind: str) -> str:
        """One of `KINDS`."""
        while (found := self._one(kind)) in self._seen:
            pass
        self._seen.add(found)
        return found

    def _one(self, kind: str) -> str:
        if kind == "words":
            return self._words.pair(self._rng)
        if kind == "numbers":
            return str(self._rng.randint(10 ** (DIGITS - 1), 10**DIGITS - 1))
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))


def _own() -> Words:
    fields = [
        [word.strip() for trade in TRADES for word in getattr(trade, name).split(",")]
        for name in ("things", "agents", "places", "qualities", "actions")
    ]
    things, agents, places, qualities, actions = [[word for word in words if word.isalpha()] for words in fields]
    return Words(sorted({*things, *agents, *places}), sorted({*qualities}), sorted({*actions}))


def _packaged() -> Words:
    try:
        from wonderwords import RandomWord
    except ImportError as missing:
        raise ImportError(
            "the original's words come with the package wonderwords: pip install wonderwords"
        ) from missing
    listed = RandomWord()
    nouns, adjectives, verbs = (
        sorted(set(listed.filter(include_categories=[name]))) for name in ("noun", "adjective", "verb")
    )
    return Words(nouns, adjectives, verbs)
