"""Kept spans as text and as chat messages.

Nothing is written that was not there but labels, line breaks and markers of what was left out: always in structured
blocks, in the form of their content, and in messages of which nothing is left; elsewhere where they are asked for.
"""

from __future__ import annotations

import copy
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

from .budget import TokenCounter
from .conversation import Conversation, Message, text_part
from .frames import continues
from .omissions import NO_MARKERS, Markers
from .parts import Part
from .records import Span
from .segmentation import blocks_of, layout, splits_table
from .structure import closed, gap_text

Offsets = tuple[int, int]
Told = Mapping[Offsets, str]
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?:\s|$)|[。！？]")


def joint(gap: str) -> str:
    """What stands between two kept slices of a message for the text `gap` that was between them.

    White space stays as it was. Where text was left out, a line break stands if a line or a sentence ended there, else
    a space.
    """
    if gap.isspace():
        return gap
    return "\n" if "\n" in gap or _SENTENCE_END.search(gap) else " "


def joined(message: Message, spans: Sequence[Offsets], told: Told | None = None) -> str:
    """Slices of one message in order, with what stands for the gaps between them.

    Args:
        message: The message.
        spans: Half-open characters of its text, in order, without overlap.
        told: What markers say of gaps, by their first character and the one after their last; prose has no markers
            without it.
    """
    told = told or {}
    blocks = [part for part in layout(message) if part.parts and _is_closed(part, _touching(spans, part))]
    pieces: list[str] = []
    last: int | None = None
    for start, end in spans:
        if last is None or start > last:
            pieces.append(_between(message.text, blocks, last, start, told))
        pieces.append(message.text[start:end])
        last = end
    if last is not None and last < len(message.text):
        pieces.append(_between(message.text, blocks, last, None, told))
    return "".join(pieces)


def _touching(spans: Sequence[Offsets], part: Part) -> Sequence[Offsets]:
    """Those of ordered spans that share a character with a block."""
    low = bisect_right(spans, part.start, key=itemgetter(1))
    return spans[low : bisect_left(spans, part.end, low, key=itemgetter(0))]


def _block_at(blocks: Sequence[Part], place: int | None) -> Part | None:
    """The one of ordered blocks that a place lies within."""
    if place is None:
        return None
    number = bisect_left(blocks, place, key=attrgetter("start")) - 1
    return blocks[number] if number >= 0 and place < blocks[number].end else None


def _is_closed(part: Part, spans: Sequence[Offsets]) -> bool:
    """Whether of a block is kept what can stand alone; if not, its slices are joined like those of prose."""
    inside = [(max(start, part.start), min(end, part.end)) for start, end in spans]
    merged: list[Offsets] = []
    for start, end in inside:
        if start < end and merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        elif start < end:
            merged.append((start, end))
    return bool(merged) and closed(part, merged) == merged


def _between(text: str, blocks: Sequence[Part], last: int | None, start: int | None, told: Told) -> str:
    """What stands for the characters from the end of one kept slice to the start of the next, `None` at the borders."""
    first, end = last or 0, len(text) if start is None else start
    note = told.get((first, end), "")
    left, entered = _block_at(blocks, last), _block_at(blocks, start)
    if left is not None and left is entered:
        return gap_text(text, left, first, end, note)
    before = after = ""
    if left is not None:
        before, first, note = gap_text(text, left, first, left.end, note), left.end, ""
    if entered is not None:
        after, end, note = gap_text(text, entered, entered.start, end, note), entered.start, ""
    gap = joint(text[first:end]) if end > first else ""
    if last is None:
        middle = f"[… {note}]{gap}" if note else ""
    elif start is None:
        middle = f"{gap}[… {note}]" if note else ""
    else:
        middle = f"{gap}[… {note}]{gap}" if note else gap
    return before + middle + after


def render_text(conversation: Conversation, spans: Iterable[Span], markers: Markers = NO_MARKERS) -> str:
    """Kept spans as one text: a line a message, after the speaker's label.

    Args:
        conversation: The messages.
        spans: Non-overlapping, in order; an empty span shows that a message without text is kept.
        markers: What they say; without it there are none but in structured blocks.
    """
    lines: list[str] = []
    before = list(markers.before)
    for number, kept in _by_message(spans):
        message = conversation.messages[number]
        lines.extend(f"[… {note}]" for first, note in before if first < number)
        before = [(first, note) for first, note in before if first > number]
        body = joined(message, _filled(kept), markers.inside.get(number))
        if message.calls:
            body = " ".join(filter(None, (body, calls_text(message))))
        if body or (message.keeps_without_text and not message.text.strip()):
            lines.append(f"{message.label}: {body}" if message.label else body)
    lines.extend(f"[… {note}]" for _, note in before)
    return "\n".join(lines)


