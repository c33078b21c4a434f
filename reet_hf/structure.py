"""Structured text with parts left out: JSON that still parses, tables with their header, code between its fences.

A block is a tree of parts whose leaves are kept or left out. `closed` adds to what is kept all that must stand with
it: brackets, keys, headers, fences, separators. `gap_text` says in the form of the content what was left out.
"""

from __future__ import annotations

import csv
import io
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from .diffs import diff_part
from .fences import code_part
from .json_structure import json_part, member_count, string_length
from .listings import listing_part
from .logs import log_part
from .parts import LEAF, Offsets, Part, leaf, line_count, trim
from .tables import table_part
from .traces import trace_part

KINDS: dict[str, Callable[[str, int, int], Part]] = {
    "json": json_part,
    "table": table_part,
    "code": code_part,
    "diff": diff_part,
    "listing": listing_part,
    "log": log_part,
    "trace": trace_part,
}
"""Kinds of blocks that have parts, and what finds them."""

_NAMES = {"array": "item", "map": "member", "string": "character", "table": "row", "lines": "line"}


def structure(text: str, start: int, end: int, kind: str) -> Part:
    """The parts of the block `text[start:end]`.

    Args:
        text: The text of one message.
        start, end: The block, without white space around it.
        kind: One of `KINDS`; a block of any other kind, and one of less than 240 characters, is one leaf.
    """
    parse = KINDS.get(kind)
    return leaf(start, end) if parse is None or end - start < LEAF else parse(text, start, end)


def leaves(part: Part) -> list[Part]:
    """The leaves of a tree in order; their kind is `"leaf"` or `"repeat"`."""
    return [part] if not part.parts else [found for child in part.parts for found in leaves(child)]


def leaf_borders(part: Part) -> list[int]:
    """Where each leaf of a tree begins, in order: the first one of a container at what leads the container."""
    if not part.parts:
        return [part.start]
    inner = [border for child in part.parts for border in leaf_borders(child)]
    return [part.start, *inner[1:]]


def frame(part: Part) -> list[Offsets]:
    """Characters of a container that stand wherever it does.

    What separates the parts of a container is not counted: it stands between two parts that are both kept.
    """
    ends = [(child.start, child.end) for child in part.parts]
    if part.kind != "record":
        ends = [(ends[0][0], ends[-1][1])]
    borders = [part.start, *(border for span in ends for border in span), part.end]
    return [(start, end) for start, end in zip(borders[::2], borders[1::2], strict=True) if end > start]


def closed(part: Part, kept: Sequence[Offsets]) -> list[Offsets]:
    """What stands if the characters `kept` of a block do: whole leaves, the frames around them, what separates them.

    Args:
        part: The block.
        kept: Spans in order without overlap; a leaf that one of them touches is kept whole.

    Returns:
        Spans in order with something left out between any two; none if nothing of the block was kept. They hold all of
        `kept` that lies in the block but separators of parts of which one is left out.
    """
    merged: list[Offsets] = []
    for start, end in _Closure(kept).spans(part):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def gaps(part: Part, spans: Sequence[Offsets]) -> list[Offsets]:
    """What `closed` spans leave out of a block, before the first and after the last of them too."""
    borders = [part.start, *(border for span in spans for border in span), part.end]
    return [(start, end) for start, end in zip(borders[::2], borders[1::2], strict=True) if end > start]


def gap_text(text: str, part: Part, start: int, end: int, note: str = "") -> str:
    """What stands for the characters `start` to `end`: a marker in the form of the content, and separators.

    Args:
        text: The text of the message.
        part: The block.
        start, end: One of the `gaps` of what `closed` returned for the block.
        note: What the marker says besides how much was left out.
    """
    node, note = _around(part, start, end), " ".join(note.split())
    first = bisect_right(node.parts, start, key=lambda child: child.end)
    last = bisect_left(node.parts, end, key=lambda child: child.start) - 1
    if last < first:
        return text[start:end]
    if node.kind == "record":
        return _record_marker(text, node, start, end, note)
    low, high = node.parts[first].start, min(end, node.parts[last].end)
    if low < start:  # the first part is left out only from here on
        low = trim(text, start, high)[0]
    amount = _amount(text, node, first, last, start, low, high)
    words = f"{amount}, {note}" if note else amount
    if node.kind == "map":
        number = "" if last == len(node.parts) - 1 else f" {first + 1}"
        marker = f'"{node.mark}{number}": {json.dumps(words, ensure_ascii=False)}'
    else:
        marker = node.mark.replace("{}", _written(f"… {words}", node))
    return text[start:low] + marker + text[high:end]


