"""Rows of the multi-turn schema as scoring examples: which questions, which part of a long context, which order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch.utils.data import Dataset

from ..conversation import Conversation, parse_messages
from ..errors import ReetError
from ..scoring.collator import ScoringExample
from ..scoring.labels import prior_targets, relevance_targets
from ..windows import TokenTable, tokenize
from .variation import follow_up, shortened

Rows = list[dict[str, Any]]
CheckedRow = Callable[[Any, Path, int], dict[str, Any]]
LABELS = ("multi", "single")
LICENSES = ("commercial", "any")
NOT_STATED = "not stated"  # what stands for the licence of a row that has none
VARIATION = ("labels", "mixed", "shortened", "follow_ups")  # options of examples that recipes have too


def data_files(folder: str | Path) -> dict[str, Path]:
    """Every data file of a folder by its name without ending, in order.

    Raises:
        ReetError: If the folder is none, or two files have the same name.
    """
    if not Path(folder).is_dir():
        raise ReetError(f"`data` must be a folder, got {str(folder)!r}; name the one with .parquet or .jsonl files.")
    found: dict[str, Path] = {}
    for path in sorted(path for path in Path(folder).iterdir() if path.suffix in READERS):
        other = found.setdefault(path.stem, path)
        if other != path:
            raise ReetError(f"`data` must hold each name once, but has {other.name} and {path.name}; rename one.")
    return found


def read_files(
    folder: str | Path, names: Sequence[str], licenses: str = "commercial", checked: CheckedRow | None = None
) -> dict[str, Rows]:
    """Rows of `folder/NAME.parquet` or `folder/NAME.jsonl` for each name.

    Args:
        folder: Of the data.
        names: Of its files, without endings.
        licenses: One of `LICENSES`: `commercial` refuses rows that must not train a model that ships.
        checked: Gives a row as it is used, from the row as it is read, its file, and its number: of a line, from 1, in
            JSONL, of a row, from 1, in parquet. Without it rows are used as they are read.

    Raises:
        ReetError: If a file is missing or cannot be read, or holds rows that must not be used.
    """
    known = data_files(folder)
    found: dict[str, Rows] = {}
    for name in names:
        path = known.get(name)
        if path is None:
            have = ", ".join(known) or "none"
            raise ReetError(f"`data` must hold {name}.parquet, but {folder} has {have}; fix the recipe's mixture.")
        read = READERS[path.suffix](path)
        found[name] = [row if checked is None else checked(row, path, number) for number, row in read]
        for row in found[name] if licenses == "commercial" else ():
            license = row.get("license") or NOT_STATED
            if any(word in license.lower() for word in (NOT_STATED, "research", "-nc")):
                raise ReetError(
                    f"{path.name}: row {row.get('id')} is licensed {license!r}, not for shipped weights; to train your "
                    "own on it add --licenses any."
                )
    return found


def _read_parquet(path: Path) -> list[tuple[int, Any]]:
    try:
        return list(enumerate(pq.read_table(path).to_pylist(), 1))
    except (OSError, pa.ArrowException) as error:
        raise ReetError(f"{path.name} must be a parquet file, but cannot be read ({error}); write it anew.") from error


def _read_lines(path: Path) -> list[tuple[int, Any]]:
    rows, number = [], 0
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if line.strip():
                rows.append((number, json.loads(line)))
    except ValueError as error:
        raise ReetError(
            f"{path.name}, line {number}: must be a JSON object on one line in "
            f"UTF-8, but is not ({error}); write it with json.dumps."
        ) from error
    return rows


READERS: dict[str, Callable[[Path], list[tuple[int, Any]]]] = {".parquet": _read_parquet, ".jsonl": _read_lines}
"""What reads the rows of a file with their numbers, by its ending."""


def split_conversations(files: Mapping[str, Rows], share: float, seed: int) -> dict[str, Rows]:
    """Files with a share of their conversations apart, under `NAME-held`; rows with the same messages stay together.

    A file of at least two conversations gives one at least and keeps one at least.

    Args:
        files: Rows by file name.
        share: Of the conversations that are held out.
        seed: Of the choice.

    Raises:
        ReetError: If no file has two conversations with questions.
    """
    found: dict[str, Rows] = {}
    held = 0
    for name, rows in files.items():
        keys = [hashlib.sha256(json.dumps(row["messages"], sort_keys=True).encode()).hexdigest() for row in rows]
        order = sorted({key for key, row in zip(keys, rows, strict=True) if row["questions"]})
        count = min(max(round(share * len(order)), 1), len(order) - 1)
        chosen = {order[place] for place in np.random.default_rng(seed).permutation(len(order))[: max(count, 0)]}
        found[name] = [row for key, row in zip(keys, rows, strict=True) if key not in chosen]
        found[f"{name}-held"] = [row for key, row in zip(keys, rows, strict=True) if key in chosen]
        held += len(chosen)
    if not held:
        raise ReetError(
            "`held_out` needs a file with at least 2 conversations that have questions, got none; add some, or "
            "name files to evaluate on: --evaluation '{NAME: 1}'."
        )
    return found


def fingerprint(folder: str | Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file, as the first 16 hexadecimal digits."""
    known = data_files(folder)
    return {name: hashlib.sha256(known[name].read_bytes()).hexdigest()[:16] for name in names}


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
