"""Conversations with their queries as the tensors that `ReetForTokenScoring.forward` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..windows import TokenTable, plan_windows, query_tokens, special_frame, token_rarity


@dataclass(frozen=True)
class ScoringExample:
    """One conversation as the scorer sees it.

    Attributes:
        table: Its tokens.
        ages: Age of each token's message in turns, of shape `(tokens,)`.
        queries: The queries in the order of their turns.
        answers: The answer to each, empty where unknown; a later query sees earlier answers.
        history: Whether later queries are read after earlier ones.
        relevance: Targets of shape `(queries, tokens)`, if this is for training.
        prior: Targets of shape `(tokens,)`, likewise.
    """

    table: TokenTable
    ages: np.ndarray
    queries: Sequence[str] = ()
    answers: Sequence[str] = ()
    history: bool = True
    relevance: np.ndarray | None = None
    prior: np.ndarray | None = None


def window_rows(table: TokenTable, tokenizer: Any, window_tokens: int) -> tuple[list[list[int]], np.ndarray]:
    """Windows with special tokens, and for each token its `(window, place)`, of shape `(tokens, 2)`."""
    before, after = special_frame(tokenizer)
    rows: list[list[int]] = []
    places = np.zeros((len(table), 2), dtype=np.int64)
    for number, (start, end) in enumerate(plan_windows(table.units, window_tokens - len(before) - len(after))):
        rows.append([*before, *table.ids[start:end].tolist(), *after])
        places[start:end, 0] = number
        places[start:end, 1] = np.arange(len(before), len(before) + end - start)
    return rows, places


def padded(rows: Sequence[Sequence[int]], fill: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as one tensor of shape `(rows, longest)` and its mask."""
    longest = max((len(row) for row in rows), default=0)
    ids = torch.full((len(rows), longest), fill, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.as_tensor(row, dtype=torch.long)
        mask[number, : len(row)] = 1
    return ids, mask


@dataclass
class ScoringCollator:
    """Batches of `ScoringExample`.

    Args:
        tokenizer: The encoder's fast tokenizer.
        window_tokens: Tokens of a window, special tokens included.
        query_tokens: Tokens of a query that are read.
        history_turns: How many earlier turns are read before a query.
        history_tokens: Tokens of those.
    """

    tokenizer: Any
    window_tokens: int = 256
    query_tokens: int = 64
    history_turns: int = 3
    history_tokens: int = 96
    fill: int = field(init=False)

    def __post_init__(self) -> None:
        self.fill = self.tokenizer.pad_token_id or 0

    @classmethod
    def of(cls, tokenizer: Any, config: Any) -> ScoringCollator:
        """The collator of a model with this configuration."""
        sizes = ("window_tokens", "query_tokens", "history_turns", "history_tokens")
        return cls(tokenizer, **{name: getattr(config, name) for name in sizes})

    def __call__(self, examples: Sequence[ScoringExample]) -> dict[str, torch.Tensor]:
        """One batch; see `ReetForTokenScoring.forward` for the shapes."""
        rows: list[list[int]] = []
        placed = []
        for example in examples:
            windows, places = window_rows(example.table, self.tokenizer, self.window_tokens)
            places[:, 0] += len(rows)
            rows.extend(windows)
            placed.append(places)
        input_ids, attention_mask = padded(rows, self.fill)
        width = input_ids.shape[1]
        batch = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_positions": _rows([places[:, 0] * width + places[:, 1] for places in placed], -1),
            "token_units": _rows([example.table.units for example in examples], -1),
            "token_words": _rows([example.table.words for example in examples], 0),
            "token_rarity": _rows([token_rarity(example.table.words) for example in examples], 0.0),
            "token_ages": _rows([example.ages for example in examples], 0),
            "token_mentions": _rows([example.table.mentions for example in examples], 0),
        }
        if any(example.queries for example in examples):
            batch.update(self._queries(examples))
        relevance = [example.relevance for example in examples if example.relevance is not None]
        prior = [example.prior for example in examples if example.prior is not None]
        if len(relevance) == len(prior) == len(examples):
            batch["relevance_labels"] = _blocks(relevance)
            batch["prior_labels"] = _rows(prior, -1.0)
        return batch

    def _queries(self, examples: Sequence[ScoringExample]) -> dict[str, torch.Tensor]:
        texts = [[f"{q} {a}".strip() for q, a in zip(e.queries, _answers(e), strict=True)] for e in examples]
        queries = [
            [self._read(query, own[:place] if example.history else ()) for place, query in enumerate(example.queries)]
            for example, own in zip(examples, texts, strict=True)
        ]
        count = max(len(example.queries) for example in examples)
        return {"query_ids": _texts(queries, 0, -1, count), "query_words": _texts(queries, 1, 0, count)}

    def _read(self, text: str, turns: Sequence[str] = ()) -> tuple[list[int], list[int]]:
        seen = turns[-self.history_turns :] if self.history_turns else ()
        return query_tokens(text, self.tokenizer, self.query_tokens, seen, self.history_tokens)


def _answers(example: ScoringExample) -> Sequence[str]:
    return example.answers or [""] * len(example.queries)


def _rows(rows: Sequence[np.ndarray], fill: float) -> torch.Tensor:
    tensors = [torch.as_tensor(np.asarray(row)) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=fill)


def _texts(texts: list[list[tuple[list[int], list[int]]]], field: int, fill: int, count: int) -> torch.Tensor:
    longest = max(len(text[0]) for row in texts for text in row)
    block = torch.full((len(texts), count, longest), fill, dtype=torch.long)
    for row, column in ((r, c) for r in range(len(texts)) for c in range(len(texts[r]))):
        values = texts[row][column][field]
        block[row, column, : len(values)] = torch.tensor(values)
    return block


def _blocks(blocks: Sequence[np.ndarray]) -> torch.Tensor:
    queries = max(block.shape[0] for block in blocks)
    tokens = max(block.shape[1] for block in blocks)
    joined = torch.full((len(blocks), queries, tokens), -1.0)
    for number, block in enumerate(blocks):
        joined[number, : block.shape[0], : block.shape[1]] = torch.as_tensor(block)
    return joined
