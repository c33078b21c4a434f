"""Retention by offset: what of an answer, its evidence or the entities is left in the kept pieces, and what it cost.

Definitions are those of the multi-turn retention protocol: a content word is an alphanumeric word that is no function
word, and it is kept if all of its characters lie in kept pieces. Everything here is a pure function of one question,
one row or one list of numbers; averages over a data set are the caller's. Higher is better unless a function says so.
"""

from __future__ import annotations

import os.path
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from .errors import ReetError
from .lexicon import content_words
from .records import Mention, Piece, Span

Scores = Sequence[Sequence[float | None]]

CITATION = """@software{reet,
  title = {REET: context compression that keeps what later turns need},
  author = {{The REET developers}},
  year = {2026},
  url = {https://huggingface.co/reet}
}"""


class KeptText:
    """Kept pieces, asked whether they hold given characters.

    Args:
        pieces: Kept spans in any order; spans that touch or overlap count as one stretch.
    """

    def __init__(self, pieces: Iterable[Span | Piece]) -> None:
        self._starts: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}
        for message, start, end in sorted((piece.message, piece.start, piece.end) for piece in pieces):
            ends = self._ends.setdefault(message, [])
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
                continue
            self._starts.setdefault(message, []).append(start)
            ends.append(end)

    def holds(self, message: int, start: int, end: int) -> bool:
        """Whether characters `start` to `end` of a message all lie in one kept stretch."""
        place = bisect_right(self._starts.get(message, ()), start) - 1
        return place >= 0 and self._ends[message][place] >= end

    def holds_mention(self, mention: Mention) -> bool:
        """Whether every character of a mention but white space, which rendering restores, is kept."""
        words = re.finditer(r"\S+", mention.text)
        return all(
            self.holds(mention.message, mention.start + word.start(), mention.start + word.end()) for word in words
        )

    def words(self, texts: Sequence[str], span: Mapping[str, int]) -> tuple[int, int]:
        """Content words of a span that are kept, and how many it has."""
        number, first = span["message"], span["start"]
        words = content_words(texts[number][first : span["end"]])
        return sum(self.holds(number, first + start, first + end) for _, start, end in words), len(words)

    def surviving(self, texts: Sequence[str], spans: Iterable[Mapping[str, int]]) -> list[tuple[int, int]]:
        """`(message, end)` of each span with words whose content words are all kept."""
        counts = [(span, self.words(texts, span)) for span in spans]
        return [(span["message"], span["end"]) for span, (found, total) in counts if found == total > 0]


def answer_survival(
    texts: Sequence[str], answer_spans: Sequence[Mapping[str, int]], pieces: Iterable[Span | Piece]
) -> float:
    """1 if every content word of at least one answer span is kept, else 0.

    Args:
        texts: Text of every message.
        answer_spans: `{"message", "start", "end"}` of each acceptable answer.
        pieces: What was kept.
    """
    return float(bool(KeptText(pieces).surviving(texts, answer_spans)))


def evidence_recall(
    texts: Sequence[str], evidence: Sequence[Mapping[str, int]], pieces: Iterable[Span | Piece]
) -> float:
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


def entity_survival(
    mentions: Iterable[Mention], pieces: Iterable[Span | Piece], ledger: Iterable[Mention] = ()
) -> float:
    """Share of the distinct entities, numbers, dates and identifiers that survive, in [0, 1]; 1 if there are none.

    One survives if all characters of at least one of its mentions are kept (white space aside), or if the ledger
    lists it. Mentions of one type are the same entity if they differ in case only, as on `Compressed.entities`;
    stated constraints are no entities and are left out.

    Args:
        mentions: What the original names, as `reet_hf.mentions.find_mentions` returns it.
        pieces: What was kept.
        ledger: What is carried beside the pieces; only text and type are looked at.
    """
    kept = KeptText(pieces)
    named = [mention for mention in mentions if mention.type != "CONSTRAINT"]
    entities = {_identity(mention) for mention in named}
    alive = {_identity(mention) for mention in named if kept.holds_mention(mention)}
    alive |= {_identity(mention) for mention in ledger}
    return len(entities & alive) / len(entities) if entities else 1.0


def _identity(mention: Mention) -> tuple[str, str]:
    return mention.type, mention.text.casefold()


def expected_calibration_error(chances: Sequence[float], outcomes: Sequence[float], bins: int = 15) -> float:
    """Mean distance between chance and share of what came true, over bins of equal width, in [0, 1]; lower is better.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.

    Args:
        chances: In [0, 1].
        outcomes: 1 for what came true, else 0.
        bins: How many.
    """
    if len(chances) != len(outcomes):
        raise ReetError(f"`outcomes` must have one value a chance, got {len(outcomes)} for {len(chances)}.")
    places = [min(int(chance * bins), bins - 1) for chance in chances]
    gaps = [0.0] * bins
    for place, chance, outcome in zip(places, chances, outcomes, strict=True):
        gaps[place] += chance - outcome
    return sum(map(abs, gaps)) / len(places) if places else 0.0


def latest_value(
    texts: Sequence[str],
    answer_spans: Sequence[Mapping[str, int]],
    stale_spans: Sequence[Mapping[str, int]],
    pieces: Iterable[Span | Piece],
) -> float:
    """1 if the current value of something that changed is kept and no former one is kept after it, else 0.

    A value is kept if all content words of one of its spans are. What stands last in the original is what a reader
    takes for current: a former value that is kept before the current one does no harm.

    Args:
        texts: Text of every message.
        answer_spans: `{"message", "start", "end"}` of each place that states the current value.
        stale_spans: The same for values that it superseded.
        pieces: What was kept.
    """
    kept = KeptText(pieces)
    current, stale = kept.surviving(texts, answer_spans), kept.surviving(texts, stale_spans)
    return float(bool(current) and (not stale or max(current) >= max(stale)))


