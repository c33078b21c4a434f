"""What every system that finds mentions offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

Place = tuple[int, int]


class MentionFinder(ABC):
    """Finds mentions in texts.

    Attributes:
        revision: What identifies the weights, empty without weights.
    """

    revision: str = ""

    @abstractmethod
    def find(self, text: str, kinds: Sequence[str]) -> list[Place]:
        """Characters of the mentions of these kinds (`labels.Guide.kinds`), whatever their types."""
