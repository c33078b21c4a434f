"""What REET shall be able to do on two CPU threads, and whether a record says that it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eval.speed.names import LARGE, REET, SMALL

LONGEST = 100_000  # tokens of history up to which turns are held to their targets

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """A limit for a figure of a record.

    Attributes:
        name: What is measured.
        limit: The worst value that is good enough.
        unit: Of both.
        value: Finds the figure with the number of repetitions behind it; a `KeyError` means that it was not measured.
        least: Whether the limit is the lowest value that is good enough, not the highest.
    """

    name: str
    limit: float
    unit: str
    value: Callable[[Record], tuple[float, int]]
    least: bool = False

    def met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.limit if self.least else value <= self.limit


@dataclass(frozen=True)
class Outcome:
    """What became of a target; `value` is `None` where it was not measured."""

    target: Target
    value: float | None
    repetitions: int = 0

    @property
    def word(self) -> str:
        """`met`, `missed` or `not measured`."""
        if self.value is None:
            return "not measured"
        return "met" if self.target.met(self.value) else "missed"


def outcomes(parts: Record) -> list[Outcome]:
    """Of all targets.

    Args:
        parts: Those of a record.
    """
    found = []
    for target in TARGETS:
        try:
            found.append(Outcome(target, *target.value(parts)))
        except KeyError:
            found.append(Outcome(target, None))
    return found


def _worst_bin(point: str) -> Callable[[Record], tuple[float, int]]:
    def value(parts: Record) -> tuple[float, int]:
        bins = [pair for name in ("even", "mixed") for pair in parts["turns"][name]["by_history"].items()]
        worst = max((each for low, each in bins if int(low) < LONGEST), key=lambda each: each[point])
        return worst[point], worst["repetitions"]

    return value


def _late(name: str) -> Callable[[Record], tuple[float, int]]:
    def value(parts: Record) -> tuple[float, int]:
        found = parts["turns"][name]["ratios"]["late_to_early"]
        return found["ratio"], min(found["repetitions"])

    return value


def _faster(peer: str) -> Callable[[Record], tuple[float, int]]:
    def value(parts: Record) -> tuple[float, int]:
        found = parts["peers"]["lengths"]["3000"][peer]
        return found["times_reet"], found["seconds"]["repetitions"]

    return value


def _cold(parts: Record) -> tuple[float, int]:
    found = parts["cold"]["lengths"]["32000"][REET]["seconds"]
    return found["p50"], found["repetitions"]


def _start(parts: Record) -> tuple[float, int]:
    found = parts["start"]["seconds"]["sum"]
    return found["p50"], found["repetitions"]


def _state(parts: Record) -> tuple[float, int]:
    return parts["memory"]["state_bytes_per_token"]["sum"], parts["memory"]["repetitions"]


def _selection(parts: Record) -> tuple[float, int]:
    found = [budget["units"]["100000"] for budget in parts["selection"]["budgets"].values()]
    worst = max(found, key=lambda each: each["p50"])
    return worst["p50"], worst["repetitions"]


TARGETS = (
    Target("turn, p50, at the slowest history to 100,000 tokens", 50, "ms", _worst_bin("p50")),
    Target("turn, p95, at the slowest history to 100,000 tokens", 100, "ms", _worst_bin("p95")),
    Target("turns around 200 beside turns around 2, 512 tokens each", 1.3, "times", _late("even")),
    Target("the same with turns of 20 to 512 tokens", 1.3, "times", _late("mixed")),
    Target("cold, 3,000 tokens, faster than LLMLingua-2 large", 20, "times", _faster(LARGE), least=True),
    Target("cold, 3,000 tokens, faster than LLMLingua-2 small", 4, "times", _faster(SMALL), least=True),
    Target("cold, 32,000 tokens, p50", 4, "s", _cold),
    Target("import, loading and the first result, p50", 5, "s", _start),
    Target("cached state of a token", 400, "bytes", _state),
    Target("choosing among 100,000 units, p50", 100, "ms", _selection),
)
