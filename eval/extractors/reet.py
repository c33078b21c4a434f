"""The extraction head of a checkpoint, as the pipelines use it."""

from __future__ import annotations

from itertools import chain

from eval.extractors.base import MentionFinder, Place
from eval.revision import revision
from eval.systems.reet import scorer
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.extraction.extractor import THRESHOLD, ReetExtractor
from reet_hf.extraction.labels import Guide
from reet_hf.registration import DEFAULT_MODEL, bundled_model


class Reet(MentionFinder):
    """Scorer state and extractor of one checkpoint.

    Args:
        model: Hub id or folder.
        threshold: Chance above which a mention is found.
    """

    def __init__(self, model: str, threshold: float) -> None:
        self.scorer, self.threshold = scorer(model), threshold
        self.revision = revision(bundled_model(model))

    def find(self, text: str, guide: Guide) -> list[Place]:
        """See `MentionFinder`."""
        conversation = Conversation(parse_messages([{"role": "document", "content": text}]))
        extractor = ReetExtractor(self.scorer.model, self.scorer.tokenizer, chain(*guide.groups), self.threshold)
        findings = extractor.extract(conversation, self.scorer.encode(conversation, None))
        return sorted({(mention.start, mention.end) for mention in findings.mentions})


def build(model: str = DEFAULT_MODEL, threshold: float = THRESHOLD) -> Reet:
    """The system.

    Args:
        model: Hub id or folder of the checkpoint.
        threshold: Chance above which a mention is found.
    """
    return Reet(model, threshold)