def stale_as_current(
    texts: Sequence[str],
    answer_spans: Sequence[Mapping[str, int]],
    stale_spans: Sequence[Mapping[str, int]],
    pieces: Iterable[Span | Piece],
) -> float:
    """1 if a former value is kept and the current one is not, so that a reader is misled, else 0; lower is better.

    Args:
        texts: Text of every message.
        answer_spans: `{"message", "start", "end"}` of each place that states the current value.
        stale_spans: The same for values that it superseded.
        pieces: What was kept.
    """
    kept = KeptText(pieces)
    return float(bool(kept.surviving(texts, stale_spans)) and not kept.surviving(texts, answer_spans))


def mean_measured(scores: Iterable[float | None]) -> float | None:
    """The mean of the scores that are not `None`; `None` if there are none."""
    found = [score for score in scores if score is not None]
    return sum(found) / len(found) if found else None


def retention_at_turn(scores: Scores, turn: int) -> float | None:
    """Ret(t): the mean score of the t-th question over the rows that have one; `None` if no row has.

    Args:
        scores: For each row the score of each of its questions in order; `None` where it was not measured.
        turn: Number of the question, from 1.

    Raises:
        ReetError: If `turn` is below 1.
    """
    return mean_measured(_at(row, turn) for row in scores)


def degradation(scores: Scores, first: int = 1, last: int = 10) -> float | None:
    """Mean of score(first) - score(last) over the rows that have both; `None` if no row has. Lower is better.

    Being paired, it is not the difference of two `retention_at_turn`, which are means over different rows.

    Args:
        scores: For each row the score of each of its questions in order; `None` where it was not measured.
        first: Number of the earlier question, from 1.
        last: Number of the later question.

    Raises:
        ReetError: If a turn is below 1.
    """
    pairs = [(_at(row, first), _at(row, last)) for row in scores]
    return mean_measured(early - late for early, late in pairs if early is not None and late is not None)


def _at(row: Sequence[float | None], turn: int) -> float | None:
    if turn < 1:
        raise ReetError(f"`turn` must be at least 1, got {turn}; the first question of a row is turn 1.")
    return row[turn - 1] if turn <= len(row) else None


def rate_adherence(compressed: Sequence[int], budgets: Sequence[int], originals: Sequence[int]) -> dict[str, float]:
    """How well budgets were used and whether they were kept, all in tokens of one counting tokenizer.

    Args:
        compressed: Tokens of each output, markers included.
        budgets: Tokens that each output was allowed.
        originals: Tokens of each input.

    Returns:
        `rate`, the mean share of the input that came out; `target`, the mean share that was allowed (at most 1);
        `rate_error`, the mean absolute difference of the two, lower is better; `overruns`, the number of outputs
        over their budget; `worst_overrun`, the most tokens over.

    Raises:
        ReetError: If the lists are empty or of different lengths, or an input has no tokens.
    """
    if not len(compressed) == len(budgets) == len(originals) > 0:
        lengths = f"{len(compressed)}, {len(budgets)} and {len(originals)}"
        raise ReetError(
            f"`compressed`, `budgets` and `originals` must be of one length above 0, got {lengths}; "
            "give one number of each for every output."
        )
    if min(originals) < 1:
        raise ReetError(f"`originals` must be at least 1 token each, got {min(originals)}; leave out empty inputs.")
    rates = [tokens / whole for tokens, whole in zip(compressed, originals, strict=True)]
    targets = [min(budget, whole) / whole for budget, whole in zip(budgets, originals, strict=True)]
    over = [tokens - budget for tokens, budget in zip(compressed, budgets, strict=True) if tokens > budget]
    return {
        "rate": sum(rates) / len(rates),
        "target": sum(targets) / len(targets),
        "rate_error": sum(abs(rate - target) for rate, target in zip(rates, targets, strict=True)) / len(rates),
        "overruns": len(over),
        "worst_overrun": max(over, default=0),
    }


def provenance_fidelity(texts: Sequence[str], pieces: Sequence[Span | Piece], rendered: str | Sequence[str]) -> float:
    """Share of the pieces that stand verbatim and in order in what was rendered, in [0, 1]; 1 if there are none.

    It is 1 exactly if all of them do. Below that it is a lower bound: each piece is looked for behind the one
    before, so a piece that is only found far ahead hides those that it jumped over.

    Args:
        texts: Text of every message of the original.
        pieces: Where the output says it comes from, in the order of the output.
        rendered: The output as one text, or the text of each of its messages; no piece runs over two messages.
    """
    whole = rendered if isinstance(rendered, str) else "\0".join(rendered)
    found, place = 0, 0
    for piece in pieces:
        verbatim = texts[piece.message][piece.start : piece.end]
        start = whole.find(verbatim, place)
        if start >= 0:
            found, place = found + 1, start + len(verbatim)
    return found / len(pieces) if pieces else 1.0


def prefix_stability(previous: str, current: str) -> float:
    """Share of the characters of one output that the next one repeats as its beginning, in [0, 1]; 1 for an empty one.

    What is not repeated is what a provider's prompt cache has to read again.

    Args:
        previous: The text of the turn before.
        current: The text of this turn.
    """
    return len(os.path.commonprefix([previous, current])) / len(previous) if previous else 1.0
