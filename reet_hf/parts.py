"""Parts of structured text: a tree whose leaves can be left out, and what all kinds of content need to build one."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby

LEAF = 240
"""Characters up to which a block, a JSON value or a hunk is not taken apart."""

PIECE_LINES = 12
PIECE_CHARACTERS = 1500
LARGE = 25  # lines from which on a definition or a log entry is taken apart

_BREAK = re.compile(r"\r\n?|\n")

Offsets = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """Characters `start` to `end` (half-open) of a text, and the parts that can be left out of them.

    `kind` is `"leaf"` or `"repeat"` (a leaf that only repeats the one before) or that of a container: `"array"`,
    `"map"`, `"string"`, `"lines"`, `"table"`, or `"record"`, which is only kept with all that is between its `parts`.

    `mark` is the form of the marker for what was left out, with `{}` for its words; of a map, the beginning of a key
    that no member has; of a leaf that is several items or of a repeat, their number.
    """

    start: int
    end: int
    kind: str
    parts: tuple[Part, ...] = ()
    mark: str = ""


def leaf(start: int, end: int, count: int = 1) -> Part:
    """A leaf that stands for `count` items of its container."""
    return Part(start, end, "leaf", (), str(count) if count > 1 else "")


def container(start: int, end: int, kind: str, parts: Sequence[Part], mark: str = "[{}]") -> Part:
    """A container, or a leaf where there is nothing to leave out."""
    return Part(start, end, kind, tuple(parts), mark) if parts else leaf(start, end)


def trim(text: str, start: int, end: int, shift: int = 0) -> Offsets:
    """The characters without the white space around them, moved by `shift`."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start + shift, end + shift


def lines(text: str, start: int, end: int) -> list[Offsets]:
    """The lines of `text[start:end]` without their breaks (`\\n`, `\\r\\n` or `\\r`); empty ones too."""
    found: list[Offsets] = []
    last = start
    for match in _BREAK.finditer(text, start, end):
        found.append((last, match.start()))
        last = match.end()
    if last < end:
        found.append((last, end))
    return found


def line_count(text: str) -> int:
    """Lines from the first to the last that is not blank."""
    return len(_BREAK.findall(text.strip())) + 1


def indentation(text: str, start: int, end: int) -> int:
    """Columns of white space before the first other character of a line; a tab counts as four."""
    width = 0
    while start < end and text[start] in " \t":
        width += 4 if text[start] == "\t" else 1
        start += 1
    return width


def stretch(text: str, rows: Sequence[Offsets]) -> list[Part]:
    """One leaf for consecutive lines, none if they are blank."""
    start, end = trim(text, rows[0][0], rows[-1][1]) if rows else (0, 0)
    return [leaf(start, end)] if end > start else []


def pieces(text: str, rows: Sequence[Offsets]) -> list[Part]:
    """Leaves of consecutive lines, each of at most 12 lines and, unless it is one line, about 1,500 characters."""
    found: list[Part] = []
    first = 0
    for number in range(1, len(rows) + 1):
        full = number - first >= PIECE_LINES or (
            number < len(rows) and rows[number][1] - rows[first][0] > PIECE_CHARACTERS
        )
        if full or number == len(rows):
            found.extend(stretch(text, rows[first:number]))
            first = number
    return found


def folded(parts: Sequence[Part], key: Callable[[Part], Hashable]) -> list[Part]:
    """Consecutive leaves of one key as the first of them and one repeat for all others."""
    found: list[Part] = []
    for _, group in groupby(parts, key=lambda part: (part.start, None) if part.parts else (-1, key(part))):
        first, *others = group
        found.append(first)
        if others:
            found.append(Part(others[0].start, others[-1].end, "repeat", (), str(len(others))))
    return found
