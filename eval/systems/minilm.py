"""Cosine of mean-pooled all-MiniLM-L6-v2 states of the query and each sentence (RECOMP's extractive recipe)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from eval.systems.sentences import SentenceRanker


class System(SentenceRanker):
    """Sentence embeddings without fine-tuning.

    Args:
        encoder: Hub id or folder of the sentence encoder.
    """

    def __init__(self, encoder: str = "sentence-transformers/all-MiniLM-L6-v2") -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(encoder)
        self.model = AutoModel.from_pretrained(encoder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def _embed(self, texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        rows = np.zeros((len(texts), self.model.config.hidden_size), dtype=np.float32)
        for first in range(0, len(texts), 64):
            places = order[first : first + 64]
            batch = self.tokenizer(
                [texts[place] for place in places], padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            states = self.model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            pooled = (states * mask).sum(1) / mask.sum(1)
            rows[places] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
        return rows

    def fit(self, sentences: list[str]) -> Any:
        return self._embed(sentences)

    def rank(self, index: Any, query: str) -> np.ndarray:
        return index @ self._embed([query])[0]
