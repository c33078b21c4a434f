"""Listings: entries of several lines one after the other, as command line tools and search results have them.

An entry is a paragraph of `key: value` lines, a commit as git shows it, or an item of a list with indented lines below.
Entries of one listing begin alike: with the same key, or with an enumerator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from .parts import LARGE, LEAF, Offsets, Part, container, indentation, leaf, lines, pieces, trim

ENTRIES = 2  # entries that make a listing
FIELDS = 2  # `key: value` lines that make an entry

_FIELD = re.compile(r"([^\W\d_][\w .\-/()]{0,39}?)[ \t]*[:=](?:[ \t]|$)")
_COMMIT = re.compile(r"(commit) [0-9a-f]{7,64}\b")
_ITEM = re.compile(r"(?:\(?\d{1,4}[.)]|\[\d{1,4}\]|#\d+:?|[-*+•])[ \t]+\S")

Entry = tuple[int, int, str]  # first and after the last line, what it begins with


def listing_spans(text: str) -> list[Offsets]:
    """Stretches of at least two entries that begin alike, of at least 240 characters."""
    rows = lines(text, 0, len(text))
    found: list[Offsets] = []
    for _, entries in _runs(text, rows):
        start, end = trim(text, rows[entries[0][0]][0], rows[entries[-1][1] - 1][1])
        if end - start >= LEAF:
            found.append((start, end))
    return found


def listing_part(text: str, start: int, end: int) -> Part:
    """The entries of a listing; a very long one has parts itself."""
    rows = lines(text, start, end)
    runs = list(_runs(text, rows))
    if len(runs) != 1 or trim(text, rows[runs[0][1][0][0]][0], rows[runs[0][1][-1][1] - 1][1]) != (start, end):
        return leaf(start, end)
    return container(start, end, "lines", [_entry(text, rows[first:last]) for first, last, _ in runs[0][1]])


def _entry(text: str, rows: Sequence[Offsets]) -> Part:
    start, end = trim(text, rows[0][0], rows[-1][1])
    return leaf(start, end) if len(rows) <= LARGE else container(start, end, "lines", pieces(text, rows))


def _runs(text: str, rows: Sequence[Offsets]) -> Iterator[tuple[str, list[Entry]]]:
    """Entries side by side that begin alike, at least two each time."""
    numbered = enumerate(_entries(text, rows))
    keyed = groupby(numbered, key=lambda pair: pair[1][2] or -pair[0] - 1)  # what is no entry stands alone
    for sign, group in keyed:
        entries = [entry for _, entry in group]
        if isinstance(sign, str) and len(entries) >= ENTRIES:
            yield sign, entries


def _entries(text: str, rows: Sequence[Offsets]) -> list[Entry]:
    """Paragraphs and items in order, each with what its first line begins with, nothing if it is no entry."""
    found: list[Entry] = []
    for first, last in _paragraphs(text, rows):
        if indentation(text, *rows[first]):
            if found and found[-1][2]:
                found[-1] = (found[-1][0], last, found[-1][2])  # goes on with the entry above
            continue
        fields = [number for number in range(first, last) if _FIELD.match(text, *rows[number])]
        starts = [number for number in range(first, last) if _opening(text, rows[number])]
        if starts and len(fields) >= FIELDS and 2 * len(fields) >= last - starts[0]:
            found += _led(first, starts[0], (starts[0], last, _opening(text, rows[starts[0]])))
        else:
            found += _items(text, rows, first, last)
    return found


def _opening(text: str, row: Offsets) -> str:
    """The key that a line begins with, nothing if it has none."""
    match = _COMMIT.match(text, *row) or _FIELD.match(text, *row)
    return match.group(1) if match else ""


def _led(first: int, start: int, *entries: Entry) -> list[Entry]:
    """Entries after the lines from number `first` to `start` of their paragraph, which are none."""
    return [*([(first, start, "")] if start > first else []), *entries]


def _paragraphs(text: str, rows: Sequence[Offsets]) -> Iterator[tuple[int, int]]:
    """Lines, first and after the last, between blank ones."""
    for filled, group in groupby(
        range(len(rows)),
        key=lambda number: not text[slice(*rows[number])].isspace() and rows[number][1] > rows[number][0],
    ):
        numbers = list(group)
        if filled:
            yield numbers[0], numbers[-1] + 1


def _items(text: str, rows: Sequence[Offsets], first: int, last: int) -> list[Entry]:
    """The items of a list of which at least half have indented lines below; any other paragraph as no entry."""
    starts = [number for number in range(first, last) if not indentation(text, *rows[number])]
    items = [number for number in starts if _ITEM.match(text, *rows[number])]
    if (
        not items
        or items != [number for number in starts if number >= items[0]]
        or 2 * (last - items[0]) < 3 * len(items)
    ):
        return [(first, last, "")]
    return _led(first, items[0], *((a, b, "item") for a, b in zip(items, [*items[1:], last], strict=True)))
