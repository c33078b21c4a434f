"""What a caller wants kept whatever it scores: roles, regexes, messages and spans."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .conversation import ROLES, Conversation
from .errors import ReetError
from .records import Span, Unit
from .rendering import whole
from .segmentation import UNITS


def protected_spans(conversation: Conversation, candidates: Sequence[Unit], protect: Any) -> list[Span]:
    """Spans that must survive, in order, cut where units end; of what is never cut the whole.

    Args:
        conversation: The messages.
        candidates: All units, in order.
        protect: Roles, regexes (compiled, or any string that is no role), message numbers (negative ones count from
            the end) and `(message, start, end)` spans.

    Raises:
        ReetError: If a rule is none of these or names a place that is not there.
    """
    wanted = [span for rule in protection_rules(protect) for span in _covered(conversation, rule)]
    if not wanted:
        return []
    by_message: dict[int, list[Span]] = {}
    for span in wanted:
        by_message.setdefault(span.message, []).append(span)
    groups = {u.group for u in candidates if u.group is not None and _touches(u, by_message.get(u.message, ()))}
    found: set[Span] = set()
    for unit in candidates:
        if unit.group is not None and unit.group in groups:
            found.add(unit.span)
            continue
        for span in by_message.get(unit.message, ()):
            if unit.start == unit.end:
                found.add(unit.span)
            elif unit.span.overlaps(span):
                inside = Span(unit.message, max(unit.start, span.start), min(unit.end, span.end))
                found.add(inside if unit.kind in UNITS else unit.span)
    return _merged(found)


def _touches(unit: Unit, wanted: Sequence[Span]) -> bool:
    return bool(wanted) and (unit.start == unit.end or any(unit.span.overlaps(span) for span in wanted))


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
        ReetError: If it is no list and no rule.
    """
    if isinstance(protect, (str, re.Pattern, int, Span, Mapping)):
        return [protect]
    if not isinstance(protect, Sequence):
        raise ReetError(f"`protect` must be a list of roles, regexes, message numbers or spans, got {protect!r:.200}.")
    return list(protect)


def _covered(conversation: Conversation, rule: Any) -> list[Span]:
    """The spans that one protection rule names."""
    messages = conversation.messages
    if isinstance(rule, str) and rule in ROLES:
        return [span for span in whole(conversation) if messages[span.message].role == rule]
    if isinstance(rule, (str, re.Pattern)):
        try:
            pattern = re.compile(rule)
        except re.error as error:
            raise ReetError(f"`protect` has {rule!r}, which is neither a role nor a valid regex ({error}).") from error
        return [
            Span(number, match.start(), match.end())
            for number, message in enumerate(messages)
            for match in pattern.finditer(message.text)
            if match.end() > match.start()
        ]
    if isinstance(rule, int) and not isinstance(rule, bool):
        if not -len(messages) <= rule < len(messages):
            raise ReetError(f"`protect` names message {rule}, but there are {len(messages)}; count from 0 or from -1.")
        return [whole(conversation)[rule]]
    fields = (rule["message"], rule["start"], rule["end"]) if _is_span(rule) else rule
    if isinstance(fields, Span):
        fields = (fields.message, fields.start, fields.end)
    if not isinstance(fields, (tuple, list)) or len(fields) != 3 or not all(isinstance(n, int) for n in fields):
        raise ReetError(
            f"`protect` must hold roles, regexes, message numbers or (message, start, end) spans, got {rule!r:.200}."
        )
    number, start, end = fields
    if not 0 <= number < len(messages) or not 0 <= start <= end <= len(messages[number].text):
        raise ReetError(f"`protect` has the span {tuple(fields)}, which lies outside the conversation.")
    return [Span(number, start, end)]


def _is_span(rule: Any) -> bool:
    return isinstance(rule, Mapping) and {"message", "start", "end"} <= set(rule)
