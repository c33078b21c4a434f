"""Demonstrations: short answers ("Label: x" behind each of many sentences), and what each of them answers.

An answer of two words looks as likely needed as any other of its kind, whatever it answers; but an example without its
answer shows nothing. And where a few answers come again and again, as labels do, who is asked for one has to know all
of them. So the answer stands with its example, and of each label the likeliest example is wanted, as in the many-shot
prompts of SCBench (arXiv:2412.10319).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import regex

LEAST_EXAMPLES = 4  # with an answer under the same name
SHORT = 80  # characters of an answer
MOST_SENTENCES = 12  # of what is answered
MOST_LABELS = 32  # different answers that are labels
LEAST_EACH = 2  # examples of each label in the mean
SHOWN = 0.95  # chance of the likeliest example of each label

_NAMED = regex.compile(r"\s*(\p{L}[\p{L}\p{N} ]{0,20}):\s*\S")


class Demonstrations:
    """The short answers among the units of a conversation; it grows with them.

    Attributes:
        answers: Numbers of the units that may be answers, in order.
        firsts: Of each the number of the first unit of what it answers.
    """

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.firsts: list[int] = []
        self._names: list[str] = []  # of each that may be an answer
        self._said: list[str] = []  # by it
        self._counts: Counter[str] = Counter()
        self._read = 0
        self._open = (-1, -1, "")  # message, unit and name of the last unit that has a name

    def read(self, texts: Sequence[str], places: np.ndarray) -> None:
        """Read the units that were not read before.

        Args:
            texts: Of the messages.
            places: `(message, start, end)` of each unit in order, of shape `(units, 3)`.
        """
        for number, (message, start, end) in enumerate(places[self._read :].tolist(), self._read):
            if not (match := _NAMED.match(texts[message], start, end)):
                continue
            name = match[1]
            self._counts[name] += 1
            home, first, before = self._open
            if home == message and before != name and number - first <= MOST_SENTENCES and end - start <= SHORT:
                self.answers.append(number)
                self.firsts.append(first)
                self._names.append(name)
                self._said.append(texts[message][match.end() - 1 : end].strip())
            self._open = (message, number, name)
        self._read = len(places)

    def chances(self, pooled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Units whose chances examples raise, in no order, and how far, both of shape `(found,)`.

        An answer is as likely needed as the likeliest unit that it answers. Only those count whose name stands before
        short answers alone, but for one in ten, and often enough.

        Args:
            pooled: Chances of all units, of shape `(units,)`.
        """
        short = Counter(self._names)
        meant = {name for name, n in short.items() if n >= LEAST_EXAMPLES and n >= 0.9 * self._counts[name]}
        chosen = [place for place, name in enumerate(self._names) if name in meant] if meant else []
        if not chosen:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        answers, firsts = (np.array(column, dtype=np.int64)[chosen] for column in (self.answers, self.firsts))
        borders = np.stack((firsts, answers), axis=1).ravel()  # `reduceat` takes every other stretch
        worth = np.maximum(pooled[answers], np.maximum.reduceat(pooled, borders)[::2])
        best = self._of_each_label(chosen, worth)
        shown = [unit for n in best for unit in range(firsts[n], answers[n] + 1)]
        return np.concatenate((answers, np.array(shown, dtype=np.int64))), np.append(worth, np.full(len(shown), SHOWN))

    def _of_each_label(self, chosen: Sequence[int], worth: np.ndarray) -> list[int]:
        """The likeliest example of each label, as places in `chosen`; none where answers are no labels."""
        best: dict[tuple[str, str], int] = {}
        for number, place in enumerate(chosen):
            label = (self._names[place], self._said[place])
            if label not in best or worth[number] > worth[best[label]]:
                best[label] = number
        if len(best) > MOST_LABELS or len(chosen) < LEAST_EACH * len(best):
            return []
        return list(best.values())
