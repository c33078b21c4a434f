"""A GLiNER (Zaratiana et al., arXiv:2311.08526) that `train/train_gliner.py` trained on the extractor's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eval.extractors.base import MentionFinder, Place
from eval.revision import revision, unavailable
from eval.systems.gliner_entities import stretches
from reet_hf.extraction.labels import Guide

LABELS = {"named": "name", "nominal": "description", "term": "term", "argument": "argument"}


class Gliner(MentionFinder):
    """A loaded model.

    Args:
        model: The model.
        threshold: Chance from which on a span is found.
        digest: Of its files.
    """

    def __init__(self, model: Any, threshold: float, digest: str = "") -> None:
        self.model, self.threshold, self.revision = model, threshold, digest

    def find(self, text: str, guide: Guide) -> list[Place]:
        """See `MentionFinder`."""
        pieces = stretches(text, self.model.config.max_len)
        labels = [LABELS[kind] for kind in guide.kinds]
        found: list[Place] = []
        shift = 0
        for piece, entities in zip(
            pieces, self.model.inference(pieces, labels, threshold=self.threshold, batch_size=8), strict=True
        ):
            shift = text.index(piece, shift)
            found.extend((shift + entity["start"], shift + entity["end"]) for entity in entities)
            shift += len(piece)
        return found


def build(model: str, threshold: float = 0.5) -> Gliner:
    """The system.

    Args:
        model: Folder of a run of `train/train_gliner.py`.
        threshold: Chance from which on a span is found.

    Raises:
        ReetError: If the package or the weights are not there.
    """
    try:
        from gliner import GLiNER

        loaded = GLiNER.from_pretrained(model, local_files_only=True)
    except (ImportError, OSError) as error:
        raise unavailable(model, error) from error
    return Gliner(loaded.eval(), threshold, revision(str(Path(model))))
