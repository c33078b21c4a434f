"""What became of each name, number, identifier and constraint of the original."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from .conversation import Conversation
from .ledger import Ledger
from .records import Entity, Mention, Receipt, Span


def make_receipt(
    conversation: Conversation, mentions: Iterable[Mention], kept: Sequence[Span], ledger: Ledger | None = None
) -> Receipt:
    """Each mention under `kept` if all of it but white space was, `in_ledger` if a fact holds it, else `dropped`."""
    starts: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for span in kept:
        own = ends.setdefault(span.message, [])
        gap = conversation.messages[span.message].text[own[-1] : span.start] if own else ""
        if own and not gap.strip():  # rendering keeps white space between neighbours
            own[-1] = max(own[-1], span.end)
        else:
            starts.setdefault(span.message, []).append(span.start)
            own.append(span.end)
    there: list[Mention] = []
    gone: list[Mention] = []
    for mention in mentions:
        place = bisect_right(starts.get(mention.message, ()), mention.start) - 1
        survives = place >= 0 and ends[mention.message][place] >= mention.start + len(mention.text.rstrip())
        (there if survives else gone).append(mention)
    sources: dict[int, list[Span]] = {}
    for span in [span for fact in ledger.facts for span in fact.sources] if ledger is not None else ():
        sources.setdefault(span.message, []).append(span)
    recorded = {m for m in gone if any(span.contains(_span(m)) for span in sources.get(m.message, ()))}
    return Receipt(
        kept=tuple(there),
        in_ledger=tuple(mention for mention in gone if mention in recorded),
        dropped=tuple(mention for mention in gone if mention not in recorded),
    )


def known_entities(ledger: Ledger, kept: Iterable[Mention]) -> tuple[Entity, ...]:
    """The entities of a ledger with the messages that mention them; kept is one of which a mention is."""
    places = {_span(mention) for mention in kept}
    return tuple(
        Entity(
            known.name,
            known.type,
            tuple(dict.fromkeys(span.message for span in known.mentions)),
            any(span in places for span in known.mentions),
        )
        for known in ledger.entities
    )


def _span(mention: Mention) -> Span:
    return Span(mention.message, mention.start, mention.end)


def entities_of(mentions: Iterable[Mention], receipt: Receipt) -> tuple[Entity, ...]:
    """Mentions joined by their text, in order of their first occurrence; constraints are not entities."""
    first: dict[tuple[str, str], str] = {}
    turns: dict[tuple[str, str], list[int]] = {}
    for mention in mentions:
        if mention.type == "CONSTRAINT":
            continue
        key = (mention.type, mention.text.casefold())
        first.setdefault(key, mention.text)
        own = turns.setdefault(key, [])
        if not own or own[-1] != mention.message:
            own.append(mention.message)
    survivors = {(mention.type, mention.text.casefold()) for mention in receipt.kept}
    return tuple(Entity(text, key[0], tuple(turns[key]), key in survivors) for key, text in first.items())
