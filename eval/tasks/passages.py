"""Long texts as messages: cut at line breaks, so that the messages joined by line breaks are the text again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eval.tasks.public import Place, document

MOST = 20

Span = tuple[int, int]


@dataclass(frozen=True)
class Passages:
    """A text in pieces.

    Attributes:
        messages: The pieces in order.
        starts: Where each begins in the text.
    """

    messages: list[dict[str, str]]
    starts: Sequence[int]

    def places(self, spans: Sequence[Span]) -> list[Place]:
        """Where half-open characters of the text stand in the messages; one that crosses a border has several."""
        return [place for span in spans for place in self._places(*span)]

    def _places(self, start: int, end: int) -> Iterator[Place]:
        number = bisect_right(self.starts, start) - 1
        while number < len(self.starts) and self.starts[number] < end:
            first, size = self.starts[number], len(self.messages[number]["content"])
            low, high = max(start - first, 0), min(end - first, size)
            if low < high:
                yield {"message": number, "start": low, "end": high}
            number += 1


def passages(text: str, most: int = MOST) -> Passages:
    """About as many messages as `most` allows, of about the same size, none of them blank unless the text is."""
    target = max(1, -(-len(text) // most))
    borders = [0]
    place = text.find("\n", target)
    while place >= 0:
        if text[borders[-1] : place].strip() and text[place + 1 :].strip():
            borders.append(place + 1)
            place = text.find("\n", place + 1 + target)
        else:
            place = text.find("\n", place + 1)
    ends = [border - 1 for border in borders[1:]] + [len(text)]
    return Passages([document(text[start:end]) for start, end in zip(borders, ends, strict=True)], borders)
