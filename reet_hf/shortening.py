"""Shorter forms of a text: without filler, and without the words that only link.

Every form is a list of verbatim slices and each contains the one before. Negations, conditions, comparisons ("more",
"below", "before") and question marks are never left out, and a name, number, date or the like is never cut. Which words
are which says `lexicon`, for English; a text that has few function words of English is no English prose and has no
shorter form.
"""

from __future__ import annotations

from collections.abc import Sequence

from .lexicon import FILLER_WORDS, FUNCTION_WORDS, LINKING_WORDS, WORD
from .segmentation import words

CONTENT, LINKING, FILLER = range(3)
FORMS = ("content", "linked", "whole")
"""The forms of a text from the shortest on: content words, those and linking words, everything."""

ENGLISH = 0.2  # share of function words from which on a text counts as English prose, where it is about .4 to .5

_ASKING = "?？؟"
_OPENING = "\"'“‘«([{"
_CLOSING = "\"'”’»)]},;:.!?…"
_PARTNERS = {")": "(", "]": "[", "}": "{", "”": "“", "’": "‘", "»": "«"}
_PUNCTUATION = frozenset(_OPENING + _CLOSING + "-–—")

Offsets = tuple[int, int]


def is_prose(text: str) -> bool:
    """Whether a text is English prose, as opposed to another language, a list of names, a log or a telegram."""
    found = WORD.findall(text.lower())
    return sum(word in FUNCTION_WORDS for word in found) >= ENGLISH * max(len(found), 1)


def short_forms(text: str, start: int, end: int, fixed: Sequence[Offsets] = ()) -> tuple[tuple[Offsets, ...], ...]:
    """The slices of each of the `FORMS` of `text[start:end]`.

    Args:
        text: The text of a message.
        start, end: A sentence or another stretch of running text in it.
        fixed: Characters that are never cut or left out, in order and without overlap.
    """
    kept: list[tuple[int, int, int]] = []
    shouted = text[start:end].isupper()
    place = 0
    for first, last in words(text[start:end]):
        first, last = start + first, start + last
        while place < len(fixed) and fixed[place][1] <= first:
            place += 1
        inside = [span for span in fixed[place : place + 2] if span[0] < last]
        if inside:
            low, high = _trimmed(text, first, last)
            kept.append((min(low, max(first, inside[0][0])), max(high, min(last, inside[-1][1])), CONTENT))
        else:
            role = _role(text[first:last], first == start, shouted)
            if role < FILLER:
                kept.append((*_trimmed(text, first, last), role))
        kept.extend((mark, mark + 1, CONTENT) for mark in range(first, last) if text[mark] in _ASKING)
    forms = [_joined(text, [(a, b) for a, b, role in kept if role <= level]) for level in (CONTENT, LINKING)]
    return (*forms, ((start, end),))


def _role(chunk: str, leads: bool, shouted: bool) -> int:
    """What a stretch without white space is: content, linking or filler."""
    found = WORD.findall(chunk)
    if not found:
        return FILLER if _PUNCTUATION.issuperset(chunk) else CONTENT
    if not shouted and any(len(word) > 1 and word.isupper() for word in found):
        return CONTENT  # "US", "IT", "WHO"
    if not leads and found[0][0].isupper() and found[0] != "I":
        return CONTENT  # "Will", "The Hague"
    lowered = [word.lower() for word in found]
    if all(word in FILLER_WORDS for word in lowered):
        return FILLER
    return LINKING if all(word in FILLER_WORDS or word in LINKING_WORDS for word in lowered) else CONTENT


def _trimmed(text: str, start: int, end: int) -> Offsets:
    """Without punctuation around it, unless the bracket or quote that it pairs with is inside."""
    while start < end - 1 and text[start] in _OPENING and not _closes(text[start], text[start + 1 : end]):
        start += 1
    while end > start + 1 and text[end - 1] in _CLOSING and not _opens(text[end - 1], text[start : end - 1]):
        end -= 1
    return start, end


def _closes(mark: str, rest: str) -> bool:
    return any(opening == mark and closing in rest for closing, opening in _PARTNERS.items())


def _opens(mark: str, before: str) -> bool:
    return mark in _PARTNERS and _PARTNERS[mark] in before or (mark == "." and "." in before)


def _joined(text: str, slices: Sequence[Offsets]) -> tuple[Offsets, ...]:
    """Slices in order, neighbours that only white space parts as one."""
    runs: list[Offsets] = []
    for start, end in slices:
        if runs and (start <= runs[-1][1] or text[runs[-1][1] : start].isspace()):
            runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
        else:
            runs.append((start, end))
    return tuple(runs)
