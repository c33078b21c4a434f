"""Tables: pipe tables of Markdown, and lines of values that commas, semicolons or tabs separate."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import groupby

from .parts import Offsets, Part, container, leaf, lines, trim

ROWS = 4  # lines that make a table without a mark of its own
SEPARATORS = 3  # in each of its lines
DELIMITERS = "\t;,"

_QUOTE = re.compile(r"[ \t]*(?:>[ \t]?)+")


def csv_spans(text: str) -> list[Offsets]:
    """Stretches of at least four lines that have the same number of separators, at least three, outside quotes."""
    delimiters = [delimiter for delimiter in DELIMITERS if text.count(delimiter) >= ROWS * SEPARATORS]
    rows = lines(text, 0, len(text)) if delimiters else []
    found: list[Offsets] = []
    for delimiter in delimiters:
        place = 0
        counts = [_separators(text, row, delimiter) for row in rows]
        for count, group in groupby(counts):
            run = rows[place : (place := place + len(list(group)))]
            if count >= SEPARATORS and len(run) >= ROWS and _is_table(text, run, delimiter):
                found.append(trim(text, run[0][0], run[-1][1]))
    found.sort()
    return [span for number, span in enumerate(found) if not number or found[number - 1][1] <= span[0]]


def table_part(text: str, start: int, end: int) -> Part:
    """The rows of a table after its header."""
    rows = [row for row in lines(text, start, end) if text[slice(*row)].strip()]
    if len(rows) > 2 and _is_delimiter_row(text[slice(*rows[1])]):
        columns = text[slice(*rows[1])].strip("> \t").strip("|").count("|") + 1
        quote = _QUOTE.match(text, *rows[0])
        mark = f"{quote.group() if quote else ''}| {{}} |{' |' * (columns - 1)}"
        return container(start, end, "table", [leaf(*trim(text, *row)) for row in rows[2:]], mark)
    for delimiter in DELIMITERS:
        counts = [_separators(text, row, delimiter) for row in rows]
        if counts and counts[0] >= SEPARATORS and all(count == counts[0] for count in counts[:-1]):
            return container(start, end, "table", [leaf(*row) for row in rows[1:]], "{}" + delimiter * counts[0])
    return leaf(start, end)


def _is_delimiter_row(line: str) -> bool:
    return "-" in line and "|" in line and set(line) <= set("|:-> \t")


def _separators(text: str, row: Offsets, delimiter: str) -> int:
    """Separators of a line outside quotes; 0 if it is no line of a table."""
    count = text.count(delimiter, *row)
    if count < SEPARATORS or text.find('"', *row) < 0:
        return count
    try:
        fields = list(csv.reader([text[row[0] : row[1]]], delimiter=delimiter, strict=True))
    except csv.Error:
        return 0
    return len(fields[0]) - 1 if len(fields) == 1 else 0


def _is_table(text: str, rows: Sequence[Offsets], delimiter: str) -> bool:
    """Whether lines of one number of separators are values, not prose with commas in it."""
    if text[rows[0][0]].isspace() or 2 * sum(text[start] in " \t" for start, _ in rows) >= len(rows):
        return False  # indented
    part = text[rows[0][0] : rows[-1][1]]
    aligned = delimiter + (delimiter if delimiter == "\t" else " ")
    return 2 * part.count(aligned) < part.count(delimiter)
