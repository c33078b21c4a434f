"""Runs of words that are no function words, with the determiner before them: as near to noun phrases as a list gets."""

from __future__ import annotations

import regex

from eval.extractors.base import MentionFinder, Place
from reet_hf.extraction.labels import Guide
from reet_hf.lexicon import FUNCTION_WORDS, WORD

_DETERMINERS = "the a an this that these those my your his her its our their"
DETERMINERS = frozenset(_DETERMINERS.split())
BREAK = regex.compile(r"[^\s'’-]")


class NounPhrases(MentionFinder):
    """Chunks between function words and punctuation.

    Args:
        determiners: Whether a determiner belongs to its phrase.
    """

    def find(self, text: str, guide: Guide) -> list[Place]:
        """See `MentionFinder`; determiners belong to phrases where descriptions or arguments are asked for."""
        whole = bool({"nominal", "argument"} & set(guide.kinds))
        found: list[Place] = []
        start: int | None = None
        lead: int | None = None
        end = 0
        for match in WORD.finditer(text):
            word = match.group().casefold()
            if BREAK.search(text, end, match.start()):
                found.extend([(start, end)] if start is not None else [])
                start = lead = None
            if word in FUNCTION_WORDS:
                found.extend([(start, end)] if start is not None else [])
                start, lead = None, match.start() if whole and word in DETERMINERS else None
            elif start is None:
                start, lead = (match.start() if lead is None else lead), None
            end = match.end()
        return [*found, (start, end)] if start is not None else found


def build() -> NounPhrases:
    """The system."""
    return NounPhrases()
