"""All results of a folder, asked for estimates: means with intervals, degradation, differences, what a reader keeps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from eval import records
from eval.bootstrap import Estimate, Ratio, difference, estimate
from eval.records import Result, RowScores
from reet_hf.errors import ReetError

TITLES = {
    "full": "full context",
    "last_k": "last k tokens",
    "random": "random sentences",
    "stopwords_idf": "stop words + idf",
    "lexrank": "LexRank",
    "tfidf": "TF-IDF sentences",
    "bm25": "BM25 sentences",
    "minilm": "MiniLM cosine",
    "llmlingua2_recipe": "LLMLingua-2 recipe, our size",
    "maxsim": "ColBERT MaxSim, our size",
    "cross_encoder": "cross-encoder, our size",
    "reet_prior": "REET, prior only",
    "reet_no_history": "REET, no history",
    "reet_facts": "REET, facts",
    "reet_sentences": "REET, whole sentences",
    "reet_small": "REET, small weights",
    "reet": "**REET**",
}
OURS = ("reet", "reet_prior", "reet_no_history", "reet_facts", "reet_sentences", "reet_small")
SURVIVAL, RECALL = "answer_survival", "evidence_recall"


def title(system: str) -> str:
    """How tables call a system."""
    return TITLES.get(system, system.replace("_", " "))


class Board:
    """Results by system, task, regime and budget.

    Args:
        folder: Where the result files are.

    Raises:
        ReetError: If there are results of two versions of a task.
    """

    def __init__(self, folder: str | Path = records.FOLDER) -> None:
        found = records.read_all(folder)
        versions: dict[str, str] = {}
        for each in found:
            if versions.setdefault(each.task, each.version) != each.version:
                raise ReetError(
                    f"`folder` must hold results of one version of a task, but {folder} has {each.task} in versions "
                    f"{versions[each.task]} and {each.version}; remove the old ones."
                )
        self.results = {(each.system, each.task, each.regime, each.budget): each for each in found}

    @cached_property
    def tasks(self) -> list[str]:
        """Tasks that were measured, `mtr` first."""
        return sorted({task for _, task, _, _ in self.results}, key=lambda name: (name != "mtr", name))

    @cached_property
    def budgets(self) -> list[int]:
        """Budgets in percent, the largest first, without the one of the full context."""
        return sorted({budget for _, _, _, budget in self.results if budget < 100}, reverse=True)

    def systems(self, task: str, regime: str, budget: int | None = None) -> list[str]:
        """Systems that were measured there, under one budget or any, in the order of `TITLES`, others behind."""
        keys = self.results
        found = {s for s, *rest, percent in keys if rest == [task, regime] and budget in (None, percent)} - {"full"}
        order = {name: place for place, name in enumerate(TITLES)}
        return sorted(found, key=lambda name: (order.get(name, len(order)), name))

    def get(self, system: str, task: str, regime: str, budget: int) -> Result | None:
        """One result; the full context is the same in every regime and under every budget."""
        key = (system, task, "once", 100) if system == "full" else (system, task, regime, budget)
        return self.results.get(key)

    def readers(self, task: str) -> list[str]:
        """Readers whose answers were scored on the full context of a task."""
        whole = self.get("full", task, "once", 100)
        rows = [row for scores in (whole.sets.values() if whole else ()) for row in scores.rows]
        return sorted({name.rpartition(".")[0] for row in rows for name in row.scores if "." in name})

    def reader_ratios(
        self,
        result: Result,
        reader: str,
        measures: Sequence[str] = ("f1", "rouge_l"),
        sets: Sequence[str] | None = None,
    ) -> list[Ratio]:
        """A reader's score on what was kept over its score on the full context, by context and data set.

        Args:
            result: What was measured.
            reader: Its name.
            measures: Of each question those that it has, by default F1, or ROUGE-L if its answer is abstractive.
            sets: Of these data sets only. Only questions count that have both scores.
        """
        whole = self.get("full", result.task, result.regime, result.budget)
        names = [f"{reader}.{measure}" for measure in measures]
        found = []
        for name in sorted(result.sets) if sets is None else sets:
            full = {}
            if whole and name in whole.sets:
                _check_same_rows(result, whole, name)
                full = {row.id: row for row in whole.sets[name].rows}
            pairs = [_both(row, full.get(row.id), names) for row in result.sets[name].rows]
            above = np.array([sum(kept for kept, _ in row) for row in pairs])
            found.append(Ratio(above, np.array([sum(held for _, held in row) for row in pairs])))
        return found

    def best_rival(self, task: str, regime: str, budget: int, measure: str) -> str | None:
        """The system that is not ours with the highest mean."""
        rivals = [name for name in self.systems(task, regime, budget) if name not in OURS]
        means = {name: mean(self.get(name, task, regime, budget), measure) for name in rivals}
        found = {name: each.value for name, each in means.items() if each is not None}
        return max(found, key=lambda name: found[name]) if found else None

    def lead(self, system: str, rival: str, task: str, regime: str, budget: int, measure: str) -> Estimate | None:
        """Mean of `system` minus mean of `rival`, paired over contexts."""
        one, other = self.get(system, task, regime, budget), self.get(rival, task, regime, budget)
        if one is None or other is None:
            return None
        shared = sorted(set(one.sets) & set(other.sets))
        for name in shared:
            _check_same_rows(one, other, name)
        return difference(one.ratios(measure, sets=shared), other.ratios(measure, sets=shared))


def contexts(sets: Sequence[Ratio]) -> int:
    """Number of contexts, of all data sets, that an estimate is made from."""
    return int(sum((ratio.below > 0).sum() for ratio in sets))


def mean(
    result: Result | None, measure: str, turn: int | None = None, sets: Sequence[str] | None = None
) -> Estimate | None:
    """The mean of a measure over the data sets that have it, over all turns or at one."""
    return estimate(result.ratios(measure, turn, sets)) if result else None


def _both(row: RowScores, full: RowScores | None, measures: Sequence[str]) -> list[tuple[float, float]]:
    found = []
    for measure in measures:
        held = full.scores.get(measure, []) if full else []
        pairs = zip(row.scores.get(measure, []), held, strict=False)
        found += [(kept, whole) for kept, whole in pairs if kept is not None and whole is not None]
    return found


def _check_same_rows(one: Result, other: Result, name: str) -> None:
    """Nothing, if two results were measured on the same rows of a data set.

    Raises:
        ReetError: If they were not.
    """
    if one.sets[name].fingerprint != other.sets[name].fingerprint:
        raise ReetError(
            f"{one.name} and {other.name} must hold the same rows of {name}, but do not; measure both again."
        )
