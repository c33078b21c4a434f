"""What a caller wants kept whatever it scores: roles, regexes, messages and spans.

Regexes are those of Python's `re`, run by the `regex` package, which can be told to stop.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import numpy as np
import regex

from .conversation import ROLES, Conversation, shown
from .deadlines import check_deadline
from .errors import ReetError
from .records import Span, Unit
from .rendering import whole
from .segmentation import UNITS
from .unit_table import UnitTable

SECONDS = 2.0  # that one regex may take over a conversation, and again for each million of its characters
WIDTH = 100_000  # characters that a regex may demand at the least: compiled, each of them takes memory
_FLAGS = (
    (re.ASCII, regex.ASCII),
    (re.IGNORECASE, regex.IGNORECASE),
    (re.MULTILINE, regex.MULTILINE),
    (re.DOTALL, regex.DOTALL),
    (re.VERBOSE, regex.VERBOSE),
)
_COUNT = re.compile(r"\{(\d*)(?:,\d*)?\}")

Offsets = tuple[int, int]


def protected_spans(
    conversation: Conversation, candidates: Sequence[Unit], protect: Any, more: Iterable[Span] = ()
) -> list[Span]:
    """Spans that must survive, in order, cut where units end; of what is never cut the whole.

    Args:
        conversation: The messages.
        candidates: All units, in order.
        protect: Roles, regexes (compiled, or any string that is no role), message numbers (negative ones count from
            the end) and `(message, start, end)` spans.
        more: Further spans that must survive, such as those of `defaults`.

    Raises:
        ReetError: If a rule is none of these, names a place that is not there, or is a regex that takes too long.
    """
    wanted = [*more, *(span for rule in protection_rules(protect) for span in _covered(conversation, rule))]
    if not wanted:
        return []
    by_message: dict[int, list[Offsets]] = {}
    for span in _merged(set(wanted)):
        by_message.setdefault(span.message, []).append((span.start, span.end))
    table = UnitTable.of(candidates)
    near = [unit for number in by_message for unit in table[table.of_messages(number, number)]]
    groups = {u.group for u in near if u.group is not None and _touches(u, by_message.get(u.message, ()))}
    together = table.places[np.isin(table.groups, list(groups))].tolist() if groups else []
    found = {Span(*place) for place in together}
    for unit in near:
        own = by_message.get(unit.message, ())
        if unit.group in groups if unit.group is not None else (own and unit.start == unit.end):
            found.add(unit.span)
        else:
            for start, end in _overlapping(unit, own):
                inside = Span(unit.message, max(unit.start, start), min(unit.end, end))
                found.add(inside if unit.kind in UNITS else unit.span)
    return _merged(found)


def _overlapping(unit: Unit, wanted: Sequence[Offsets]) -> Sequence[Offsets]:
    """Those of ordered spans without overlap that share a character with a unit."""
    first = bisect_right(wanted, unit.start, key=itemgetter(1))
    last = first
    while last < len(wanted) and wanted[last][0] < unit.end:
        last += 1
    return wanted[first:last]


def _touches(unit: Unit, wanted: Sequence[Offsets]) -> bool:
    return bool(wanted) and (unit.start == unit.end or bool(_overlapping(unit, wanted)))


def _merged(spans: set[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and merged[-1].message == span.message and span.start < merged[-1].end:
            merged[-1] = Span(span.message, merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def protection_rules(protect: Any) -> list[Any]:
    """The rules that `protect` lists.

    Raises:
        ReetError: If it is no list and no rule, or holds a regex that cannot be used.
    """
    if isinstance(protect, (str, re.Pattern, regex.Pattern, int, Span, Mapping)):
        protect = [protect]
    if not isinstance(protect, Sequence) or isinstance(protect, (bytes, bytearray)):
        raise ReetError(f"`protect` must be a list of roles, regexes, message numbers or spans, got {shown(protect)}.")
    for rule in protect:
        if isinstance(rule, (str, re.Pattern)) and rule not in ROLES:
            _compiled(rule)
    return list(protect)


def _covered(conversation: Conversation, rule: Any) -> list[Span]:
    """The spans that one protection rule names."""
    messages = conversation.messages
    if isinstance(rule, str) and rule in ROLES:
        return [span for span in whole(conversation) if messages[span.message].role == rule]
    if isinstance(rule, (str, re.Pattern, regex.Pattern)):
        return _matches(conversation, rule if isinstance(rule, regex.Pattern) else _compiled(rule))
    if isinstance(rule, int) and not isinstance(rule, bool):
        if not -len(messages) <= rule < len(messages):
            raise ReetError(f"`protect` names message {rule}, but there are {len(messages)}; count from 0 or from -1.")
        return [whole(conversation)[rule]]
    fields = (rule["message"], rule["start"], rule["end"]) if _is_span(rule) else rule
    if isinstance(fields, Span):
        fields = (fields.message, fields.start, fields.end)
    whole_numbers = isinstance(fields, (tuple, list)) and all(type(number) is int for number in fields)
    if not whole_numbers or len(fields) != 3:
        raise ReetError(
            f"`protect` must hold roles, regexes, message numbers or (message, start, end) spans, got {shown(rule)}."
        )
    number, start, end = fields
    if not 0 <= number < len(messages) or not 0 <= start <= end <= len(messages[number].text):
        raise ReetError(f"`protect` has the span {tuple(fields)}, which lies outside the conversation.")
    return [Span(number, start, end)]


def _is_span(rule: Any) -> bool:
    return isinstance(rule, Mapping) and {"message", "start", "end"} <= set(rule)


def _matches(conversation: Conversation, pattern: regex.Pattern) -> list[Span]:
    """What a regex finds, in no more time than `SECONDS` allows."""
    size = sum(len(message.text) for message in conversation.messages)
    allowed = SECONDS * (1 + size / 1e6)
    end = time.thread_time() + allowed
    found: list[Span] = []
    try:
        for number, message in enumerate(conversation.messages):
            check_deadline()
            left = max(end - time.thread_time(), 0.01)
            for match in pattern.finditer(message.text, timeout=left):
                if match.end() > match.start():
                    found.append(Span(number, match.start(), match.end()))
                if time.thread_time() > end:
                    raise TimeoutError
    except TimeoutError:
        raise ReetError(
            f"`protect` has the regex {shown(pattern.pattern)}, which took more than {allowed:.0f} seconds on message "
            f"{number}; write it so that no part can match the same text in many ways, as (a+)+ can, or name messages "
            "or spans instead."
        ) from None
    return found


@lru_cache(maxsize=256)
def _compiled(rule: str | re.Pattern) -> regex.Pattern:
    """A pattern of `re` as one of `regex` that finds the same.

    Raises:
        ReetError: If it is no pattern for text, or demands too much.
    """
    source = rule.pattern if isinstance(rule, re.Pattern) else rule
    try:
        if not isinstance(source, str):
            raise re.error("it is a pattern for bytes")
        flags = re.compile(source, rule.flags if isinstance(rule, re.Pattern) else 0).flags
        text, width = _translated(source, bool(flags & re.VERBOSE))
        if width > WIDTH:
            raise re.error(f"it demands at least {width} characters")
        return regex.compile(text, regex.V0 | sum(own for theirs, own in _FLAGS if flags & theirs))
    except (re.error, regex.error, ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise ReetError(
            f"`protect` has {shown(source)}, which is neither a role nor a valid regex ({error}); escape it with "
            "re.escape if it is meant as plain text."
        ) from error


def _translated(pattern: str, verbose: bool) -> tuple[str, int]:
    """A valid pattern of `re` without what `regex` alone would read in it, and about how many characters it demands.

    To `regex` a brace that counts nothing is a fuzzy match, and brackets in brackets name a class.
    """
    written: list[str] = []
    widths = [0]  # of the groups that are open
    last = place = 0
    inside = -1  # where the first character of the open character class stands
    while place < len(pattern):
        part = pattern[place]
        count = _COUNT.match(pattern, place) if part == "{" and inside < 0 else None
        if part == "\\":
            named = pattern.startswith("\\N{", place)
            part = pattern[place : pattern.index("}", place) + 1 if named else place + 2]
            own = 1
        elif inside >= 0:
            own = 0
            if part == "]" and place > inside:
                inside = -1
            elif part == "[":
                written.append("\\")
        elif part == "[":
            inside, own = place + 1 + pattern.startswith("^", place + 1), 1
        elif part == "(" and pattern.startswith("(?#", place) or part == "#" and verbose:
            stop = pattern.find(")" if part == "(" else "\n", place)
            part = pattern[place : stop + 1 if stop >= 0 else len(pattern)]
            own = 0
        elif part == "(":
            widths.append(0)
            own = 0
        elif part == ")":
            own = widths.pop() if len(widths) > 1 else 0
        elif count and (count[1] or "," in count[0]):
            part, low = count[0], int(count[1] or 0)
            own = last * max(low - 1, 0)
            last += own
        else:
            if part == "{":
                written.append("\\")
            own = 1
        written.append(part)
        widths[-1] += own
        if not count and (own or part == ")"):
            last = own
        place += len(part)
    return "".join(written), sum(widths)
