"""Selection by itself: how long it takes to choose from a hundred thousand units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.speed.clock import repeated, spread
from reet_hf.candidates import Candidates, Forms
from reet_hf.records import Span, Unit
from reet_hf.selection import fit

COUNTS = (10_000, 100_000)
BUDGETS: dict[str, float | int] = {"2000": 2000, "33%": 0.33}
IN_MESSAGE = 10  # units
LABEL = 3  # tokens of a message beside its text
WORD = 5  # characters that the plain counter takes for a token


def measure(counts: Sequence[int] = COUNTS, repetitions: int = 9) -> dict[str, Any]:
    """Milliseconds of `selection.fit` by budget and number of units, and how they grow with that number.

    `growth` is the ratio of the times over that of the numbers: 1 where time is linear.

    Args:
        counts: Numbers of units, rising.
        repetitions: Of each.
    """
    found: dict[str, Any] = {}
    for name, budget in BUDGETS.items():
        times = {}
        for count in counts:
            made = candidates(count)
            overheads = np.full(count // IN_MESSAGE + 1, LABEL)
            limit = int(budget * made.costs.sum()) if isinstance(budget, float) else budget
            work = lambda made=made, overheads=overheads, limit=limit: fit(made, overheads, limit, [], tokens, [])  # noqa: E731
            times[str(count)] = spread(repeated(work, repetitions))
        low, high = times[str(counts[0])]["p50"], times[str(counts[-1])]["p50"]
        found[name] = {"units": times, "growth": round(high / low / (counts[-1] / counts[0]), 2)}
    return {"budgets": found}


def candidates(count: int) -> Candidates:
    """Sentences with two shorter forms each, most of them hardly needed."""
    chance = np.random.default_rng(0)
    sizes = WORD * chance.integers(4, 40, count)
    messages = np.arange(count) // IN_MESSAGE
    starts = np.zeros(count, dtype=np.int64)
    for place in range(1, count):
        starts[place] = 0 if place % IN_MESSAGE == 0 else starts[place - 1] + sizes[place - 1] + 1
    units = [Unit(*row) for row in zip(messages.tolist(), starts.tolist(), (starts + sizes).tolist(), strict=True)]
    content, linking = (WORD * np.maximum((share * sizes / WORD).astype(np.int64), 1) for share in (0.5, 0.75))
    slices = [
        [[(unit.start, unit.start + first)], [(unit.start, unit.start + more)], [(unit.start, unit.end)]]
        for unit, first, more in zip(units, content.tolist(), linking.tolist(), strict=True)
    ]
    costs = np.stack([content, linking, sizes]) // WORD
    return Candidates(units, chance.beta(0.3, 3.0, count), sizes // WORD, Forms(costs, slices))


def tokens(spans: Sequence[Span]) -> int:
    """A plain count: a token for so many characters, and a label for each message."""
    return sum((span.end - span.start) // WORD for span in spans) + LABEL * len({span.message for span in spans})
