"""A session that grows turn by turn: what a turn costs at every length of the conversation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eval.speed.clock import percentile, spread
from eval.speed.material import Exchange, Material
from eval.speed.subject import Reference
from reet_hf.compressor import Compressor
from reet_hf.session import Session

BUDGET = 2000  # tokens that each turn is compressed to
EVEN = (512,)
MIXED = (20, 512, 64, 300, 128, 400, 40, 200, 96, 256)
BINS = (0, 4_000, 16_000, 32_000, 64_000, 100_000)  # tokens of history before a turn
EARLY, LATE = range(2, 12), range(190, 210)  # turns that are compared, each a whole number of rounds of the sizes


@dataclass(frozen=True)
class Turn:
    """One turn.

    Attributes:
        history, new: Tokens before it, and those that it brought.
        milliseconds: Of appending and compressing.
        reference: Milliseconds of a fixed pass of the encoder right after it.
    """

    history: int
    new: int
    milliseconds: float
    reference: float


class Growing:
    """A session and its turns so far.

    Args:
        compressor: What compresses.
        material: Where text comes from.
        sizes: Tokens of the turns, again and again.
        reference: What is timed after each turn.
    """

    def __init__(
        self, compressor: Compressor, material: Material, sizes: Sequence[int], reference: Reference | None = None
    ) -> None:
        self.session = Session(compressor)
        self.turns: list[Turn] = []
        self._material, self._sizes, self._reference = material, sizes, reference

    @property
    def tokens(self) -> int:
        """Tokens of the session."""
        return self.session.cached_tokens

    def turn(self) -> Turn:
        """One more turn."""
        exchange = self._material.exchange(self._sizes[len(self.turns) % len(self._sizes)])
        history = self.tokens
        spent = one_turn(self.session, exchange)
        reference = self._reference.milliseconds() if self._reference else 0.0
        self.turns.append(Turn(history, self.tokens - history, spent, reference))
        return self.turns[-1]


def one_turn(session: Session, exchange: Exchange, budget: int = BUDGET) -> float:
    """Milliseconds of appending an exchange and compressing for its question."""
    start = time.perf_counter()
    session.append(exchange.messages)
    session.compress(exchange.query, budget=budget)
    return 1000 * (time.perf_counter() - start)


def measure(
    compressor: Compressor,
    material: Material,
    turns: int = 210,
    tokens: int = 100_000,
    early: range = EARLY,
    late: range = LATE,
    told: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Sessions of even and of mixed turns.

    Args:
        compressor: What compresses.
        material: Where text comes from.
        turns, tokens: A session grows until it has both.
        early, late: Numbers of the turns that are compared, the first being 1.
        told: Is given what is going on.
    """
    reference = Reference(compressor.scorer)
    found = {}
    for name, sizes in (("even", EVEN), ("mixed", MIXED)):
        grown, young = Growing(compressor, material, sizes, reference), Growing(compressor, material, sizes)
        beside: list[Turn] = []
        while len(grown.turns) < turns or grown.tokens < tokens:
            grown.turn()
            if len(grown.turns) % 50 == 0:
                told(f"{name}: {len(grown.turns)} turns, {grown.tokens:,} tokens")
            if len(grown.turns) in late:
                if len(young.turns) >= early.stop - 1:
                    young = Growing(compressor, material, sizes)
                while len(young.turns) < early.start - 1:
                    young.turn()
                beside.append(young.turn())
        found[name] = {"sizes": list(sizes), **summary(grown.turns, beside, early, late)}
    return {"budget": BUDGET, **found}


def summary(turns: Sequence[Turn], beside: Sequence[Turn], early: range, late: range) -> dict[str, Any]:
    """Milliseconds overall and by history, and what late turns cost beside early ones.

    Args:
        turns: Of the session.
        beside: Early turns of other sessions, measured in alternation with the late ones of this.
        early, late: Numbers of turns that are compared.
    """
    by_history = {}
    for low, high in zip(BINS, (*BINS[1:], 10**9), strict=True):
        own = [turn.milliseconds for turn in turns if low <= turn.history < high]
        if own:
            by_history[str(low)] = spread(own)
    first, last = ([turns[number - 1] for number in numbers] for numbers in (early, late))
    ratios = {
        "late_to_early": ratio([t.milliseconds for t in last], [t.milliseconds for t in first]),
        "reference_late_to_early": ratio([t.reference for t in last], [t.reference for t in first]),
        "late_to_alternating_early": ratio([t.milliseconds for t in last], [t.milliseconds for t in beside]),
    }
    return {
        "turns": len(turns),
        "tokens": turns[-1].history + turns[-1].new,
        "new_tokens": {"p50": percentile([t.new for t in turns], 0.5), "max": max(t.new for t in turns)},
        "milliseconds": spread([turn.milliseconds for turn in turns]),
        "by_history": by_history,
        "reference_milliseconds": spread([turn.reference for turn in turns]),
        "early_turns": [early.start, early.stop - 1],
        "late_turns": [late.start, late.stop - 1],
        "ratios": ratios,
        "each": {
            "history": [turn.history for turn in turns],
            "milliseconds": [round(turn.milliseconds, 1) for turn in turns],
            "reference": [round(turn.reference, 1) for turn in turns],
        },
    }


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """The ratio of two means and the numbers of values behind them."""
    value = (sum(above) / len(above)) / (sum(below) / len(below)) if above and below and sum(below) else None
    return {"ratio": None if value is None else round(value, 3), "repetitions": [len(above), len(below)]}
