"""Where NoLiMa puts a needle: after a line of a book, with as many tokens of the book around it as are wanted.

The arithmetic is that of `data/book_haystack.py` of adobe-research/NoLiMa, with its corners; see `eval.tasks.nolima`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reet_hf.budget import TokenCounter
from reet_hf.errors import ReetError

FREE = 0.2  # of the text on either side of a needle has no distractor
SHORT = 500  # tokens, below which a distractor stands at one of three places
MARGIN = {True: (25, 23), False: (50, 49)}  # for short texts and others: characters that are looked up, and skipped


@dataclass(frozen=True)
class Trial:
    """A needle at one place of one book.

    Attributes:
        name: Of needle and test.
        book: Its number.
        length: Tokens of the book.
        depth: Where the needle stands, from 0 to 1.
        needle: With its character in it.
        questions: By kind.
        gold: Acceptable answers.
        template: With places for the text and the question.
        distractor: A sentence that looks more like the question, or nothing.
        distance: Where that stands, from 0 to 1.
    """

    name: str
    book: int
    length: int
    depth: float
    needle: str
    questions: dict[str, str]
    gold: tuple[str, ...]
    template: str
    distractor: str = ""
    distance: float | None = None

    @staticmethod
    def apart(rng: np.random.RandomState, length: int, depth: float) -> float:
        """Where a distractor stands: anywhere that is far enough from the needle and from both ends."""
        left, right = max(0.0, depth - 2 * FREE), max(0.0, 1 - (depth + 2 * FREE))
        drawn = float(rng.uniform(0, left + right))
        if length < SHORT:
            return 0.7 if depth < 0.6 else 0.6 if depth > 0.75 else 0.5
        return depth + FREE + (drawn - left) if drawn > left else drawn + FREE


@dataclass(frozen=True)
class Book:
    """A book in tokens.

    Attributes:
        name: Of its file.
        text: All of it.
        starts: First character of each token, then the end of the text; a token reaches to the start of the next.
        breaks: The first token, then all that hold a line break.
    """

    name: str
    text: str
    starts: np.ndarray
    breaks: np.ndarray

    @classmethod
    def of(cls, name: str, text: str, counter: TokenCounter) -> Book:
        """The book by the tokens of `counter`.

        Raises:
            ReetError: If that does not tell where tokens begin.
        """
        if counter.starts is None:
            raise ReetError(
                f"`tokenizer` must tell where its tokens begin, but {counter.name} cannot; use a fast tokenizer of "
                "transformers or a tiktoken encoding."
            )
        starts = np.array([*counter.starts([text])[0], len(text)], dtype=np.int64)
        lines = np.array([place for place, letter in enumerate(text) if letter == "\n"], dtype=np.int64)
        holding = np.unique(np.maximum(np.searchsorted(starts, lines, side="right") - 1, 0))
        return cls(name, text, starts, np.concatenate([[0], holding]))

    def around(self, length: int, depth: float) -> tuple[str, str]:
        """What stands before a needle and after it.

        Raises:
            ReetError: If the book is too short.
        """
        ahead = self.breaks / (length + 1) - depth
        reached = int(np.argmin(np.where(ahead < 0, np.inf, ahead)))
        place = int(self.breaks[reached])
        first = place - int(np.round(length * depth))
        last = first + length
        if ahead[reached] < 0 or first < 0 or last >= len(self.starts):
            raise ReetError(
                f"`lengths` must leave room in the books: {self.name} has {len(self.starts) - 1} tokens, too few for "
                f"{length} at a depth of {depth:.2f}; use shorter ones or longer books."
            )
        before = self.text[self.starts[first] : self.starts[place + 1]]
        before = before[: max(before.rfind("\n"), 0)]
        return before, self.text[self.starts[place + 1] : self.starts[max(last, place + 1)]]


def written(book: Book, trial: Trial) -> tuple[str, int]:
    """The text with the needle, and where that begins.

    Raises:
        ReetError: If the book is too short, or the place of the distractor is not found or not the only one.
    """
    before, after = book.around(trial.length, trial.depth)
    text, start = f"{before} {trial.needle}\n{after}", len(before) + 1
    if trial.distance is None:
        return text, start
    seen, skipped = MARGIN[trial.length < SHORT]
    lead = book.around(trial.length, trial.distance)[0]
    known = lead[max(len(lead) + 1 - seen, 0) :]
    if text.count(known) != 1:
        raise ReetError(
            f"`lengths` must leave one place for the distractor, but its lead {known!r} stands {text.count(known)} "
            f"times in {book.name} at {trial.length} tokens, depth {trial.depth:.2f}; leave this length out."
        )
    place = text.index(known) + skipped
    added = f" {trial.distractor}\n"
    return text[:place] + added + text[place:], start + len(added) * (place <= start)