def render_messages(
    conversation: Conversation, spans: Iterable[Span], markers: Markers = NO_MARKERS
) -> list[dict[str, Any]]:
    """Kept spans as chat messages whose other fields are untouched.

    Messages of one speaker that come to stand side by side because what was between them is gone become one, so
    that roles alternate where they did before. Documents become user messages. A message of which nothing is kept but
    its place says so by a marker.
    """
    rendered: list[dict[str, Any]] = []
    previous: tuple[int, Message] | None = None
    before = list(markers.before)
    for number, kept in _by_message(spans):
        message = conversation.messages[number]
        content = _content(message, _filled(kept), markers.inside.get(number))
        if message.role in ("user", "assistant", "document"):
            notes = [f"[… {note}]" for first, note in before if first < number]
            before = [(first, note) for first, note in before if first > number]
            content = _merged("\n".join(notes), content) if notes else content
        if previous is not None and number > previous[0] + 1 and continues(previous[1], message):
            calls = {
                key: copy.deepcopy(message.raw[key]) for key in ("tool_calls", "function_call") if message.raw.get(key)
            }
            rendered[-1].update(content=_merged(rendered[-1]["content"], content), **calls)
        else:
            role = "user" if message.role == "document" else message.role
            rendered.append({**copy.deepcopy(dict(message.raw)), "role": role, "content": content})
        previous = (number, message)
    return rendered


def rendered_tokens(
    conversation: Conversation, spans: Sequence[Span], counter: TokenCounter, markers: Markers = NO_MARKERS
) -> int:
    """Exact tokens of what the caller gets: the messages where the counter has a chat template, else the text."""
    if not spans:
        return 0
    if counter.chat is not None and conversation.form == "messages":
        return counter.chat(render_messages(conversation, spans, markers))
    return counter.count(render_text(conversation, spans, markers))


def whole(conversation: Conversation, first: int = 0) -> list[Span]:
    """Spans that keep everything from message number `first` on."""
    return [Span(number, 0, len(message.text)) for number, message in enumerate(conversation.messages[first:], first)]


def _by_message(spans: Iterable[Span]) -> Iterable[tuple[int, list[Offsets]]]:
    for number, group in groupby(spans, key=lambda span: span.message):
        yield number, [(span.start, span.end) for span in group]


def _filled(kept: Iterable[Offsets]) -> list[Offsets]:
    return [(start, end) for start, end in kept if end > start]


def _blank(message: Message, told: Told) -> str:
    """What stands for a text of which nothing is kept."""
    if message.calls or not message.text.strip():
        return ""
    note = next(iter(told.values()), "")
    marker = f"… {note}" if note else "…"
    answer = message.answers is not None
    is_data = {kind for start, end, kind in blocks_of(message) if message.text[start:end].strip()} == {"json"}
    return json.dumps(marker, ensure_ascii=False) if answer and is_data else f"[{marker}]"


def _content(message: Message, kept: Sequence[Offsets], told: Told | None = None) -> Any:
    original = message.raw.get("content")
    if original is None:
        return None
    if not isinstance(original, (list, tuple)):
        return joined(message, kept, told) if kept else _blank(message, told or {})
    parts: list[Any] = []
    first = offset = 0  # characters of the last text part that was begun, and of all so far
    for part in original:
        text = text_part(part)
        if text is None:
            parts.append(copy.deepcopy(part))
            continue
        goes_on = bool(offset and parts) and text_part(parts[-1]) is not None and splits_table(message.text, offset)
        first, offset = first if goes_on else offset, offset + len(text)
        clipped = ((max(a, first), min(b, offset)) for a, b in kept)
        inside = [(a, b) for a, b in clipped if b > a]
        if not inside:
            continue
        value = joined(message, inside)
        if goes_on:  # a table's rows follow its header, whatever parts they came in
            before = parts.pop()
            parts.append(value if isinstance(before, str) else {**before, "text": value})
        else:
            parts.append(value if isinstance(part, str) else {**copy.deepcopy(dict(part)), "text": value})
    if not parts and message.text.strip():
        parts.append({"type": "text", "text": _blank(message, told or {}) or "[…]"})
    return parts


def _merged(before: Any, content: Any) -> Any:
    """Two contents as one: strings on two lines, the parts of both where one has parts."""
    if not before or not content:
        return before or content
    if isinstance(before, str) and isinstance(content, str):
        return f"{before}\n{content}"
    return [
        part
        for each in (before, content)
        for part in ([{"type": "text", "text": each}] if isinstance(each, str) else each)
    ]


def calls_text(message: Message) -> str:
    """Tool calls as text: name and arguments as they were given."""
    shown = []
    for call in message.raw.get("tool_calls") or ():
        function = call.get("function", call)
        shown.append(f"{function.get('name', '')}({function.get('arguments', '')})")
    legacy = message.raw.get("function_call")
    if isinstance(legacy, Mapping):
        shown.append(f"{legacy.get('name', '')}({legacy.get('arguments', '')})")
    return " ".join(shown)
