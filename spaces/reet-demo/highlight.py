"""The original as HTML: what was kept is underlined and shaded by importance, the rest dimmed, with reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markup import shown
from reasons import Reasons
from reply import Reply

EXPLAINED = 4000  # pieces up to which all reasons are told; the page would be too heavy with more
LATER_STOP, FIRST_STOP = 'tabindex="-1"', 'tabindex="0"'  # all pieces are one stop of the Tab key, see page.js
LEGEND = (
    '<div class="legend" aria-label="Legend"><span class="scale"><span>Kept, less likely needed</span>'
    + "".join(f'<mark class="k{level}" aria-hidden="true">&nbsp;&nbsp;</mark>' for level in range(1, 6))
    + '<span>more likely</span></span><span class="dropped">left out</span>'
    '<span class="hint">Point at a word, tap it, or move with the arrow keys to see why.</span></div>'
)


def highlight(reply: Reply) -> str:
    """The whole conversation, message by message."""
    reasons = Reasons(reply)
    kept_calls = {call.get("id") for message in reply.result["messages"] for call in message.get("tool_calls") or ()}
    pieces: dict[int, list[Mapping[str, Any]]] = {}
    for piece in reply.result["pieces"]:
        pieces.setdefault(piece["message"], []).append(piece)
    turns = []
    for number, message in enumerate(reply.messages):
        said = highlight_text(reply, reasons, number, pieces.get(number, ()))
        calls = "".join(call_html(call, call.get("id") in kept_calls) for call in message.raw.get("tool_calls") or ())
        label = shown(message.label or f"part {number + 1}")
        turns.append(
            f'<div class="turn"><div class="who"><span class="number">{number + 1}</span> {label}</div>'
            f"<div>{said}{calls}</div></div>"
        )
    return (
        f'<div class="reet">{LEGEND}<div class="original" role="region" aria-label="The original with what was kept">'
        f"{''.join(turns).replace(LATER_STOP, FIRST_STOP, 1)}</div></div>"
    )


def highlight_text(reply: Reply, reasons: Reasons, number: int, pieces: Sequence[Mapping[str, Any]]) -> str:
    """One message's text, `pieces` of it marked."""
    text = reply.messages[number].text
    parts: list[str] = []
    last = 0
    for piece in pieces:
        start, end = piece["start"], piece["end"]
        parts.extend(dropped(reply, reasons, number, last, start))
        if start < end:
            said = reasons.of_kept(piece) if len(reasons.ranks) <= EXPLAINED else reasons.of_kept(piece)[:1]
            why = shown("\n".join(said))
            parts.append(
                f'<mark class="k{reasons.level(piece)}" tabindex="-1" data-why="{why}">{shown(text[start:end])}</mark>'
            )
        last = end
    parts.extend(dropped(reply, reasons, number, last, len(text)))
    return f'<div class="said">{"".join(parts)}</div>' if text else ""


def dropped(reply: Reply, reasons: Reasons, number: int, start: int, end: int) -> Iterator[str]:
    """Text that was left out, dimmed, a part for each sentence."""
    text = reply.messages[number].text
    explained = len(reasons.ranks) <= EXPLAINED
    while start < end:
        stop = reasons.border(number, start, end)
        part = text[start:stop]
        if not part.strip():
            yield part
        elif explained:
            why = shown("\n".join(reasons.of_dropped(number, start, stop)))
            yield f'<span class="dropped" data-why="{why}">{shown(part)}</span>'
        else:
            yield f'<span class="dropped">{shown(part)}</span>'
        start = stop


def call_html(call: Mapping[str, Any], kept: bool) -> str:
    """One tool call; the calls of a message are kept or dropped as a whole."""
    function = call.get("function", call)
    text = shown(f"{function.get('name', '')}({function.get('arguments', '')})")
    if kept:
        why = "Kept: tool calls stand with their results"
        return f'<div class="call"><mark class="k3" tabindex="-1" data-why="{why}">{text}</mark></div>'
    why = "Left out: tool calls fall with their results"
    return f'<div class="call"><span class="dropped" data-why="{why}">{text}</span></div>'
