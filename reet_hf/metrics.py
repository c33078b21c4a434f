"""Retention by offset: what of an answer or its evidence is left in the kept pieces.

Definitions are those of the multi-turn retention protocol: a content word is an alphanumeric word that is no function
word, and it is kept if all of its characters lie in kept pieces.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from .lexicon import content_words
from .records import Span


class KeptText:
    """Kept pieces, asked whether they hold given characters.

    Args:
        pieces: Spans in order without overlap.
    """

    def __init__(self, pieces: Iterable[Span]) -> None:
        self._starts: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}
        for piece in pieces:
            ends = self._ends.setdefault(piece.message, [])
            if ends and ends[-1] == piece.start:
                ends[-1] = piece.end
                continue
            self._starts.setdefault(piece.message, []).append(piece.start)
            ends.append(piece.end)

    def holds(self, message: int, start: int, end: int) -> bool:
        """Whether characters `start` to `end` of a message all lie in one kept stretch."""
        place = bisect_right(self._starts.get(message, ()), start) - 1
        return place >= 0 and self._ends[message][place] >= end

    def words(self, texts: Sequence[str], span: Mapping[str, int]) -> tuple[int, int]:
        """Content words of a span that are kept, and how many it has."""
        number, first = span["message"], span["start"]
        words = content_words(texts[number][first : span["end"]])
        return sum(self.holds(number, first + start, first + end) for _, start, end in words), len(words)


def answer_survival(texts: Sequence[str], answer_spans: Sequence[Mapping[str, int]], pieces: Iterable[Span]) -> float:
    """1 if every content word of at least one answer span is kept, else 0.

    Args:
        texts: Text of every message.
        answer_spans: `{"message", "start", "end"}` of each acceptable answer.
        pieces: What was kept.
    """
    kept = KeptText(pieces)
    counts = [kept.words(texts, span) for span in answer_spans]
    return float(any(found == total and total > 0 for found, total in counts))


def evidence_recall(texts: Sequence[str], evidence: Sequence[Mapping[str, int]], pieces: Iterable[Span]) -> float:
    """Share of the content words of the evidence that is kept, in [0, 1].

    Args:
        texts: Text of every message.
        evidence: `{"message", "start", "end"}` of each piece of evidence.
        pieces: What was kept.
    """
    kept = KeptText(pieces)
    counts = [kept.words(texts, span) for span in evidence]
    total = sum(words for _, words in counts)
    return sum(found for found, _ in counts) / total if total else 0.0
