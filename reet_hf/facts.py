"""The ledger as a compressed form: lines of facts, the most important first to be kept, under a hard budget."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from .coverage import REFERENCE_WEIGHT
from .ledger import Ledger
from .records import Span

TRIES = 32  # facts that did not fit together with better ones are tried one by one
SEPARATOR = " | "


@dataclass(frozen=True)
class FactLines:
    """Facts of a ledger as text.

    Attributes:
        text: A line for each entity, in the order of the ledger: `Acme Corp: founded in 1985 | based in Oslo`.
        facts: Numbers of the facts in it, rising.
        tokens: Of the text.
    """

    text: str
    facts: tuple[int, ...]
    tokens: int


def render_facts(ledger: Ledger, facts: Sequence[int]) -> str:
    """The facts of these numbers, a line for each of their entities; white space in a fact as single spaces."""
    lines: dict[int, list[str]] = {}
    for number in sorted(facts):
        fact = ledger.facts[number]
        lines.setdefault(fact.entity, []).append(_flat(fact.text))
    return "\n".join(
        f"{_flat(ledger.entities[entity].name)}: {SEPARATOR.join(said)}" for entity, said in sorted(lines.items())
    )


def weighted(ledger: Ledger, importance: Sequence[float]) -> list[float]:
    """Importance of each fact by how often its entity was referred to.

    Args:
        ledger: With its facts.
        importance: Of each of them, at least 0.
    """
    return [
        value * (1.0 + REFERENCE_WEIGHT * max(ledger.references(fact.entity), 0))
        for value, fact in zip(importance, ledger.facts, strict=True)
    ]


def choose_facts(ledger: Ledger, worth: Sequence[float], limit: int, count: Callable[[str], int]) -> FactLines:
    """The current facts of most worth whose lines have at most `limit` tokens.

    What was superseded is never shown, nor what is worth nothing.

    Args:
        ledger: With its facts.
        worth: Of each of them.
        limit: Tokens.
        count: Exact tokens of a text.
    """
    order = sorted(
        (n for n, fact in enumerate(ledger.facts) if fact.current and worth[n] > 0), key=lambda n: (-worth[n], n)
    )

    def tokens(chosen: Sequence[int]) -> int:
        return count(render_facts(ledger, chosen)) if chosen else 0

    # a longer text mostly has more tokens; what a counter says of the choice itself decides
    size = bisect_right(range(1, len(order) + 1), limit, key=lambda length: tokens(order[:length]))
    chosen = order[:size]
    while chosen and tokens(chosen) > limit:
        chosen.pop()
    for number in order[len(chosen) : len(chosen) + TRIES]:
        if number not in chosen and tokens([*chosen, number]) <= limit:
            chosen.append(number)
    return FactLines(render_facts(ledger, chosen), tuple(sorted(chosen)), tokens(chosen))


def sources_of(ledger: Ledger, facts: Sequence[int], texts: Sequence[str]) -> list[Span]:
    """Where the facts were last said and their entities' names first written, in the order of the text, each once.

    Args:
        ledger: With the facts.
        facts: Their numbers.
        texts: Text of every message.
    """
    names = set()
    for entity in {ledger.facts[number].entity for number in facts}:
        known = ledger.entities[entity]
        written = (span for span in known.mentions if texts[span.message][span.start : span.end] == known.name)
        names |= set(islice(written, 1))
    return sorted(names | {ledger.facts[number].sources[-1] for number in facts})


def _flat(text: str) -> str:
    return " ".join(text.split())
