"""What is said of whom, as a table and as a graph, with values that a later one has replaced struck through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any

from markup import broken, note, shown, table
from reply import Reply

from reet_hf.lexicon import content_words
from reet_hf.metrics import KeptText

MOST_ENTITIES = 9  # of the graph
MOST_FACTS = 3  # of each of them
LINE = 17  # height of a line of text
LETTER, BOLD = 7.0, 8.0  # width of a letter, about
WIDE, NARROW = (1000, 230), (340, 126)  # width of the graph and of an entity in it

Facts = Mapping[str, Sequence[Mapping[str, Any]]]


def ledger_table(reply: Reply) -> str:
    """Every fact with its place, whether it still holds, and whether its words were kept."""
    facts: Facts = reply.result["facts"]
    if not facts:
        return note("No facts were found in this conversation.")
    kept, texts = KeptText(reply.kept), reply.texts
    rows = []
    for entity, said in facts.items():
        for number, fact in enumerate(said):
            found, total = kept.words(texts, fact)
            stands = "yes" if found == total else "in part" if found else "no"
            text = broken(shown(fact["text"]))
            rows.append(
                [
                    f"<b>{shown(entity)}</b>" if not number else f'<span class="again">{shown(entity)}</span>',
                    text if fact["current"] else f"<s>{text}</s> <em>replaced later</em>",
                    str(fact["message"] + 1),
                    stands,
                ]
            )
    caption = (
        f"{len(rows)} facts about {len(facts)} entities by message number; struck through: replaced by a later value"
    )
    return f'<div class="reet">{table(caption, ["Entity", "What is said", "No.", "Kept"], rows)}</div>'


def ledger_graph(reply: Reply) -> str:
    """The entities of which most is said with their facts, for a wide and for a narrow screen."""
    facts: Facts = reply.result["facts"]
    if not facts:
        return note("No facts were found in this conversation.")
    chosen = weightiest(facts)
    hidden = len(facts) - len(chosen)
    told = f"{len(chosen)} of {len(facts)} entities, those of which most is said" if hidden else "All entities"
    return (
        f'<div class="reet"><p class="note">{told}. Struck through: replaced by a later value. '
        f"After an arrow: another entity that the fact names.</p>"
        f'<div class="wide-only">{graph(chosen, *WIDE)}</div>'
        f'<div class="narrow-only">{graph(chosen, *NARROW)}</div></div>'
    )


def weightiest(facts: Facts) -> dict[str, list[Mapping[str, Any]]]:
    """Entities with replaced values first, then those of which most is said in more than a word; some facts of each."""

    def weight(name: str) -> tuple[bool, int]:
        return any(not fact["current"] for fact in facts[name]), sum(map(says_much, facts[name]))

    order = sorted(facts, key=weight, reverse=True)
    return {name: shortened(facts[name]) for name in order[:MOST_ENTITIES]}


def says_much(fact: Mapping[str, Any]) -> bool:
    """Whether a fact has more than one word that carries meaning."""
    return len(content_words(fact["text"])) > 1


def shortened(said: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A few facts of one entity, in order: replaced ones, what says most, the latest."""
    ranked = sorted(range(len(said)), key=lambda n: (said[n]["current"], not says_much(said[n]), -n))
    chosen = ranked[:MOST_FACTS]
    if said and len(said) - 1 not in chosen and any(not said[n]["current"] for n in chosen):
        chosen[-1] = len(said) - 1  # what took the place of a replaced value
    return [said[number] for number in sorted(chosen)]


@dataclass(frozen=True)
class Box:
    """A rectangle with lines of text."""

    lines: tuple[str, ...]
    left: float
    top: float
    width: float

    @property
    def height(self) -> float:
        """Of the whole box."""
        return len(self.lines) * LINE + 12

    @property
    def middle(self) -> float:
        """The vertical middle."""
        return self.top + self.height / 2

    def svg(self, kind: str, title: str) -> str:
        """The rectangle and its text."""
        rows = "".join(
            f'<tspan x="{self.left + 9:.0f}" y="{self.top + 6 + LINE * (number + 0.78):.0f}">{shown(line)}</tspan>'
            for number, line in enumerate(self.lines)
        )
        return (
            f'<g class="{kind}"><title>{shown(title)}</title><rect x="{self.left:.0f}" y="{self.top:.0f}" '
            f'width="{self.width:.0f}" height="{self.height:.0f}" rx="7"/><text>{rows}</text></g>'
        )


def box(text: str, left: float, top: float, width: float, most: int = 4, fit: bool = True) -> Box:
    """A box for a text, which is cut after `most` lines; one that is to `fit` may be narrower than `width`."""
    lines = wrap(" ".join(text.split()), max(int((width - 18) / (LETTER if fit else BOLD)), 6)) or [""]
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1][:-1]}…"]
    longest = max(map(len, lines)) * LETTER + 20
    return Box(tuple(lines), left, top, min(width, longest) if fit else width)


def graph(facts: Facts, width: int, entity_width: int) -> str:
    """Entities on the left, what is said of them on the right, lines between them."""
    left = entity_width + (70 if width > 500 else 26)
    entities: list[tuple[str, Box]] = []
    said: list[tuple[Box, str, Mapping[str, Any], Box]] = []
    top = 4.0
    for name, own in facts.items():
        first, boxes = top, []
        for fact in own:
            boxes.append(box(told(name, fact, facts), left, top, width - left - 2))
            top += boxes[-1].height + 6
        entity = box(name, 1, 0, entity_width, fit=False)
        entity = replace(entity, top=max(first, (first + top - 6 - entity.height) / 2))
        entities.append((name, entity))
        said.extend((entity, name, fact, place) for fact, place in zip(own, boxes, strict=True))
        top = max(top, entity.top + entity.height + 6) + 12
    shapes = [edge(entity, place, fact["current"]) for entity, _, fact, place in said]
    shapes.extend(entity.svg("node", name) for name, entity in entities)
    for _, name, fact, place in said:
        title = f"{name}: {fact['text']} (message {fact['message'] + 1}{'' if fact['current'] else ', replaced later'})"
        shapes.append(place.svg("fact" if fact["current"] else "fact replaced", title))
    return (
        f'<svg class="graph" viewBox="0 0 {width} {top:.0f}" width="{width}" height="{top:.0f}" role="img" '
        f'aria-label="Entities and what is said of them; the table has the same as text">{"".join(shapes)}</svg>'
    )


def told(name: str, fact: Mapping[str, Any], facts: Facts) -> str:
    """A fact as the graph shows it: its words, and the other entities of the graph that they name."""
    words = f" {' '.join(fact['text'].casefold().split())} "
    named = [other for other in facts if other != name and f" {other.casefold()} " in words]
    return f"{fact['text']} → {', '.join(named)}" if named else fact["text"]


def edge(entity: Box, fact: Box, current: bool) -> str:
    """A line from an entity to a fact."""
    start, end = entity.left + entity.width, fact.left
    bend = (end - start) / 2
    kind = "edge" if current else "edge old"
    return (
        f'<path class="{kind}" d="M{start:.0f} {entity.middle:.0f} C{start + bend:.0f} {entity.middle:.0f} '
        f'{end - bend:.0f} {fact.middle:.0f} {end:.0f} {fact.middle:.0f}"/>'
    )
