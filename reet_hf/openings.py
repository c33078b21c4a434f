"""What is paid for once where anything inside is kept: a message with its label and calls, a table with its header.

Openings are numbered: those of messages by their message, those of the containers of structured text below zero, in the
order of the messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .candidates import Opens
from .conversation import Conversation, Message
from .parts import Part
from .records import Span, Unit
from .segmentation import layout
from .structure import frame
from .unit_table import UnitTable

MARKER = 6  # tokens of a marker that says what a container lost


@dataclass
class Containers:
    """The containers of the structured text of a conversation; it only grows.

    Attributes:
        messages: How many messages were looked at.
        frames: Of each container what stands wherever it does, container number `n` being opening `-1 - n`.
        around: By message and first character of a leaf the openings of its containers, the outer first.
        structured: Messages that have any.
    """

    messages: int = 0
    frames: list[tuple[Span, ...]] = field(default_factory=list)
    around: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)
    structured: set[int] = field(default_factory=set)

    def read(self, messages: Sequence[Message]) -> None:
        """Look at the messages that were not seen yet."""
        for number in range(self.messages, len(messages)):
            for part in layout(messages[number]):
                self._enter(number, part, ())
        self.messages = len(messages)

    def slices(self, first: int) -> Iterator[tuple[int, Span]]:
        """The slices of the frames of the containers from number `first` on, each with its container's number."""
        for number in range(first, len(self.frames)):
            for span in self.frames[number]:
                yield number, span

    def _enter(self, message: int, part: Part, outer: tuple[int, ...]) -> None:
        if not part.parts:
            if outer:
                self.around[message, part.start] = outer
                self.structured.add(message)
            return
        self.frames.append(tuple(Span(message, start, end) for start, end in frame(part)))
        inner = (*outer, -len(self.frames))
        for child in part.parts:
            self._enter(message, child, inner)


def openings(units: Sequence[Unit], homes: Sequence[int], containers: Containers) -> Opens:
    """For each unit all that it opens: the home of its message, and the containers that it stands in."""
    table = UnitTable.of(units)
    first = np.asarray(homes, dtype=np.int64)[table.places[:, 0]] if len(table) else np.zeros(0, dtype=np.int64)
    more: dict[int, tuple[int, ...]] = {}
    if containers.around:
        candidates = np.isin(table.places[:, 0], list(containers.structured)) & ~table.are(["message"])
        places = np.flatnonzero(candidates)
        for place, (message, start, _) in zip(places.tolist(), table.places[places].tolist(), strict=True):
            inner = containers.around.get((message, start))
            if inner is not None:
                more[place] = inner
    return Opens(first, more)


def weighed(conversation: Conversation, containers: Containers) -> np.ndarray:
    """Whether each opening is dear enough to count in the order of what is bought, of the shape of `prices`.

    Tool exchanges and containers are; other messages cost little, and each the same.
    """
    calling = np.array([message.is_exchange for message in conversation.messages], dtype=bool)
    return np.concatenate((calling, np.ones(len(containers.frames), dtype=bool)))


def prices(overheads: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Tokens of each opening, of shape `(messages + containers,)`, to be read by number, below zero from the end.

    Args:
        overheads: Of each message's home, of shape `(messages,)`.
        frames: Of each container's frame, of shape `(containers,)`.
    """
    return np.concatenate((overheads, (frames + MARKER)[::-1])).astype(np.int64)
