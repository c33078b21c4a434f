"""What must stand with what is kept so that the result is well formed.

Brackets, headers and fences of a structured block; a tool call and all of its results, the short ones whole; messages
that keep roles in an order which providers accept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from .conversation import Conversation, Message
from .records import Span
from .segmentation import SHORT_RESULT, layout
from .structure import closed

Offsets = tuple[int, int]
SYSTEM = ("system", "developer")


def framed(conversation: Conversation, spans: Iterable[Span], prompt: bool = False) -> list[Span]:
    """`spans` with all that must stand beside them, in order; an empty span is a message of which nothing is kept.

    Args:
        conversation: The messages.
        spans: What is kept, in order, without overlap.
        prompt: Whether the messages go to a model as they are, so that the last one, which asks for an answer, must
            stay the last.
    """
    kept = {number: list(own) for number, own in groupby(spans, key=lambda span: span.message)}
    if not kept:
        return []
    places = {number: _in_message(number, conversation.messages[number], own) for number, own in kept.items()}
    if conversation.form == "messages":
        for number in _beside(conversation, places, prompt):
            message = conversation.messages[number]
            if number not in places or message.is_exchange:
                whole = Span(number, 0, len(message.text) if is_short_exchange(message) else 0)
                places[number] = [whole] if whole.end else places.get(number, [whole])
    return [span for number in sorted(places) for span in places[number]]


def standing(conversation: Conversation, spans: Iterable[Span]) -> list[Span]:
    """`spans` with the frames of the structured blocks that they touch, whatever else a conversation needs."""
    kept = groupby(spans, key=lambda span: span.message)
    return [span for number, own in kept for span in _in_message(number, conversation.messages[number], list(own))]


def _in_message(number: int, message: Message, own: Sequence[Span]) -> list[Span]:
    """Kept spans of one message with the frames of the blocks that they touch."""
    left = [span for span in own if span.end > span.start]
    found: list[Span] = []
    place = 0
    for part in layout(message):
        while place < len(left) and left[place].end <= part.start:
            found.append(left[place])
            place += 1
        after = place
        while after < len(left) and left[after].start < part.end:
            after += 1
        touching = left[place:after]
        if not touching:
            continue
        beyond = touching[-1].end > part.end
        if any(span.start <= part.start and part.end <= span.end for span in touching):
            found += touching[: len(touching) - beyond]  # a span that goes on may touch the next block
        else:
            if touching[0].start < part.start:
                found.append(Span(number, touching[0].start, part.start))
            inside = [(max(span.start, part.start), min(span.end, part.end)) for span in touching]
            found += [Span(number, start, end) for start, end in closed(part, inside)]
            if beyond:
                left[after - 1] = Span(number, part.end, touching[-1].end)
        place = after - beyond
    found += left[place:]
    return found or [Span(number, 0, 0)]


def _beside(conversation: Conversation, kept: Iterable[int], prompt: bool) -> set[int]:
    """Messages that must stand beside the kept ones: of a tool call all results, and those that order roles."""
    messages = conversation.messages
    numbers = set(kept)
    if prompt and _speaker(messages[-1]) in ("user", "tool"):
        numbers.add(len(messages) - 1)
    numbers = _exchanges(conversation, numbers)
    return _exchanges(conversation, numbers | _bridges(messages, sorted(numbers)))


def _exchanges(conversation: Conversation, numbers: set[int]) -> set[int]:
    """Messages with all of the tool exchanges that they are part of."""
    opened = {conversation.homes[number] for number in numbers}
    return numbers | {number for number, home in enumerate(conversation.homes) if home in opened}


def is_short_exchange(message: Message) -> bool:
    """Whether a message is part of a tool exchange and so short that it stands whole with the rest of it."""
    return message.is_exchange and len(message.text) < SHORT_RESULT


def _speaker(message: Message) -> str:
    return {"developer": "system", "function": "tool", "document": "user"}.get(message.role, message.role)


def _bridges(messages: Sequence[Message], numbers: Sequence[int]) -> set[int]:
    """Left out messages without which an order of roles would arise that the conversation did not have.

    Providers refuse a conversation that begins with an answer, a user's message right after a tool result, and two
    answers or two questions in a row.
    """
    roles = [_speaker(message) for message in messages]
    usual = set(pairwise(roles))
    opening = next((n for n, role in enumerate(roles) if role != "system"), len(roles))
    wanted_between = {("tool", "user"): "assistant", ("assistant", "assistant"): "user", ("user", "user"): "assistant"}
    found: set[int] = set()
    last: int | None = None
    shown: int | None = None
    for number in numbers:
        before, shown = shown, number
        role = roles[number]
        if role == "system":
            continue
        if last is None:
            low, wanted = opening, "user" if roles[opening] == "user" and role != "user" else ""
        else:
            pair = (roles[last], role)
            merges = before == last and number > last + 1 and continues(messages[last], messages[number])
            low, wanted = last + 1, "" if merges or pair in usual else wanted_between.get(pair, "")
        if wanted:
            fitting = [n for n in range(number - 1, low - 1, -1) if roles[n] == wanted]
            plain = [n for n in fitting if not messages[n].calls]
            found.update((plain or fitting)[:1])
        last = number
    return found


def continues(before: Message, message: Message) -> bool:
    """Whether a message becomes one with the one before it where what stood between them is gone."""
    same = (before.role, before.name) == (message.role, message.name) and message.role in ("user", "assistant")
    return same and not before.calls
