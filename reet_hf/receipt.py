"""What became of each name, number, identifier and constraint of the original."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from .conversation import Conversation
from .records import Entity, Mention, Receipt, Span


def make_receipt(conversation: Conversation, mentions: Iterable[Mention], kept: Sequence[Span]) -> Receipt:
    """Each mention under `kept` if all of it but white space was, else under `dropped`."""
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
    return Receipt(kept=tuple(there), dropped=tuple(gone))


def entities_of(receipt: Receipt) -> tuple[Entity, ...]:
    """Mentions joined by their text, in order of their first occurrence; constraints are not entities."""
    turns: dict[tuple[str, str], tuple[str, set[int]]] = {}
    survivors = {(mention.type, mention.text.casefold()) for mention in receipt.kept}
    for mention in sorted((*receipt.kept, *receipt.dropped), key=lambda m: (m.message, m.start)):
        if mention.type != "CONSTRAINT":
            key = (mention.type, mention.text.casefold())
            turns.setdefault(key, (mention.text, set()))[1].add(mention.message)
    return tuple(
        Entity(text, key[0], tuple(sorted(messages)), key in survivors) for key, (text, messages) in turns.items()
    )
