"""Logs: lines that begin with a time or a level, and lines that only repeat the one before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from .parts import LARGE, LEAF, Offsets, Part, container, folded, indentation, leaf, lines, trim
from .traces import trace_part

ENTRIES = 4  # entries that make a log
SHARE = 0.8  # of its lines, those that go on with an entry left out, begin with a time or a level
BETWEEN = 3  # other lines at most between two entries

_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d+)?"
_DATED = "|".join(
    (
        rf"\d{{4}}[-/]\d\d[-/]\d\d[T ,]{{1,2}}{_CLOCK}(?:Z| ?[+-]\d\d:?\d\d)?",
        rf"(?:\w{{3}} )?{_MONTH} {{1,2}}\d{{1,2}} (?:\d{{4}} )?{_CLOCK}",
        rf"\d\d[-/]{_MONTH}[-/]\d{{4}}[: ]{_CLOCK}(?: [+-]\d{{4}})?",
    )
)
_LEVEL = "TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|SEVERE"
_QUIET = "trace|debug|info|notice|warn|warning|error|err|crit|critical|fatal|alert|emerg"
_STAMP = re.compile(rf"[\[(]?(?:{_DATED}|{_CLOCK})[\])]?[ \t:,|-]*")
_BEGINNING = (
    rf"(?:[\[(]?(?:(?P<dated>{_DATED})|{_CLOCK})(?=[\])\s:,|-])|"
    rf"(?P<address>\d{{1,3}}(?:\.\d{{1,3}}){{3}} \S{{1,99}} \S{{1,99}} \[)|"
    rf"(?P<level>\[(?:{_LEVEL}|{_QUIET})\]|(?:{_LEVEL})(?=[\s:|\]])(?![ \t]*=)|(?:{_QUIET}): |"
    r"npm (?:WARN|ERR!|error|warn) ))"
)
_START = re.compile(_BEGINNING)
_STARTS = re.compile("^" + _BEGINNING, re.MULTILINE)
_LEVELLED = re.compile(rf"\b(?:{_LEVEL})\b|\[(?:{_QUIET})\]|\blevel=\w|\[\d+\]: ")
_NAME = r"(?:[^\W\d_a-z][^\s:]{0,40}(?: [^\s:]{1,40}){0,2}|[^\s:]{1,40}):(?: |$)"
_SPOKEN = re.compile(rf"[\])\s:,|-]*(?:<[^<>\r\n]{{1,40}}>|{_NAME})")
_CONTINUED = re.compile(
    r"[ \t]|Traceback |Caused by: |[\w.$]*(?:Error|Exception)\b|During handling |The above exc|\}|\]|$"
)
_HEAD = 80  # characters of a line in which its level is looked for


def log_spans(text: str) -> list[Offsets]:
    """Stretches of at least four entries, or the whole text where half of its lines repeat the line before."""
    starts = {match.start(): match for match in _STARTS.finditer(text)}
    if len(starts) < ENTRIES:
        return _repeated(text)
    rows = lines(text, 0, len(text))
    found: list[Offsets] = []
    places = [number for number, row in enumerate(rows) if row[0] in starts]
    run: list[int] = []
    for place in [*places, len(rows)]:
        others = sum(not _CONTINUED.match(text, *row) for row in rows[run[-1] + 1 : place]) if run else 0
        if run and (others > BETWEEN or place == len(rows)):
            last = run[-1] + 1
            while last < len(rows) and rows[last][1] > rows[last][0] and _CONTINUED.match(text, *rows[last]):
                last += 1
            if _is_log(text, rows, run, starts):
                found.append(trim(text, rows[run[0]][0], rows[last - 1][1]))
            run = []
        run.append(place)
    return found or _repeated(text)


def _is_log(text: str, rows: Sequence[Offsets], run: Sequence[int], starts: dict[int, re.Match[str]]) -> bool:
    """Whether entries are those of a program: not a chat with times, not subtitles."""
    if len(run) < ENTRIES:
        return False
    own = sum(not _CONTINUED.match(text, *row) for row in rows[run[0] : run[-1] + 1])
    if len(run) < SHARE * own:
        return False
    levelled = dated = spoken = 0
    for place in run:
        start, end = rows[place]
        match = starts[start]
        levelled += bool(match["level"] or match["address"] or _LEVELLED.search(text, start, min(end, start + _HEAD)))
        dated += bool(match["dated"])
        spoken += bool(_SPOKEN.match(text, match.end(), end))
    return 2 * levelled >= len(run) or (2 * dated >= len(run) and 2 * spoken < len(run))


def _repeated(text: str) -> list[Offsets]:
    """The whole text if it is long and at least half of its lines repeat the line before."""
    if len(text) < LEAF:
        return []
    rows = text.splitlines()
    repeats = sum(row == before and row.strip() != "" for before, row in pairwise(rows))
    return [trim(text, 0, len(text))] if len(rows) >= ENTRIES and 2 * repeats >= len(rows) else []


def log_part(text: str, start: int, end: int) -> Part:
    """The entries of a log, each with the lines that go on with it; equal ones in a row are a repeat.

    Entries are equal if they differ in a leading time only. A long entry has parts itself.
    """
    rows = lines(text, start, end)
    filled = [row for row in rows if text[slice(*row)].strip()]
    outer = [row for row in filled if not indentation(text, *row)]
    marked = 2 * sum(bool(_START.match(text, *row)) for row in outer) >= len(outer)
    entries: list[list[Offsets]] = []
    for row in filled:
        begins = _START.match(text, *row) if marked else not indentation(text, *row)
        if begins or not entries:
            entries.append([])
        entries[-1].append(row)
    parts = [_entry(text, entry) for entry in entries]
    return container(start, end, "lines", folded(parts, lambda part: _message(text, part)))


def _entry(text: str, rows: Sequence[Offsets]) -> Part:
    start, end = trim(text, rows[0][0], rows[-1][1])
    if len(rows) <= LARGE:
        return leaf(start, end)
    return replace(trace_part(text, *trim(text, rows[1][0], rows[-1][1])), start=start)


def _message(text: str, part: Part) -> str:
    """An entry without its time."""
    stamp = _STAMP.match(text, part.start, part.end)
    return text[stamp.end() if stamp else part.start : part.end]
