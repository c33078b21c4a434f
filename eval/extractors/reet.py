"""The extraction head of a checkpoint, as the pipelines use it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from eval.extractors.base import MentionFinder, Place
from eval.revision import revision
from eval.systems.reet import scorer
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.extraction.extractor import THRESHOLDS, ReetExtractor
from reet_hf.extraction.labels import Guide
from reet_hf.registration import DEFAULT_MODEL, bundled_model


class Reet(MentionFinder):
    """Scorer state and extractor of one checkpoint.

    Args:
        model: Hub id or folder.
        thresholds: Chance above which a mention is found, by its kind.
    """

    def __init__(self, model: str, thresholds: Mapping[str, float]) -> None:
        self.scorer, self.thresholds = scorer(model), thresholds
        self.revision = revision(bundled_model(model))

    def find(self, text: str, guide: Guide) -> list[Place]:
        """See `MentionFinder`."""
        conversation = Conversation(parse_messages([{"role": "document", "content": text}]))
        extractor = ReetExtractor(self.scorer.model, self.scorer.tokenizer, chain(*guide.groups), self.thresholds)
        findings = extractor.extract(conversation, self.scorer.encode(conversation, None))
        return sorted({(mention.start, mention.end) for mention in findings.mentions})


def build(model: str = DEFAULT_MODEL, thresholds: Mapping[str, float] = THRESHOLDS) -> Reet:
    """The system.

    Args:
        model: Hub id or folder of the checkpoint.
        thresholds: Chance above which a mention is found, by its kind.
    """
    return Reet(model, thresholds)
