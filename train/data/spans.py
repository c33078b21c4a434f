"""Spans, sentences and windows: where an answer stands, what surrounds it, and how a long document is cut."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from sentencex import get_sentence_boundaries

Span = dict[str, int]
Border = tuple[int, int]


def span(message: int, border: Border) -> Span:
    """The half-open characters `border` of message number `message`, as a row stores them."""
    return {"message": message, "start": border[0], "end": border[1]}


def whole(message: int, content: str) -> Span:
    """All characters of a message."""
    return span(message, (0, len(content)))


def unique(spans: Iterable[Span]) -> list[Span]:
    """The spans without repetitions, first occurrences in order."""
    return list({(one["message"], one["start"], one["end"]): one for one in spans}.values())


def by_position(spans: Iterable[Span]) -> list[Span]:
    """The spans without repetitions, in the order of the conversation."""
    return sorted(unique(spans), key=lambda one: (one["message"], one["start"], one["end"]))


def trim(text: str, border: Border) -> Border:
    """The border without the white space at its two ends; empty when there is nothing else."""
    start, end = border
    inner = text[start:end]
    start += len(inner) - len(inner.lstrip())
    return start, start + len(inner.strip())


@lru_cache(maxsize=1024)
def sentences(text: str) -> tuple[Border, ...]:
    """The borders of the English sentences of a text, without the white space between them."""
    found = [(one["start_index"], one["end_index"]) for one in get_sentence_boundaries("en", text)]
    return tuple(border for border in (trim(text, border) for border in found) if border[0] < border[1])


def around(text: str, border: Border) -> Border:
    """The border of the sentences that a stretch of the text touches, joined when there are several."""
    start, end = border
    touched = [one for one in sentences(text) if one[0] < end and one[1] > start]
    return min([start, *(one[0] for one in touched)]), max([end, *(one[1] for one in touched)])


def locate(text: str, answer: str) -> Border | None:
    """The first place where an answer stands as whole words, case and line breaks ignored, or None."""
    words = r"\s+".join(re.escape(word) for word in answer.split())
    found = re.search(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE) if words else None
    return found.span() if found else None


def paragraphs(text: str) -> list[Border]:
    """The borders of the blocks between blank lines, without the white space around them."""
    gaps = [place for gap in re.finditer(r"\n[^\S\n]*\n\s*", text) for place in gap.span()]
    ends = [0, *gaps, len(text)]
    blocks = [trim(text, border) for border in zip(ends[::2], ends[1::2], strict=True)]
    return [(start, end) for start, end in blocks if start < end]


def windows(sizes: Sequence[int], count: int) -> list[range]:
    """At most `count` runs of consecutive items that cover them all, as equal in size as the items allow."""
    total, before = max(sum(sizes), 1), 0
    runs: list[list[int]] = [[] for _ in range(count)]
    for index, size in enumerate(sizes):
        # An item belongs to the run in which its middle falls, were all runs equally long.
        runs[min(count - 1, (2 * before + size) * count // (2 * total))].append(index)
        before += size
    return [range(run[0], run[-1] + 1) for run in runs if run]
