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
