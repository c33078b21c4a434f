"""Examples for both heads at once: a conversation with its questions, and windows with what is marked in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from ..extraction.examples import ExtractionCollator, ExtractionExample
from ..scoring.collator import ScoringCollator, ScoringExample
from .dataset import ScoringDataset
from .extraction import ExtractionDataset

JointExample = tuple[ScoringExample, list[ExtractionExample]]


class JointDataset(Dataset):
    """Each scoring example with a pack of windows, the packs so large that about all are seen once.

    Args:
        scoring: Conversations.
        extraction: Windows; packed anew, never to more packs than there are conversations.
    """

    def __init__(self, scoring: ScoringDataset, extraction: ExtractionDataset) -> None:
        self.scoring, self.extraction = scoring, extraction
        self.extraction.pack_tokens = max(1, extraction.tokens // max(len(scoring), 1))
        self.set_epoch(0)
        while len(extraction) > len(scoring):
            extraction.pack_tokens += 1 + extraction.pack_tokens // 64
            self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose and pack anew for another pass."""
        self.scoring.set_epoch(epoch)
        self.extraction.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.scoring)

    def __getitem__(self, number: int) -> JointExample:
        return self.scoring[number], self.extraction[number % len(self.extraction)]


@dataclass
class JointCollator:
    """Batches for both heads, or conversations alone, as evaluation of the scorer has them.

    Attributes:
        scoring: Of conversations.
        extraction: Of windows.
    """

    scoring: ScoringCollator
    extraction: ExtractionCollator

    def __call__(self, examples: Sequence[JointExample] | Sequence[ScoringExample]) -> dict[str, Any]:
        """What `scoring` says of the conversations, with a batch of windows as `extraction` if they have any."""
        conversations = [example for example in examples if isinstance(example, ScoringExample)]
        if conversations:
            return self.scoring(conversations)
        pairs: Sequence[Any] = examples
        windows = self.extraction([windows for _, windows in pairs])
        return {**self.scoring([conversation for conversation, _ in pairs]), "extraction": windows}