class _Closure:
    """Spans that stand for parts of a tree, given the spans that are kept."""

    def __init__(self, kept: Sequence[Offsets]) -> None:
        self.starts = [start for start, end in kept if end > start]
        self.ends = [end for start, end in kept if end > start]

    def _kept(self, start: int, end: int) -> bool:
        place = bisect_right(self.ends, start)
        return place < len(self.starts) and self.starts[place] < end and start < end

    def spans(self, part: Part) -> list[Offsets]:
        """What stands of a part, which is nothing if no character of a leaf or a frame in it is kept."""
        if not self._kept(part.start, part.end):
            return []
        if not part.parts:
            return [(part.start, part.end)]
        inner = [self.spans(child) for child in part.parts]
        standing = frame(part)
        alive = any(inner) or any(self._kept(*span) for span in self._telling(part, standing))
        if not alive:
            return []
        if part.kind == "record":
            return sorted(
                [
                    *standing,
                    *(
                        span
                        for child, found in zip(part.parts, inner, strict=True)
                        for span in found or _outline(child)
                    ),
                ]
            )
        found = [(part.start, part.parts[0].start)]
        for number, spans in enumerate(inner):
            if number and spans and inner[number - 1]:
                found.append((part.parts[number - 1].end, part.parts[number].start))
            found.extend(spans)
        return [*found, (part.parts[-1].end, part.end)]

    def _telling(self, part: Part, standing: list[Offsets]) -> list[Offsets]:
        """The frame without what `_outline` keeps of a record that is not kept."""
        if part.kind != "record":
            return standing
        spans = [(max(start, part.start + 1), min(end, part.end - 1)) for start, end in standing]
        return [span for span in spans if span[1] > span[0]]


def _outline(part: Part) -> list[Offsets]:
    """What stands of a part of a record of which nothing was kept."""
    if not part.parts:
        return []
    if part.kind == "record":
        return [(part.start, part.start + 1), (part.end - 1, part.end)]
    return frame(part)


def _around(part: Part, start: int, end: int) -> Part:
    """The innermost container in which parts can have been left out there."""
    while True:
        place = bisect_right(part.parts, start, key=lambda child: child.end)
        child = part.parts[place] if place < len(part.parts) else None
        if child is None or not child.parts:
            return part
        inner = (child.parts[0].start, child.parts[-1].end)
        if child.kind == "record":
            inner = (child.start + 1, child.end - 1)
        if not (inner[0] <= start and end <= inner[1]):
            return part
        part = child


def _amount(text: str, node: Part, first: int, last: int, start: int, low: int, high: int) -> str:
    """How much was left out, in words."""
    left = node.parts[first : last + 1]
    if len(left) == 1 and left[0].kind == "repeat" and first and start == node.parts[first - 1].end:
        before = line_count(text[node.parts[first - 1].start : start])
        above = "line" if before == 1 else f"{before} lines"
        return f"the {above} above {int(left[0].mark):,} more time{'s' * (left[0].mark != '1')}"
    if node.kind == "string":
        count = string_length(text[low:high])
    elif node.kind in ("array", "map"):
        count = sum(int(child.mark or 1) if not child.parts else 1 for child in left)
    else:
        count = line_count(text[low:high])
    return _counted(count, _NAMES[node.kind])


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' * (count != 1)}"


def _written(words: str, node: Part) -> str:
    """The words of a marker as data of their container."""
    if node.kind in ("string", "array") or node.mark.startswith('"'):
        return json.dumps(words, ensure_ascii=False)[1:-1]
    if node.kind != "table":
        return words
    if "|" in node.mark:
        return words.replace("|", "\\|")
    row = io.StringIO()
    csv.writer(row, delimiter=node.mark[-1], lineterminator="").writerow([words])
    return row.getvalue()


def _record_marker(text: str, node: Part, start: int, end: int, note: str) -> str:
    """The marker for a large value of an object, or for all of the object's members."""
    value = any((child.start, child.end) == (start, end) for child in node.parts)
    count = end - start if value else member_count(text[node.start : node.end])
    words = ", ".join(filter(None, (_counted(count, "character" if value else "member"), note)))
    return json.dumps(f"… {words}" if value else {"…": words}, ensure_ascii=False).strip("{}")
