"""A GLiNER (Zaratiana et al., arXiv:2311.08526) that `train/train_gliner.py` trained on the extractor's data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.extractors.base import MentionFinder, Place
from eval.revision import revision, unavailable
from eval.systems.gliner_entities import stretches
from reet_hf.extraction.labels import Guide

LABELS = {"named": "name", "nominal": "description", "term": "term", "argument": "argument"}
# best on the development sets, as those of `reet_hf.extraction.extractor`
THRESHOLDS = {"named": 0.2, "nominal": 0.25, "term": 0.2, "argument": 0.6}


class Gliner(MentionFinder):
    """A loaded model.

    Args:
        model: The model.
        thresholds: Chance from which on a mention is found, by its kind.
        digest: Of its files.
    """

    def __init__(self, model: Any, thresholds: Mapping[str, float], digest: str = "") -> None:
        self.model, self.thresholds, self.revision = model, thresholds, digest

    def find(self, text: str, guide: Guide) -> list[Place]:
        """See `MentionFinder`."""
        pieces = stretches(text, self.model.config.max_len)
        least = {LABELS[kind]: self.thresholds[kind] for kind in guide.kinds}
        found: list[Place] = []
        shift = 0
        for piece, entities in zip(
            pieces, self.model.inference(pieces, list(least), threshold=min(least.values()), batch_size=8), strict=True
        ):
            shift = text.index(piece, shift)
            found.extend(
                (shift + entity["start"], shift + entity["end"])
                for entity in entities
                if entity["score"] >= least[entity["label"]]
            )
            shift += len(piece)
        return found


def build(model: str, thresholds: Mapping[str, float] = THRESHOLDS) -> Gliner:
    """The system.

    Args:
        model: Folder of a run of `train/train_gliner.py`.
        thresholds: Chance from which on a mention is found, by its kind.

    Raises:
        ReetError: If the package or the weights are not there.
    """
    try:
        from gliner import GLiNER

        loaded = GLiNER.from_pretrained(model, local_files_only=True)
    except (ImportError, OSError) as error:
        raise unavailable(model, error) from error
    return Gliner(loaded.eval(), thresholds, revision(str(Path(model))))
