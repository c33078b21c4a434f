"""Rows of the multi-turn schema as scoring examples: which questions, which part of a long context, which order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from .variation import follow_up, shortened

Rows = list[dict[str, Any]]
LABELS = ("multi", "single")
VARIATION = ("labels", "mixed", "shortened", "follow_ups")  # options of examples that recipes have too


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


@dataclass(frozen=True)
class Shown:
    """What an example shows of a row.

    Attributes:
        table: Its tokens.
        ages: Age of each token's message in turns, of shape `(tokens,)`.
        questions: Those that can be asked of it.
        relevance: Targets of each, of shape `(tokens,)`.
        prior: Targets of shape `(tokens,)`.
    """

    table: TokenTable
    ages: np.ndarray
    questions: Sequence[dict[str, Any]]
    relevance: Sequence[np.ndarray]
    prior: np.ndarray

    def only(self, kept: np.ndarray) -> Shown:
        """The part of it that `kept`, of shape `(tokens,)`, says, with the questions that were answered there still."""
        relevance = [row[kept] for row in self.relevance]
        return Shown(self.table.only(kept), self.ages[kept], self.questions, relevance, self.prior[kept])

    def then(self, other: Shown) -> Shown:
        """This one with `other` after it, as one conversation."""
        messages, units = (int(column[-1]) + 1 for column in (self.table.messages, self.table.units))
        moved = replace(other.table, messages=other.table.messages + messages, units=other.table.units + units)
        before, after = np.zeros(len(self.table), np.float32), np.zeros(len(other.table), np.float32)
        return Shown(
            table=self.table.extend(moved),
            ages=np.concatenate((self.ages + other.ages.max(initial=0), other.ages)),
            questions=[*self.questions, *other.questions],
            relevance=[
                *(np.concatenate((row, after)) for row in self.relevance),
                *(np.concatenate((before, row)) for row in other.relevance),
            ],
            prior=np.concatenate((self.prior, other.prior)),
        )


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
        mixed: Chance that a second row, chosen at random, is shown before or after, each in half of the tokens: what
            answers the questions of one is no evidence for those of the other.
        shortened: Chance that the oldest part, of random length, is shown as an earlier compression leaves it.
        follow_ups: Chance that a question that sees the one before has a pronoun for what both speak of.
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
        mixed: float = 0.0,
        shortened: float = 0.0,
        follow_ups: float = 0.0,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_tokens, self.max_questions = max_tokens, max_questions
        self.seed, self.vary, self.epoch = seed, vary, 0
        self.labels, self.mixed = labels, mixed
        self.shortened, self.follow_ups = shortened, follow_ups
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
        chooser = np.random.default_rng((self.seed, self.epoch, number))
        other = int(chooser.integers(len(self.rows))) if self.mixed and chooser.random() < self.mixed else None
        if other is None:
            shown = self._shown(self.rows[number], chooser, self.max_tokens)
        else:
            half = self.max_tokens // 2
            parts = [self._shown(self.rows[place], chooser, half) for place in (number, other)]
            first, second = chooser.permutation(2).tolist()
            shown = parts[first].then(parts[second])
        order = self._order(len(shown.questions), chooser)
        chosen = [shown.questions[place] for place in order]
        queries = [question["question"] for question in chosen]
        answers = [(question["answers"] or ["unanswerable"])[0] for question in chosen]
        history = not self.vary or bool(chooser.random() < 2 / 3)
        if history and self.follow_ups:
            before = [f"{query} {answer}" for query, answer in zip(queries, answers, strict=True)]
            for place in np.flatnonzero(chooser.random(len(queries) - 1) < self.follow_ups).tolist():
                queries[place + 1] = follow_up(queries[place + 1], before[place], chooser)
        return ScoringExample(
            table=shown.table,
            ages=shown.ages,
            queries=queries,
            answers=answers,
            history=history,
            relevance=np.stack([shown.relevance[place] for place in order]),
            prior=shown.prior,
        )

    def _shown(self, row: dict[str, Any], chooser: np.random.Generator, limit: int) -> Shown:
        """What an example shows of a row in at most `limit` tokens."""
        conversation = Conversation(parse_messages(row["messages"]))
        table = tokenize(conversation, self.tokenizer)
        questions = row["questions"]
        if len(table) > limit:
            table, questions = self._part(table, questions, chooser, limit)
        if self.labels == "single":
            questions = [questions[int(chooser.integers(len(questions)))]]
        relevance = [relevance_targets(table, question) for question in questions]
        ages = np.array(conversation.ages(), dtype=np.int64)[table.messages]
        shown = Shown(table, ages, questions, relevance, prior_targets(relevance))
        if self.shortened and chooser.random() < self.shortened:
            texts = [message.text for message in conversation.messages]
            shown = shown.only(shortened(table, texts, np.any(relevance, axis=0), chooser))
        return shown

    def _order(self, count: int, chooser: np.random.Generator) -> list[int]:
        if count > self.max_questions:
            chosen = chooser.permutation(count)[: self.max_questions] if self.vary else range(self.max_questions)
            order = sorted(int(place) for place in chosen)
        else:
            order = list(range(count))
        return [int(p) for p in chooser.permutation(order)] if self.vary and chooser.random() < 0.5 else order

    def _part(
        self, table: TokenTable, questions: Sequence[dict[str, Any]], chooser: np.random.Generator, limit: int
    ) -> tuple[TokenTable, list[dict[str, Any]]]:
        """A stretch around the evidence of a question that begins with a sentence, and the questions it can answer."""
        targets = [relevance_targets(table, question) for question in questions]
        shown = [place for place, row in enumerate(targets) if row.any()]
        centre = 0
        if shown:
            evidence = np.flatnonzero(targets[int(chooser.choice(shown))])
            centre = int(chooser.choice(evidence))
        start = int(np.clip(centre - chooser.integers(limit), 0, len(table) - limit))
        start = max(int(np.searchsorted(table.units, table.units[start])), centre - limit + 1)
        rows = slice(start, start + limit)
        part = table.only(rows)
        kept = [q for q, row in zip(questions, targets, strict=True) if row[rows].any() or not row.any()]
        return part, kept or list(questions[:1])
