"""Stack traces of Python, Java, Kotlin, JavaScript and Go: what was raised, and the frames that led there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .parts import Offsets, Part, container, folded, leaf, lines, pieces, trim

SECTIONS = 20  # stretches of frames up to which the headers of all are kept with any of them
MESSAGE = 5  # lines of a message before its frames at most

_PYTHON = "Traceback (most recent call last)"
_FRAME = re.compile(r'[ \t]*(?:File "[^"\r\n]*", line \d+|at \S[^\r\n]*(?:\)|:\d+)[ \t]*$)')
_MORE = re.compile(r"[ \t]*(?:\.\.\. \d+ (?:more|common frames)|\[Previous line repeated \d+ more times?\])")
_PLACE = re.compile(r"[ \t]+\S+\.(?:go|s|c):\d+")
_RAISED = re.compile(
    r"[ \t]*(?:Caused by|Suppressed): |[^\r\n]{0,200}?\b[\w.$]{0,200}(?:Error|Exception|Throwable|Failure)\b"
)
_PYTHON_RAISED = re.compile(r"[ \t]*[A-Za-z_][\w.]*(?::|[ \t]*$)")
_CHAIN = re.compile(r"[ \t]*(?:During handling of the above exception|The above exception was the direct cause)")
_GO = re.compile(r"panic: |fatal error: |goroutine \d+ \[")
_GO_MORE = re.compile(r"goroutine \d+ \[|exit status \d|\[signal |created by |panic: |\t|$")
_HINT = re.compile(r"^[ \t]+at \S|^goroutine \d+ \[", re.MULTILINE)

BLANK, HEAD, FRAME, MORE = range(4)


def trace_spans(text: str) -> list[Offsets]:
    """Stack traces from what was raised, or the line that announces it, to the last line of the last cause."""
    if _PYTHON not in text and not _HINT.search(text):
        return []
    rows = lines(text, 0, len(text))
    roles = _roles(text, rows)
    found: list[Offsets] = []
    place = free = 0
    while place < len(rows):
        row = text[slice(*rows[place])]
        first = last = place
        if row.lstrip().startswith(_PYTHON):
            last = _python_end(text, rows, roles, place)
        elif _GO.match(row):
            last = _go_end(text, rows, roles, place)
        elif roles[place] == FRAME and row.lstrip().startswith("at "):
            first, last = _java_start(text, rows, roles, place, free), _java_end(text, rows, roles, place)
            if sum(role == FRAME for role in roles[first:last]) < (2 if first < place else 3):
                place = free = last
                continue
        if last > place:
            found.append(trim(text, rows[first][0], rows[last - 1][1]))
            free = last
        place = max(last, place + 1)
    return found


def trace_part(text: str, start: int, end: int) -> Part:
    """The frames of a trace, each with its source lines; what was raised stands with any of them."""
    rows = lines(text, start, end)
    sections = _sections(text, rows, _roles(text, rows))
    if not sections:
        return container(start, end, "lines", pieces(text, rows))
    if len(sections) == 1:
        return container(start, end, "lines", sections[0].frames)
    if len(sections) <= SECTIONS:
        runs = [container(s.frames[0].start, s.frames[-1].end, "lines", s.frames) for s in sections]
        return container(start, end, "record", runs)
    runs = [container(s.head, s.frames[-1].end, "lines", s.frames) for s in sections]
    return container(start, end, "lines", runs)


@dataclass(frozen=True, slots=True)
class _Section:
    """The first character of the lines before consecutive frames, and the frames."""

    head: int
    frames: list[Part]


def _sections(text: str, rows: Sequence[Offsets], roles: Sequence[int]) -> list[_Section]:
    heads: list[int] = []
    frames: list[list[Part]] = []
    before = HEAD
    head: int | None = None
    for row, role in zip(rows, roles, strict=True):
        start, end = trim(text, *row)
        if role == HEAD:
            head = start if head is None else head
        elif role == FRAME and (before == HEAD or not frames):
            heads.append(start if head is None else head)
            frames.append([leaf(start, end)])
            head = None
        elif role == FRAME:
            frames[-1].append(leaf(start, end))
        elif role == MORE:
            frames[-1][-1] = leaf(frames[-1][-1].start, end)
        before = role if role != BLANK else before
    return [
        _Section(start, folded(found, lambda part: text[part.start : part.end]))
        for start, found in zip(heads, frames, strict=True)
    ]


def _roles(text: str, rows: Sequence[Offsets]) -> list[int]:
    """Of each line, whether it begins a frame, goes on with one, or stands outside of frames."""
    roles: list[int] = []
    depth = -1  # columns before the frame that a line can go on with
    for number, (start, end) in enumerate(rows):
        line = text[start:end]
        width = len(line) - len(line.lstrip())
        follows = number + 1 < len(rows) and _PLACE.match(text, *rows[number + 1])
        if width == len(line):
            roles.append(BLANK)
        elif _FRAME.match(line) or (follows and not _PLACE.match(line)):
            roles.append(FRAME)
            depth = width
        elif depth >= 0 and (width > depth or _MORE.match(line)):
            roles.append(MORE)
        else:
            roles.append(HEAD)
            depth = -1
    return roles


def _python_end(text: str, rows: Sequence[Offsets], roles: Sequence[int], place: int) -> int:
    """The row after a traceback and those chained to it; `place` if there is none."""
    end = place
    while place < len(rows) and _PYTHON in text[slice(*rows[place])]:
        place += 1
        first = place
        while place < len(rows) and roles[place] in (FRAME, MORE):
            place += 1
        if place == first:
            return end
        if place < len(rows) and _PYTHON_RAISED.match(text, *rows[place]):
            place += 1
        end = place
        while place < len(rows) and (roles[place] == BLANK or _CHAIN.match(text, *rows[place])):
            place += 1
        if not any(_CHAIN.match(text, *row) for row in rows[end:place]):
            return end
    return end


def _java_start(text: str, rows: Sequence[Offsets], roles: Sequence[int], place: int, free: int) -> int:
    """The row of what was raised before the frame at row `place`, `place` itself if it is not there."""
    for number in range(place - 1, max(free, place - MESSAGE) - 1, -1):
        if roles[number] == BLANK:
            break
        if _RAISED.match(text, *rows[number]):
            return number
    return place


def _java_end(text: str, rows: Sequence[Offsets], roles: Sequence[int], place: int) -> int:
    end = place
    while place < len(rows):
        if roles[place] in (FRAME, MORE):
            end = place + 1
        elif not (_RAISED.match(text, *rows[place]) and FRAME in roles[place + 1 : place + 1 + MESSAGE]):
            break
        place += 1
    return end


def _go_end(text: str, rows: Sequence[Offsets], roles: Sequence[int], place: int) -> int:
    """The row after a Go panic with its goroutines; `place` if there is none."""
    first, end = place, place
    while place < len(rows) and (roles[place] != HEAD or _GO_MORE.match(text, *rows[place])):
        place += 1
        end = place if roles[place - 1] != BLANK else end
    told = FRAME in roles[first:end] and any(text.startswith("goroutine ", a) for a, _ in rows[first:end])
    return end if told else first
