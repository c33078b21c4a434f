"""Fenced code and pipe tables as CommonMark defines them, and the parts of code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from markdown_it import MarkdownIt

from .diffs import diff_part
from .json_structure import is_json, json_part
from .parts import LARGE, PIECE_LINES, Offsets, Part, container, indentation, lines, pieces, stretch, trim

LONGEST = 4_000_000  # characters; a longer text is not parsed
CELLS = 100_000  # bars; in a text with more, tables are text
HEADER = 4  # lines that a definition's header has at most

_FENCE = re.compile(r"`{3,}|~{3,}")
_DELIMITER_ROW = re.compile(r"^(?=[^\r\n]*\|)(?=[^\r\n]*-)[|:\-> \t]+\r?$", re.MULTILINE)
_QUOTE = re.compile(r"(?:>[ \t]?)+")
_CLOSER = re.compile(r"[\])};>,]+|end;?")
_LINE_TEXT = re.compile(r"[^\r\n]+")
_DIFF = ("diff", "patch")

Block = tuple[int, int, str]


@lru_cache
def _parser(tables: bool, nested: bool) -> MarkdownIt:
    """A parser of blocks.

    HTML is text, since a tag on a line of its own would hide the fence after it; so is indented code.

    Args:
        tables: Whether tables are parsed.
        nested: Whether lists and quotes are parsed, else they are text.
    """
    parser = MarkdownIt("commonmark").disable(["code", "html_block", "inline", "lheading", "reference"])
    if tables:
        parser.enable("table")
    return parser if nested else parser.disable(["blockquote", "list"])


def markdown_blocks(text: str, opaque: Sequence[Offsets] = ()) -> list[Block]:
    """Fenced code and pipe tables as `(start, end, "code" or "table")`.

    Args:
        text: The text of a message.
        opaque: Stretches whose marks are none of Markdown's, unless they are inside a fence.
    """
    fenced = "```" in text or "~~~" in text
    if len(text) > LONGEST or not (fenced or ("|" in text and _DELIMITER_ROW.search(text))):
        return []
    source, last = "", 0
    for start, end in opaque:
        source += text[last:start] + _LINE_TEXT.sub(lambda match: "x" * len(match.group()), text[start:end])
        last = end
    source += text[last:]
    rows = lines(source, 0, len(source))
    found, closed = _blocks(source, rows, nested=True)
    if not closed:  # mostly a fence in a list whose lines are not indented like the list
        other, closed = _blocks(source, rows, nested=False)
        found = other if closed else found
    return [(*trim(text, rows[first][0], rows[last - 1][1]), kind) for first, last, kind in found]


def _blocks(text: str, rows: Sequence[Offsets], nested: bool) -> tuple[list[Block], bool]:
    """Fences and tables as rows, and whether every fence is closed."""
    found: list[Block] = []
    closed = True
    for token in _parser(text.count("|") <= CELLS, nested).parse(text):
        if token.map is None or token.type not in ("fence", "table_open"):
            continue
        first, last = token.map[0], min(token.map[1], len(rows))
        if token.type == "fence":
            closed = closed and last - first > 1 and _closes(text, rows[last - 1], token.markup)
            found.append((first, last, "code"))
            continue
        while last - first > 2 and "|" not in text[rows[last - 1][0] : rows[last - 1][1]]:
            last -= 1  # prose right after the table
        found.append((first, last, "table"))
    return found, closed


def _closes(text: str, row: Offsets, fence: str) -> bool:
    line = text[row[0] : row[1]].lstrip("> \t").rstrip()
    return line.startswith(fence) and not line.strip(fence[0])


def code_part(text: str, start: int, end: int) -> Part:
    """The parts of code between its fences: definitions and paragraphs, pieces of long ones; of JSON and diffs, theirs.

    A definition of more than 25 lines keeps its first line with any piece of it.
    """
    rows = lines(text, start, end)
    quote = _QUOTE.match(text, start)
    mark = f"{quote.group() if quote else ''}[{{}}]"
    fence = _FENCE.search(text, *rows[0])
    if fence is None:
        return container(start, end, "lines", _definitions(text, rows, mark), mark)
    body = rows[1:-1] if len(rows) > 1 and _closes(text, rows[-1], fence.group()) else rows[1:]
    inner = trim(text, body[0][0], body[-1][1]) if body else (end, end)
    language = text[fence.end() : rows[0][1]].strip().lower()
    if not quote and is_json(text[slice(*inner)]):
        return container(start, end, "lines", [json_part(text, *inner)], mark)
    if not quote and language in _DIFF:
        return container(start, end, "lines", [diff_part(text, *inner)] if inner[1] > inner[0] else [], mark)
    return container(start, end, "lines", _definitions(text, body, mark), mark)


def _definitions(text: str, rows: Sequence[Offsets], mark: str) -> list[Part]:
    """Stretches of lines, each from a line of least indentation after a blank one on."""
    blank = [not text[a:b].strip() for a, b in rows]
    widths = [indentation(text, a, b) for a, b in rows]
    least = min((width for width, empty in zip(widths, blank, strict=True) if not empty), default=0)
    found: list[Part] = []
    first = 0
    for number in range(1, len(rows) + 1):
        if number < len(rows):
            begins = blank[number - 1] and not blank[number] and widths[number] == least
            if not begins or _CLOSER.fullmatch(text[slice(*rows[number])].strip()):
                continue
        found.extend(_definition(text, rows[first:number], mark))
        first = number
    return found


def _definition(text: str, rows: Sequence[Offsets], mark: str) -> list[Part]:
    """One leaf, or the pieces of a long stretch, under its first lines if what follows is indented deeper."""
    filled = [row for row in rows if text[slice(*row)].strip()]
    if len(filled) <= LARGE:
        return stretch(text, rows)
    base = indentation(text, *filled[0])
    deeper = [number for number, row in enumerate(filled[: HEADER + 1]) if indentation(text, *row) > base]
    if not deeper:
        return _paragraphs(text, rows)
    last = filled[-1]
    closes = indentation(text, *last) <= base and _CLOSER.fullmatch(text[slice(*last)].strip())
    body = rows[rows.index(filled[deeper[0]]) : rows.index(last) + (not closes)]
    start, end = trim(text, filled[0][0], last[1])
    return [container(start, end, "lines", _paragraphs(text, body), mark)]


def _paragraphs(text: str, rows: Sequence[Offsets]) -> list[Part]:
    """Paragraphs, short neighbours together, long ones in pieces."""
    groups: list[list[Offsets]] = []
    for blank, group in groupby(rows, key=lambda row: not text[slice(*row)].strip()):
        paragraph = list(group)
        if not blank and groups and len(groups[-1]) + len(paragraph) <= PIECE_LINES:
            groups[-1].extend(paragraph)
        elif not blank:
            groups.append(paragraph)
    return [part for group in groups for part in (stretch(text, group) if len(group) <= LARGE else pieces(text, group))]
