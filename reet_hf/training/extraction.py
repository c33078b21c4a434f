"""Rows of the extraction schema as windows with their labels, packed to batches of about as many tokens each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..conversation import Conversation, parse_messages
from ..extraction.examples import ExtractionCollator, ExtractionExample, WindowWords
from ..extraction.extractor import FACT_THRESHOLD, decode
from ..extraction.labels import Guide, channel_groups, guide_of, marked, word_spans
from ..modeling.extraction_head import grouped
from ..windows import plan_windows, tokenize
from .dataset import Rows, read_files

FACT_KINDS = {"redocred": "relation", "dialogre": "relation", "carb": "clause", "qasrlgs": "clause"}
SUBJECTS = 24  # of a window that facts are asked of in training
HELD = ("redocred-train",)  # a fifth of the rows is for development
POOL = 64  # packs whose windows are sorted by length together


def windows_of(
    row: Mapping[str, Any], tokenizer: Any, guide: Guide, fact_kind: int = -1, window_tokens: int = 256
) -> list[ExtractionExample]:
    """The windows of a text as the encoder reads them, with what is marked in each; what a border cuts is left out.

    Args:
        row: Of the extraction schema.
        tokenizer: The encoder's fast tokenizer.
        guide: Of its data set.
        fact_kind: How its facts are marked; -1 if they are not.
        window_tokens: Tokens of a window, special tokens included.
    """
    conversation = Conversation(parse_messages([{"role": "document", "content": row["text"]}]))
    table = tokenize(conversation, tokenizer)
    table = table.only(table.starts >= 0)
    frame = tokenizer.num_special_tokens_to_add()
    groups = channel_groups(guide)
    found = []
    for start, end in plan_windows(table.units, window_tokens - frame):
        part = table.only(slice(start, end))
        words = WindowWords.of(part)
        borders = part.starts[words.first], part.ends[words.last]
        places = word_spans([marked(entity) for entity in row["entities"]], *borders)
        entities = {
            (*place, -1 if group is None else group)
            for place, entity in zip(places, row["entities"], strict=True)
            if place is not None
            for group in [guide.group(row["text"][slice(*marked(entity))], entity["type"])]
        }
        facts = _facts(row, borders) if fact_kind >= 0 else []
        subjects = sorted({fact[:2] for fact in facts} | {entity[:2] for entity in entities if fact_kind >= 0})
        found.append(
            ExtractionExample(
                ids=part.ids,
                words=words,
                groups=groups,
                entities=_array(sorted(entities), 3),
                facts=_array(facts, 4),
                subjects=_array(subjects, 2),
                fact_kind=fact_kind,
            )
        )
    return found


def _facts(row: Mapping[str, Any], borders: tuple[np.ndarray, np.ndarray]) -> list[tuple[int, ...]]:
    """First and last word of subject and fact; of facts of one subject that lie in one another the longest."""
    subjects = word_spans([(fact["entity_start"], fact["entity_end"]) for fact in row["facts"]], *borders)
    spans = word_spans([(fact["start"], fact["end"]) for fact in row["facts"]], *borders)
    found = {(*a, *b) for a, b in zip(subjects, spans, strict=True) if a is not None and b is not None}
    return sorted(
        fact
        for fact in found
        if not any(o[:2] == fact[:2] and o != fact and o[2] <= fact[2] and fact[3] <= o[3] for o in found)
    )


def _array(rows: Sequence[Sequence[int]], width: int) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def chosen_rows(
    files: Mapping[str, Rows], mixture: Mapping[str, float], seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of the file and row, as often as the mixture says; of a part of a pass the rows are chosen by `seed`."""
    chooser = np.random.default_rng(seed)
    for name, passes in mixture.items():
        rows = files[name]
        part = sorted(chooser.permutation(len(rows))[: round((passes % 1) * len(rows))].tolist())
        for place in [*range(len(rows))] * int(passes) + part:
            yield name, rows[place]


