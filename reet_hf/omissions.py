"""What was left out, each part under a short id that is the same whenever the same part is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby

from .conversation import Conversation
from .records import Omission, Span

ID_DIGITS = 6
SMALL = 80  # characters; shorter gaps of a message are one omission together, and no marker shows them


@dataclass(frozen=True)
class Gaps:
    """What was left out of a conversation.

    Attributes:
        places: The omissions as spans, each in order.
        whole: Messages that were left out as a whole.
    """

    places: tuple[tuple[Span, ...], ...]
    whole: frozenset[int]


def gaps(conversation: Conversation, kept: Sequence[Span]) -> Gaps:
    """What `kept` leaves out: long gaps one by one, the short ones of a message together, messages in runs.

    Args:
        conversation: The messages.
        kept: Spans in order, without overlap.
    """
    inside = {number: list(own) for number, own in groupby(kept, key=lambda span: span.message)}
    found: list[tuple[Span, ...]] = []
    whole: set[int] = set()
    run: list[Span] = []
    for number, message in enumerate(conversation.messages):
        if number not in inside:
            whole.add(number)
            if message.text.strip() or message.keeps_without_text:
                run.append(Span(number, 0, len(message.text)))
            continue
        if run:
            found.append(tuple(run))
            run = []
        left = list(_left_out(number, message.text, inside[number]))
        found.extend((span,) for span in left if span.end - span.start > SMALL)
        if small := tuple(span for span in left if span.end - span.start <= SMALL):
            found.append(small)
    if run:
        found.append(tuple(run))
    return Gaps(tuple(sorted(found)), frozenset(whole))


def _left_out(number: int, text: str, kept: Iterable[Span]) -> Iterable[Span]:
    last = 0
    for start, end in [*((span.start, span.end) for span in kept), (len(text), len(text))]:
        if start > last and not text[last:start].isspace():
            yield Span(number, last, start)
        last = max(last, end)


def omission_id(places: Sequence[Span], digits: int = ID_DIGITS) -> str:
    """Hex digits that name places, the same in every call."""
    told = ";".join(f"{span.message}:{span.start}-{span.end}" for span in places)
    return sha256(told.encode()).hexdigest()[:digits]


def omissions(left: Gaps, costs: Callable[[Sequence[Span]], Iterable[int]]) -> tuple[Omission, ...]:
    """The omissions with their ids and tokens, in order.

    Args:
        left: What was left out.
        costs: Estimated tokens of each of several spans.
    """
    spans = [span for own in left.places for span in own]
    prices = iter(costs(spans))
    taken: set[str] = set()
    found = []
    for own in left.places:
        digits = ID_DIGITS
        while (name := omission_id(own, digits)) in taken:
            digits += 1
        taken.add(name)
        found.append(Omission(name, sum(int(next(prices)) for _ in own), own))
    return tuple(found)


@dataclass(frozen=True)
class Markers:
    """What markers say of what was left out.

    Attributes:
        inside: For each kept message what stands for its gaps, by their half-open characters.
        before: What stands for messages that are gone, with the number of the first of them, in order.
    """

    inside: Mapping[int, Mapping[tuple[int, int], str]] = field(default_factory=dict)
    before: tuple[tuple[int, str], ...] = ()

    @classmethod
    def of(cls, left: Gaps, found: Iterable[Omission]) -> Markers:
        """The markers of omissions that are long enough to be shown."""
        inside: dict[int, dict[tuple[int, int], str]] = {}
        before: list[tuple[int, str]] = []
        for omission in found:
            first = omission.spans[0]
            note = f"{omission.tokens:,} tokens, id {omission.id}"
            if first.message in left.whole:
                before.append((first.message, note))
            elif first.end - first.start > SMALL:
                inside.setdefault(first.message, {})[first.start, first.end] = note
        return cls(inside, tuple(before))


NO_MARKERS = Markers()
