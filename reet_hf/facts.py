"""The ledger as a compressed form: what is said of whom, and what no fact stands for, as lines under a hard budget.

A sentence of which its facts leave out too much is told as it stands, behind who said it; one that says what no longer
holds is told by those of its facts that do, or not at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from .coverage import REFERENCE_WEIGHT
from .ledger import Entry, Ledger
from .lexicon import content_words
from .records import Span, Unit
from .segmentation import UNITS

TRIES = 32  # what did not fit together with better things is tried one by one
SEPARATOR = " | "
TOLD = 0.9  # share of a sentence's words of weight from which on its facts stand for it


@dataclass(frozen=True)
class Saying:
    """What a line can hold.

    Attributes:
        line: Sayings of one line have the same, and lines stand in its order: those of the ledger, then the messages.
        heading: What the line begins with: name of the entity, or who speaks, if anybody does.
        text: What is said.
        sources: Where it stands last, before it the name of its entity, if it is said of one.
        unit: Number of the sentence that this is, or stands in.
        worth: At least 0; nothing of worth 0 is told.
    """

    line: tuple[int, int]
    heading: str
    text: str
    sources: tuple[Span, ...]
    unit: int
    worth: float = 0.0


@dataclass(frozen=True)
class Lines:
    """What was chosen, as text.

    Attributes:
        text: A line for each entity and message: `Acme Corp: founded in 1985 | based in Oslo`.
        sources: Where that stands, in the order of the text, each once.
        tokens: Of the text.
    """

    text: str
    sources: tuple[Span, ...]
    tokens: int


def sayings(ledger: Ledger, units: Iterable[Unit], texts: Sequence[str], labels: Sequence[str]) -> list[Saying]:
    """What lines can hold of a conversation: current facts, and the sentences that these do not stand for.

    Args:
        ledger: With its facts.
        units: Sentences in reading order, and what is never cut.
        texts: Text of every message.
        labels: Who speaks in it, empty if nobody does.
    """
    placed: dict[int, list[tuple[Entry, Span]]] = defaultdict(list)
    for fact in ledger.facts:
        for source in fact.sources:
            placed[source.message].append((fact, source))
    named: dict[int, list[Span]] = defaultdict(list)
    for number in {fact.entity for fact in ledger.facts}:
        for span in ledger.entities[number].mentions:
            named[span.message].append(span)
    whole: list[Saying] = []
    homes: dict[Span, int] = {}
    told: set[Span] = set()
    for number, unit in enumerate(units):
        inside = [(fact, source) for fact, source in placed[unit.message] if unit.span.overlaps(source)]
        said = [source for fact, source in inside if fact.current]
        homes |= {source: number for source in said if source not in homes}
        prose = unit.kind in UNITS
        enough = said and _covered(texts, unit, [*said, *named[unit.message]]) >= TOLD
        if prose and (enough or len(said) < len(inside)):
            continue
        text = texts[unit.message][unit.start : unit.end]
        text = _flat(text) if prose else text
        whole.append(Saying((1, unit.message), labels[unit.message], text, (unit.span,), number))
        told |= {source for source in said if unit.span.contains(source)}
    facts = [
        _saying(ledger, fact, texts, homes) for fact in ledger.facts if fact.current and not told >= set(fact.sources)
    ]
    return sorted(facts, key=lambda said: said.line) + whole


def weighted(found: Sequence[Saying], importance: Sequence[float], ledger: Ledger | None = None) -> list[Saying]:
    """The sayings with their importance as worth; with a ledger facts weigh by how often their entity was referred to.

    For a query what it needs comes first, whoever is spoken of most.

    Args:
        found: Of shape `(sayings,)`.
        importance: Of each of them, at least 0.
        ledger: They are of, where there is no query.
    """

    def weight(line: tuple[int, int]) -> float:
        kind, number = line
        return 1.0 if ledger is None or kind else 1.0 + REFERENCE_WEIGHT * max(ledger.references(number), 0)

    return [replace(said, worth=value * weight(said.line)) for said, value in zip(found, importance, strict=True)]


def choose_lines(found: Sequence[Saying], limit: int, count: Callable[[str], int]) -> Lines:
    """The sayings of most worth whose lines have at most `limit` tokens.

    Args:
        found: In the order in which lines have them.
        limit: Tokens.
        count: Exact tokens of a text.
    """
    order = sorted((n for n, said in enumerate(found) if said.worth > 0), key=lambda n: (-found[n].worth, n))

    def tokens(chosen: Sequence[int]) -> int:
        return count(render_lines([found[number] for number in sorted(chosen)])) if chosen else 0

    # a longer text mostly has more tokens; what a counter says of the choice itself decides
    size = bisect_right(range(1, len(order) + 1), limit, key=lambda length: tokens(order[:length]))
    chosen = order[:size]
    while chosen and tokens(chosen) > limit:
        chosen.pop()
    for number in order[len(chosen) : len(chosen) + TRIES]:
        if number not in chosen and tokens([*chosen, number]) <= limit:
            chosen.append(number)
    kept = [found[number] for number in sorted(chosen)]
    sources = sorted({span for said in kept for span in said.sources})
    return Lines(render_lines(kept), tuple(sources), tokens(chosen))


def render_lines(found: Sequence[Saying]) -> str:
    """Sayings as lines, each heading once a line."""
    lines: dict[tuple[int, int], list[Saying]] = {}
    for said in found:
        lines.setdefault(said.line, []).append(said)
    texts = ((own[0].heading, SEPARATOR.join(said.text for said in own)) for _, own in sorted(lines.items()))
    return "\n".join(f"{heading}: {text}" if heading else text for heading, text in texts)


def _flat(text: str) -> str:
    """The text with white space as single spaces."""
    return " ".join(text.split())


def _saying(ledger: Ledger, fact: Entry, texts: Sequence[str], homes: Mapping[Span, int]) -> Saying:
    """A fact, with the place that its entity's name was first written at, and by `homes` the sentence it stands in."""
    known = ledger.entities[fact.entity]
    written = (span for span in known.mentions if texts[span.message][span.start : span.end] == known.name)
    place = fact.sources[-1]
    sources = (*islice(written, 1), place)
    return Saying((0, fact.entity), _flat(known.name), _flat(fact.text), sources, homes.get(place, -1))


def _covered(texts: Sequence[str], unit: Unit, spans: Sequence[Span]) -> float:
    """Share of a unit's words of weight that stand in one of the spans."""
    text = texts[unit.message]
    words = [(unit.start + a, unit.start + b) for _, a, b in content_words(text[unit.start : unit.end])]
    inside = sum(any(span.start <= a and b <= span.end for span in spans) for a, b in words)
    return inside / max(len(words), 1)
