"""Rows of the multi-turn schema as scoring examples: which questions, which part of a long context, which order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from torch.utils.data import Dataset

from ..conversation import Conversation, parse_messages
from ..errors import ReetError
from ..scoring.collator import ScoringExample
from ..scoring.labels import prior_targets, relevance_targets
from ..windows import TokenTable, tokenize

Rows = list[dict[str, Any]]
LABELS = ("multi", "single")


def read_files(folder: str | Path, names: Sequence[str]) -> dict[str, Rows]:
    """Rows of `folder/NAME.parquet` for each name.

    Raises:
        ReetError: If a file is missing, or holds rows that must not train a model that ships.
    """
    found: dict[str, Rows] = {}
    for name in names:
        path = Path(folder) / f"{name}.parquet"
        if not path.is_file():
            have = ", ".join(sorted(file.stem for file in Path(folder).glob("*.parquet"))) or "none"
            raise ReetError(f"`data` must hold {name}.parquet, but {folder} has {have}; fix the recipe's mixture.")
        found[name] = pq.read_table(path).to_pylist()
        for row in found[name]:
            if "research" in row["license"].lower() or "-nc" in row["license"].lower():
                raise ReetError(
                    f"{path.name}: row {row['id']} is licensed {row['license']!r}, not for shipped weights."
                )
    return found


def fingerprint(folder: str | Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file, as the first 16 hexadecimal digits."""
    return {name: hashlib.sha256((Path(folder) / f"{name}.parquet").read_bytes()).hexdigest()[:16] for name in names}


class ScoringDataset(Dataset):
    """Scoring examples of a mixture of files, made when asked for.

    Args:
        files: Rows by file name.
        tokenizer: The encoder's fast tokenizer.
        mixture: How often each file is passed over in one epoch; 0.5 is half of its rows.
        max_tokens: Longest part of a context that one example shows; a longer one is cut at windows around evidence.
        max_questions: Questions of one context that share its encoder pass.
        seed: Of every choice made here; the same seed gives the same examples.
        vary: Whether to shuffle the questions of half of the contexts and to hide history from a third.
        labels: `multi`: questions share a context and the prior's targets come from all of them. `single`: of the
            questions that a shown part has, one is chosen at random; it alone is asked and gives the prior's targets.
    """

    def __init__(
        self,
        files: Mapping[str, Rows],
        tokenizer: Any,
        mixture: Mapping[str, float],
        *,
        max_tokens: int = 4096,
        max_questions: int = 16,
        seed: int = 0,
        vary: bool = True,
        labels: str = "multi",
    ) -> None:
        self.tokenizer = tokenizer
        self.max_tokens, self.max_questions = max_tokens, max_questions
        self.seed, self.vary, self.epoch = seed, vary, 0
        self.labels = labels
        self.rows: Rows = []
        chooser = np.random.default_rng(seed)
        for name, passes in mixture.items():
            rows = [row for row in files[name] if row["questions"]]
            for _ in range(int(passes)):
                self.rows.extend(rows)
            rest = chooser.permutation(len(rows))[: round((passes % 1) * len(rows))]
            self.rows.extend(rows[number] for number in sorted(rest))

    def set_epoch(self, epoch: int) -> None:
        """Choose questions anew for another pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> ScoringExample:
        row = self.rows[number]
        chooser = np.random.default_rng((self.seed, self.epoch, number))
        conversation = Conversation(parse_messages(row["messages"]))
        table = tokenize(conversation, self.tokenizer)
        questions = row["questions"]
        if len(table) > self.max_tokens:
            table, questions = self._part(table, questions, chooser)
        if self.labels == "single":
            questions = [questions[int(chooser.integers(len(questions)))]]
        order = self._order(len(questions), chooser)
        chosen = [questions[place] for place in order]
        everything = [relevance_targets(table, question) for question in questions]
        return ScoringExample(
            table=table,
            ages=np.array(conversation.ages(), dtype=np.int64)[table.messages],
            queries=[question["question"] for question in chosen],
            answers=[(question["answers"] or ["unanswerable"])[0] for question in chosen],
            history=not self.vary or bool(chooser.random() < 2 / 3),
            relevance=np.stack([everything[place] for place in order]),
            prior=prior_targets(everything),
        )

    def _order(self, count: int, chooser: np.random.Generator) -> list[int]:
        if count > self.max_questions:
            chosen = chooser.permutation(count)[: self.max_questions] if self.vary else range(self.max_questions)
            order = sorted(int(place) for place in chosen)
        else:
            order = list(range(count))
        return [int(p) for p in chooser.permutation(order)] if self.vary and chooser.random() < 0.5 else order

    def _part(
        self, table: TokenTable, questions: Sequence[dict[str, Any]], chooser: np.random.Generator
    ) -> tuple[TokenTable, list[dict[str, Any]]]:
        """A stretch around the evidence of a question that begins with a sentence, and the questions it can answer."""
        targets = [relevance_targets(table, question) for question in questions]
        shown = [place for place, row in enumerate(targets) if row.any()]
        centre = 0
        if shown:
            evidence = np.flatnonzero(targets[int(chooser.choice(shown))])
            centre = int(chooser.choice(evidence))
        start = int(np.clip(centre - chooser.integers(self.max_tokens), 0, len(table) - self.max_tokens))
        start = max(int(np.searchsorted(table.units, table.units[start])), centre - self.max_tokens + 1)
        rows = slice(start, start + self.max_tokens)
        part = TokenTable(*(getattr(table, name)[rows] for name in TokenTable.__dataclass_fields__))
        kept = [q for q, row in zip(questions, targets, strict=True) if row[rows].any() or not row.any()]
        return part, kept or list(questions[:1])
