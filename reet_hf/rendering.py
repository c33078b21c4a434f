"""Kept spans as text and as chat messages; nothing is written that was not there but labels and line breaks."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from .budget import TokenCounter
from .conversation import Conversation, Message, text_part
from .records import Span

Offsets = tuple[int, int]
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?:\s|$)|[。！？]")


def joint(gap: str) -> str:
    """What stands between two kept slices of a message for the text `gap` that was between them.

    White space stays as it was. Where text was left out, a line break stands if a line or a sentence ended there, else
    a space.
    """
    if gap.isspace():
        return gap
    return "\n" if "\n" in gap or _SENTENCE_END.search(gap) else " "


def joined(message: Message, spans: Sequence[Offsets]) -> str:
    """Slices of one message in order, with what `joint` puts between them."""
    pieces: list[str] = []
    last: int | None = None
    for start, end in spans:
        if last is not None and start > last:
            pieces.append(joint(message.text[last:start]))
        pieces.append(message.text[start:end])
        last = end
    return "".join(pieces)


def render_text(conversation: Conversation, spans: Iterable[Span]) -> str:
    """Kept spans as one text: a line a message, after the speaker's label.

    Args:
        conversation: The messages.
        spans: Non-overlapping, in order; an empty span shows that a message without text is kept.
    """
    lines = []
    for number, kept in _by_message(spans):
        message = conversation.messages[number]
        body = joined(message, kept)
        if message.calls:
            body = " ".join(filter(None, (body, _calls_text(message))))
        lines.append(f"{message.label}: {body}" if message.label else body)
    return "\n".join(lines)


def render_messages(conversation: Conversation, spans: Iterable[Span]) -> list[dict[str, Any]]:
    """Kept spans as chat messages whose other fields are untouched.

    Messages of one speaker that come to stand side by side because what was between them is gone become one, so
    that roles alternate where they did before. Documents become user messages.
    """
    rendered: list[dict[str, Any]] = []
    previous: tuple[int, Message] | None = None
    for number, kept in _by_message(spans):
        message = conversation.messages[number]
        content = _content(message, kept)
        if previous is not None and number > previous[0] + 1 and _continues(previous[1], message):
            calls = {
                key: copy.deepcopy(message.raw[key]) for key in ("tool_calls", "function_call") if message.raw.get(key)
            }
            rendered[-1].update(content=_merged(rendered[-1]["content"], content), **calls)
        else:
            role = "user" if message.role == "document" else message.role
            rendered.append({**copy.deepcopy(dict(message.raw)), "role": role, "content": content})
        previous = (number, message)
    return rendered


def rendered_tokens(conversation: Conversation, spans: Sequence[Span], counter: TokenCounter) -> int:
    """Exact tokens of what the caller gets: the messages where the counter has a chat template, else the text."""
    if not spans:
        return 0
    if counter.chat is not None and conversation.form == "messages":
        return counter.chat(render_messages(conversation, spans))
    return counter.count(render_text(conversation, spans))


def whole(conversation: Conversation, first: int = 0) -> list[Span]:
    """Spans that keep everything from message number `first` on."""
    return [Span(number, 0, len(message.text)) for number, message in enumerate(conversation.messages[first:], first)]


def _by_message(spans: Iterable[Span]) -> Iterable[tuple[int, list[Offsets]]]:
    for number, group in groupby(spans, key=lambda span: span.message):
        yield number, [(span.start, span.end) for span in group]


def _content(message: Message, kept: Sequence[Offsets]) -> Any:
    original = message.raw.get("content")
    if original is None:
        return None
    if not isinstance(original, (list, tuple)):
        return joined(message, kept)
    parts: list[Any] = []
    offset = 0
    for part in original:
        text = text_part(part)
        if text is None:
            parts.append(copy.deepcopy(part))
            continue
        clipped = ((max(a, offset), min(b, offset + len(text))) for a, b in kept)
        inside = [(a, b) for a, b in clipped if b > a]
        offset += len(text)
        if inside:
            value = joined(message, inside)
            parts.append(value if isinstance(part, str) else {**copy.deepcopy(dict(part)), "text": value})
    return parts


def _continues(before: Message, message: Message) -> bool:
    same = (before.role, before.name) == (message.role, message.name) and message.role in ("user", "assistant")
    return same and not before.calls


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


def _calls_text(message: Message) -> str:
    """Tool calls as text: name and arguments as they were given."""
    shown = []
    for call in message.raw.get("tool_calls") or ():
        function = call.get("function", call)
        shown.append(f"{function.get('name', '')}({function.get('arguments', '')})")
    legacy = message.raw.get("function_call")
    if isinstance(legacy, Mapping):
        shown.append(f"{legacy.get('name', '')}({legacy.get('arguments', '')})")
    return " ".join(shown)
