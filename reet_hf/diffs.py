"""Unified diffs: files, their hunks, and in a hunk the changes and what is only around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from .parts import LEAF, Offsets, Part, container, lines, pieces, stretch, trim

CONTEXT = 3  # unchanged lines around a change

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_HEADER = re.compile(
    r"index |(?:old|new) mode |(?:new|deleted) file mode |(?:dis)?similarity index |(?:rename|copy) (?:from|to) |"
    r"Binary files |--- |\+\+\+ "
)


@dataclass(frozen=True, slots=True)
class _File:
    """Rows of one file of a diff: from `start`, the hunks, up to `end`."""

    start: int
    hunks: tuple[Offsets, ...]
    end: int


def diff_spans(text: str) -> list[Offsets]:
    """Unified diffs whose hunks are as long as their `@@` lines say."""
    if "@@ -" not in text and "diff --git " not in text:
        return []
    rows = lines(text, 0, len(text))
    found: list[Offsets] = []
    last = -1
    for file in _files(text, rows, exact=True):
        start, end = trim(text, rows[file.start][0], rows[file.end - 1][1])
        if found and not any(text[a:b].strip() for a, b in rows[last : file.start]):
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
        last = file.end
    return found


def diff_part(text: str, start: int, end: int) -> Part:
    """The parts of a diff: a file, its hunks, their changes with a line around each; plain lines if it is none."""
    rows = lines(text, start, end)
    files = list(_files(text, rows, exact=True)) or list(_files(text, rows, exact=False))
    if not files:
        return container(start, end, "lines", pieces(text, rows))
    found: list[Part] = []
    place = 0
    for file in files:
        found.extend(pieces(text, rows[place : file.start]))
        found.append(_file_part(text, rows, file))
        place = file.end
    found.extend(pieces(text, rows[place:]))
    return container(start, end, "lines", found)


def _file_part(text: str, rows: Sequence[Offsets], file: _File) -> Part:
    start, end = trim(text, rows[file.start][0], rows[file.end - 1][1])
    return container(start, end, "lines", [_hunk_part(text, rows[a:b]) for a, b in file.hunks])


def _hunk_part(text: str, rows: Sequence[Offsets]) -> Part:
    start, end = trim(text, rows[0][0], rows[-1][1])
    if end - start < LEAF:
        return stretch(text, rows)[0]
    changed = [text[a:b][:1] in ("+", "-") for a, b in rows]
    near = [any(changed[max(number - 1, 1) : number + 2]) for number in range(1, len(rows))]
    found: list[Part] = []
    for _, group in groupby(zip(near, rows[1:], strict=True), key=lambda pair: pair[0]):
        found.extend(pieces(text, [row for _, row in group]))
    return container(start, end, "lines", found)


def _files(text: str, rows: Sequence[Offsets], exact: bool) -> Iterator[_File]:
    """Files of a diff.

    Args:
        text: The text.
        rows: Its lines.
        exact: Whether hunks must have the length that they tell; else they go on as far as no other begins.
    """
    place = 0
    while place < len(rows):
        body = _header_end(text, rows, place)
        if body is None:
            place += 1
            continue
        hunks: list[Offsets] = []
        end = body
        while end < len(rows) and (stop := _hunk_end(text, rows, end, exact)):
            hunks.append((end, stop))
            end = stop
        if hunks or text.startswith("diff --git ", rows[place][0]) and body > place + 1:
            yield _File(place, tuple(hunks), end)
        place = max(end, place + 1)


def _header_end(text: str, rows: Sequence[Offsets], place: int) -> int | None:
    """The row after the header of a file that begins at row `place`."""
    if text.startswith("diff --git ", rows[place][0]):
        place += 1
        while place < len(rows) and _HEADER.match(text, *rows[place]):
            place += 1
        return place
    starts = [row[0] for row in rows[place : place + 3]]
    if len(starts) == 3 and text.startswith("--- ", starts[0]) and text.startswith("+++ ", starts[1]):
        return place + 2 if _HUNK.match(text, starts[2]) else None
    return None


def _hunk_end(text: str, rows: Sequence[Offsets], place: int, exact: bool) -> int | None:
    """The row after the hunk that begins at row `place`, `None` if none does."""
    match = _HUNK.match(text, *rows[place])
    if not match:
        return None
    place += 1
    if not exact:
        while place < len(rows) and not _HUNK.match(text, *rows[place]) and _header_end(text, rows, place) is None:
            place += 1
        return place
    old, new = (int(count[:9]) if count else 1 for count in match.groups())
    while place < len(rows) and (old > 0 or new > 0):
        sign = text[rows[place][0] : rows[place][1]][:1]
        if sign not in ("+", "-", " ", "", "\\"):
            return None
        old -= sign in ("-", " ", "")
        new -= sign in ("+", " ", "")
        place += 1
    if old or new:  # blank lines around the last change may have been trimmed away
        return place if place == len(rows) and old == new <= CONTEXT else None
    return place + 1 if place < len(rows) and text.startswith("\\ ", rows[place][0]) else place
