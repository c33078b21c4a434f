"""Steps that can be taken back: what depends on the messages at the open end of a conversation is made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class UndoLog:
    """How to take back what was done for each message, the last one first.

    Attributes:
        first: Number of the first message that can be taken back.
    """

    def __init__(self) -> None:
        self.first = 0
        self._steps: list[list[Callable[[], Any]]] = []

    def begin(self) -> None:
        """What is noted from here on belongs to the next message."""
        self._steps.append([])

    def note(self, undo: Callable[[], Any]) -> None:
        """Remember how the step just taken is taken back; outside of any message it is for good."""
        if self._steps:
            self._steps[-1].append(undo)

    def rewind(self, message: int) -> None:
        """Take back everything from `message` on.

        Raises:
            IndexError: If that was settled already.
        """
        if message < self.first:
            raise IndexError(f"message {message} is settled; the first that can be taken back is {self.first}")
        while self.first + len(self._steps) > message:
            for undo in reversed(self._steps.pop()):
                undo()

    def settle(self, message: int) -> None:
        """Forget how to take back what was done for messages before `message`."""
        count = min(max(message - self.first, 0), len(self._steps))
        del self._steps[:count]
        self.first += count