class ExtractionDataset(Dataset):
    """Packs of windows of a mixture of files.

    Args:
        files: Rows by file name.
        tokenizer: The encoder's fast tokenizer.
        mixture: How often each file is passed over; 0.5 is half of its rows.
        fact_kinds: `ReetConfig.fact_kinds`.
        window_tokens: Tokens of a window.
        pack_tokens: Tokens of a pack, padding included; a pack has one window at least.
        seed: Of the choice and the order.
    """

    def __init__(
        self,
        files: Mapping[str, Rows],
        tokenizer: Any,
        mixture: Mapping[str, float],
        *,
        fact_kinds: Sequence[str],
        window_tokens: int = 256,
        pack_tokens: int = 2048,
        seed: int = 0,
    ) -> None:
        self.seed, self.pack_tokens = seed, pack_tokens
        made: dict[int, list[ExtractionExample]] = {}
        self.windows: list[ExtractionExample] = []
        for name, row in chosen_rows(files, mixture, seed):
            if id(row) not in made:
                kind = FACT_KINDS.get(name.partition("-")[0])
                number = -1 if kind is None else list(fact_kinds).index(kind)
                made[id(row)] = windows_of(row, tokenizer, guide_of(name), number, window_tokens)
            self.windows.extend(made[id(row)])
        self.tokens = sum(len(window.ids) for window in self.windows)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Pack anew for another pass."""
        chooser = np.random.default_rng((self.seed, epoch))
        order = chooser.permutation(len(self.windows)).tolist()
        mean = self.tokens / max(len(order), 1)
        step = max(int(POOL * self.pack_tokens / max(mean, 1)), 1)
        packs: list[list[int]] = []
        for first in range(0, len(order), step):
            packs.extend(self._packs(sorted(order[first : first + step], key=lambda n: len(self.windows[n].ids))))
        self.packs = [packs[place] for place in chooser.permutation(len(packs)).tolist()]
        self.epoch = epoch

    def _packs(self, numbers: Sequence[int]) -> list[list[int]]:
        """Windows in order of their length, cut where a pack is full."""
        packs: list[list[int]] = []
        for number in numbers:
            size = len(self.windows[number].ids)
            if packs and (len(packs[-1]) + 1) * size <= self.pack_tokens:
                packs[-1].append(number)
            else:
                packs.append([number])
        return packs

    def __len__(self) -> int:
        return len(self.packs)

    def __getitem__(self, number: int) -> list[ExtractionExample]:
        chooser = np.random.default_rng((self.seed, self.epoch, number))
        return [_some_subjects(self.windows[place], chooser) for place in self.packs[number]]


def _some_subjects(window: ExtractionExample, chooser: np.random.Generator) -> ExtractionExample:
    """The window with at most `SUBJECTS` subjects, those with facts first."""
    if len(window.subjects) <= SUBJECTS:
        return window
    told = {tuple(fact[:2]) for fact in window.facts.tolist()}
    places = chooser.permutation(len(window.subjects))
    kept = sorted(places.tolist(), key=lambda place: tuple(window.subjects[place].tolist()) not in told)[:SUBJECTS]
    return ExtractionExample(**{**vars(window), "subjects": window.subjects[sorted(kept)]})


def extraction_files(folder: str | Path, names: Sequence[str]) -> dict[str, Rows]:
    """Rows of files of the extraction schema by name; `NAME-held` is the held-out part of `NAME`, which lacks it.

    Raises:
        ReetError: If a file is missing, or holds rows that must not train a model that ships.
    """
    return held_out(read_files(folder, sorted({name.removesuffix("-held") for name in names})))


def held_out(files: Mapping[str, Rows]) -> dict[str, Rows]:
    """The files, of those in `HELD` every fifth row under `NAME-held` instead."""
    found: dict[str, Rows] = {}
    for name, rows in files.items():
        if name not in HELD:
            found[name] = rows
            continue
        found[name] = [row for number, row in enumerate(rows) if number % 5]
        found[f"{name}-held"] = rows[::5]
    return found


@torch.no_grad()
def extraction_scores(
    model: Any, tokenizer: Any, rows: Rows, name: str, threshold: float, fact_threshold: float = FACT_THRESHOLD
) -> dict[str, float]:
    """Precision, recall and F1 of entity spans of any type, of facts given their subjects, and accuracy of links.

    Args:
        model: A `ReetForEntityExtraction`.
        tokenizer: Of its encoder.
        rows: Of the extraction schema.
        name: Of their file.
        threshold: Chance above which an entity is found.
        fact_threshold: The same for a fact.
    """
    model.eval()
    guide, kind = guide_of(name), FACT_KINDS.get(name.partition("-")[0])
    number = -1 if kind is None else (model.config.fact_kinds or []).index(kind)
    collator = ExtractionCollator(tokenizer)
    entities, facts, links = np.zeros(3), np.zeros(5), np.zeros(2)
    entities[2] = sum(
        len({marked(e) for e in row["entities"] if guide.kind(row["text"][slice(*marked(e))])}) for row in rows
    )
    windows = [
        window for row in rows for window in windows_of(row, tokenizer, guide, number, model.config.window_tokens)
    ]
    windows.sort(key=lambda window: len(window.ids))
    for first in range(0, len(windows), 16):
        batch = windows[first : first + 16]
        inputs = {key: value.to(model.device) for key, value in collator(batch).items()}
        output = model(**inputs)
        scores = grouped(output.entities, inputs["channel_groups"], int(inputs["channel_groups"].max()) + 1)
        for place, window in enumerate(batch):
            count = len(window.words.first)
            gold = {tuple(span[:2]) for span in window.entities.tolist() if span[2] >= 0}
            unsaid = {tuple(span[:2]) for span in window.entities.tolist() if span[2] < 0}
            found = {(s.first, s.last) for s in decode(scores[place, :count].cpu(), threshold)} - unsaid
            entities[:2] += len(found & gold), len(found)
            if number >= 0 and output.facts is not None:
                facts += _fact_counts(window, output.facts[place], count, fact_threshold)
            if number >= 0 and output.links is not None:
                links += _link_counts(window, output.links[place])
    said = {"entity_" + key: value for key, value in _scores(*entities).items()}
    if number >= 0:
        exact, overlapping, covered, predicted, there = facts.tolist()
        said |= {"fact_exact_f1": _scores(exact, predicted, there)["f1"]}
        precision, recall = overlapping / max(predicted, 1), covered / max(there, 1)
        said |= {"fact_precision": precision, "fact_recall": recall}
        said |= {"fact_f1": 2 * precision * recall / max(precision + recall, 1e-9)}
        said |= {"link_accuracy": links[0] / max(links[1], 1)}
    return {key: round(float(value), 4) for key, value in said.items()}


def _fact_counts(window: ExtractionExample, logits: torch.Tensor, words: int, threshold: float) -> np.ndarray:
    """Exact matches, found facts that overlap a true one, true ones that are overlapped, found ones, true ones."""
    counts = np.zeros(5)
    for number, subject in enumerate(window.subjects.tolist()):
        gold = [tuple(fact[2:]) for fact in window.facts.tolist() if fact[:2] == subject]
        found = [(s.first, s.last) for s in decode(logits[number, :words].unsqueeze(-1).cpu(), threshold)]
        meets = [[a[0] <= b[1] and b[0] <= a[1] for b in gold] for a in found]
        counts += (
            len(set(found) & set(gold)),
            sum(any(row) for row in meets),
            sum(any(row[place] for row in meets) for place in range(len(gold))),
            len(found),
            len(gold),
        )
    return counts


def _link_counts(window: ExtractionExample, logits: torch.Tensor) -> np.ndarray:
    """Facts whose likeliest subject is one of theirs, and all facts."""
    right = 0
    facts = window.facts.tolist()
    for number, fact in enumerate(facts):
        chosen = window.subjects[int(logits[number, : len(window.subjects)].argmax())].tolist()
        right += any(other[:2] == chosen and other[2:] == fact[2:] for other in facts)
    return np.array([right, len(facts)])


def _scores(right: float, found: float, there: float) -> dict[str, float]:
    precision, recall = right / max(found, 1), right / max(there, 1)
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / max(precision + recall, 1e-9)}
