"""Windows with what is marked in them, as tensors for the extraction head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ..windows import TokenTable, special_frame

NONE = np.zeros((0, 4), dtype=np.int64)


@dataclass(frozen=True)
class WindowWords:
    """Words of a window; each column has the shape `(words,)`.

    Attributes:
        first: Place of the word's first token among the window's tokens, special tokens not counted.
        last: Place of its last one.
        shapes: `windows.word_shape` of it.
        units: Number of its sentence.
    """

    first: np.ndarray
    last: np.ndarray
    shapes: np.ndarray
    units: np.ndarray

    @classmethod
    def of(cls, table: TokenTable) -> WindowWords:
        """The words of a window's tokens; one that the window cuts begins with it."""
        begins = table.begins.astype(bool).copy()
        begins[:1] = True
        first = np.flatnonzero(begins)
        last = np.append(first[1:], len(table)) - 1
        return cls(first, last, table.shapes[first], table.units[first])


@dataclass(frozen=True)
class ExtractionExample:
    """One window and, for training, what is marked in it; words are counted from its first.

    Attributes:
        ids: Vocabulary ids, of shape `(tokens,)`.
        words: Its words.
        groups: Group of each channel in the guide it was marked by, -1 for none, of shape `(channels,)`.
        entities: First word, last word and group of each, -1 for what trains nothing, of shape `(entities, 3)`.
        facts: First and last word of the subject, then of the fact, of shape `(facts, 4)`.
        subjects: First and last word of those it is known of what is said of them, of shape `(subjects, 2)`.
        fact_kind: How facts are marked; -1 if they are not.
    """

    ids: np.ndarray
    words: WindowWords
    groups: np.ndarray
    entities: np.ndarray
    facts: np.ndarray = field(default_factory=lambda: NONE)
    subjects: np.ndarray = field(default_factory=lambda: NONE[:, :2])
    fact_kind: int = -1


@dataclass
class ExtractionCollator:
    """Makes a batch of windows, or of lists of windows.

    Attributes:
        tokenizer: The encoder's fast tokenizer.
    """

    tokenizer: Any

    def __post_init__(self) -> None:
        self.before, self.after = special_frame(self.tokenizer)
        self.fill = self.tokenizer.pad_token_id or 0

    def __call__(self, examples: Sequence[ExtractionExample | Sequence[ExtractionExample]]) -> dict[str, torch.Tensor]:
        """One batch; see `ReetForEntityExtraction.forward` for the shapes."""
        windows: list[ExtractionExample] = []
        for item in examples:
            windows.extend([item] if isinstance(item, ExtractionExample) else item)
        ids = [np.array([*self.before, *window.ids.tolist(), *self.after]) for window in windows]
        words = [window.words for window in windows]
        shift = len(self.before)
        return {
            "input_ids": padded_rows(ids, self.fill),
            "attention_mask": padded_rows([np.ones(len(row), dtype=np.int64) for row in ids], 0),
            "word_first": padded_rows([own.first + shift for own in words], -1),
            "word_last": padded_rows([own.last + shift for own in words], 0),
            "word_shapes": padded_rows([own.shapes for own in words], 0),
            "word_units": padded_rows([own.units for own in words], -1),
            "channel_groups": padded_rows([window.groups for window in windows], -1),
            "entity_labels": padded_rows([window.entities for window in windows], -2),
            "subjects": padded_rows([window.subjects for window in windows], -1),
            "fact_labels": padded_rows([window.facts for window in windows], -1),
            "fact_kinds": torch.tensor([window.fact_kind for window in windows]),
        }


def padded_rows(rows: Sequence[np.ndarray], fill: int) -> torch.Tensor:
    """Arrays that differ in their first dimension as one tensor."""
    return pad_sequence([torch.from_numpy(np.asarray(row)) for row in rows], batch_first=True, padding_value=fill)
