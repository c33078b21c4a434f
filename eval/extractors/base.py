"""What every system that finds mentions offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from reet_hf.extraction.labels import Guide

Place = tuple[int, int]


class MentionFinder(ABC):
    """Finds mentions in texts.

    Attributes:
        revision: What identifies the weights, empty without weights.
    """

    revision: str = ""

    @abstractmethod
    def find(self, text: str, guide: Guide) -> list[Place]:
        """Characters of the mentions that a data set with this guide marks."""
