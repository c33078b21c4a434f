"""What became of each name, number, identifier and constraint of the original."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress

import numpy as np

from .conversation import Conversation
from .records import Entity, Mention, Receipt, Span


def make_receipt(mentions: Sequence[Mention], survives: np.ndarray, recorded: np.ndarray) -> Receipt:
    """Each mention under `kept` if it survives, `in_ledger` if a fact holds it, else `dropped`.

    Args:
        mentions: What there is to account for.
        survives: Whether all of each but white space was kept, of shape `(mentions,)`.
        recorded: Whether a fact holds it, of the same shape.
    """
    headings = (survives, recorded & ~survives, ~(survives | recorded))
    return Receipt(*(tuple(compress(mentions, heading.tolist())) for heading in headings))


def merged_places(conversation: Conversation, kept: Sequence[Span]) -> np.ndarray:
    """Kept spans as `(message, start, end)`, those that only white space parts as one, as rendering shows them."""
    found: list[list[int]] = []
    for span in kept:
        last = found[-1] if found and found[-1][0] == span.message else None
        if last is not None and not conversation.messages[span.message].text[last[2] : span.start].strip():
            last[2] = max(last[2], span.end)
        else:
            found.append([span.message, span.start, span.end])
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def inside(places: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Whether each place lies within one of the spans, of shape `(places,)`.

    Args:
        places: Message, first character and character after the last, of shape `(places, 3)`.
        spans: The same of spans in any order, which may overlap.
    """
    if not len(places) or not len(spans):
        return np.zeros(len(places), dtype=bool)
    stride = int(max(places[:, 1:].max(), spans[:, 1:].max())) + 1
    order = np.lexsort((spans[:, 1], spans[:, 0]))
    firsts = spans[order, 0] * stride + spans[order, 1]
    lasts = np.maximum.accumulate(spans[order, 0] * stride + spans[order, 2])
    before = np.searchsorted(firsts, places[:, 0] * stride + places[:, 1], side="right") - 1
    return (before >= 0) & (lasts[before] >= places[:, 0] * stride + places[:, 2])


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
