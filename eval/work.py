"""The work of a run: what is measured, cut into jobs that are done side by side, kept on disk, and put together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eval.measures import RowMeasures, Spent, costs, mean_rows
from eval.readers.base import Answer, Reader
from eval.records import RowScores, SetScores
from eval.regimes import Asked, ask
from eval.systems.base import Kept, System
from eval.task import Task
from reet_hf.budget import TokenCounter

JOB_ROWS = 4

Row = dict[str, Any]
Cell = tuple[str, int]  # regime, place of the budget


@dataclass(frozen=True)
class Plan:
    """What is measured of one system.

    Attributes:
        name: What the run is called on disk: the same plan goes on where it was left.
        regimes, budgets, turns: What is asked; budgets are percents of the tokens.
        reader_rows: Rows of each data set that readers see.
        reader_budgets: Budgets under which readers see them.
    """

    name: str
    regimes: tuple[str, ...]
    budgets: tuple[int, ...]
    turns: int
    reader_rows: int = 0
    reader_budgets: tuple[int, ...] = ()


@dataclass(frozen=True)
class Job:
    """Some rows of one data set: those numbered from `start` on."""

    set_name: str
    start: int
    rows: tuple[Row, ...]


@dataclass
class CellScores:
    """Scores and costs of one row in one regime under one budget, and failed reader calls by message."""

    row: RowScores
    spent: Spent
    errors: dict[str, int] = field(default_factory=dict)


def jobs_of(sets: Mapping[str, Sequence[Row]], most: int | None = None) -> list[Job]:
    """All rows of all data sets, or the first `most` of each, a few a job."""
    return [
        Job(name, start, tuple(rows[:most][start : start + JOB_ROWS]))
        for name, rows in sets.items()
        for start in range(0, len(rows[:most]), JOB_ROWS)
    ]


def digest(value: Any) -> str:
    """A short name for any value of plain JSON types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Worker:
    """Does jobs of one plan.

    Args:
        systems: The system under test, once for each seed.
        task: How rows are scored, and readers asked.
        readers: Who reads what was kept.
        counter: What counts tokens.
        plan: What is measured.
    """

    def __init__(
        self,
        systems: Sequence[System],
        task: Task,
        readers: Sequence[Reader],
        counter: TokenCounter,
        plan: Plan,
    ) -> None:
        self.systems, self.task, self.readers = systems, task, readers
        self.counter, self.plan = counter, plan

    def run(self, job: Job) -> list[dict[str, Any]]:
        """For each row of the job its cells as plain JSON types, by regime and budget."""
        return [
            {f"{regime} {place}": asdict(cell) for (regime, place), cell in self.row(row, job.start + number).items()}
            for number, row in enumerate(job.rows)
        ]

    def row(self, row: Row, number: int) -> dict[Cell, CellScores]:
        """The cells of one row; scores are means over the seeds, costs those of all seeds."""
        measures = RowMeasures(row, self.plan.turns, self.task, self.counter)
        seeds = [self._seed(system, row, number, measures) for system in self.systems]
        found: dict[Cell, CellScores] = {}
        for cell in seeds[0]:
            spent = Spent()
            for seed in seeds:
                for name, values in vars(seed[cell].spent).items():
                    getattr(spent, name).extend(values)
            errors = _summed(seed[cell].errors for seed in seeds)
            found[cell] = CellScores(mean_rows([seed[cell].row for seed in seeds]), spent, errors)
        return found

    def _seed(self, system: System, row: Row, number: int, measures: RowMeasures) -> dict[Cell, CellScores]:
        plan = self.plan
        rates = [budget / 100 for budget in plan.budgets]
        asked = ask(system, row, plan.regimes, rates, plan.turns, self.counter)
        found: dict[Cell, CellScores] = {}
        for regime, outputs in asked.items():
            for place, budget in enumerate(plan.budgets):
                cell = CellScores(measures.scores(outputs, place), measures.spent(outputs, place))
                if number < plan.reader_rows and budget in plan.reader_budgets:
                    for reader in self.readers:
                        self._read(reader, outputs, place, measures, cell)
                found[regime, place] = cell
        return found

    def _read(self, reader: Reader, outputs: Asked, place: int, measures: RowMeasures, cell: CellScores) -> None:
        kept: list[Kept] = [turn[place] for turn in outputs.turns]
        numbers = [n for n, question in enumerate(measures.questions) if reader.suits(question)]
        said = self._said(reader, measures, [(n, kept[n].text) for n in numbers])
        answers: dict[int, Answer] = dict(zip(numbers, said, strict=True))
        cell.row.scores.update(measures.answered(answers, reader.name))
        cell.errors = _summed(
            [cell.errors, *({f"{reader.name}: {a.error}": 1} for a in answers.values() if a.error is not None)]
        )

    def _said(self, reader: Reader, measures: RowMeasures, asked: Sequence[tuple[int, str]]) -> list[Answer]:
        """Answers to questions by number and text, asked in the words of the task where the reader can be."""
        if self.task.prompt is not None and reader.generates:
            return reader.said([self.task.prompt(measures.row, number, text) for number, text in asked])
        return reader.answers([(measures.questions[number]["question"], text) for number, text in asked])


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            found[name] = found.get(name, 0) + count
    return found


def do(jobs: Iterable[Job], run: Callable[[Job], list[dict[str, Any]]], folder: Path) -> Iterator[tuple[Job, Any]]:
    """Each job with its outcome: read from `folder` if it was done before, else done and written there.

    A job with reader calls that failed is not written: a run that goes on later asks them again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        path = folder / f"{job.set_name}-{job.start}.json"
        if path.is_file():
            yield job, json.loads(path.read_text(encoding="utf-8"))
            continue
        found = run(job)
        if not any(cell["errors"] for row in found for cell in row.values()):
            unfinished = path.with_suffix(".writing")
            unfinished.write_text(json.dumps(found), encoding="utf-8")
            unfinished.replace(path)  # a crash leaves no half file behind
        yield job, found


def together(
    fingerprints: Mapping[str, str], outcomes: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]], cell: Cell
) -> dict[str, SetScores]:
    """Scores and costs of every data set in one regime under one budget.

    Args:
        fingerprints: Digest of the rows of each data set.
        outcomes: What each job came to, by data set and first row.
        cell: The regime and the place of the budget.
    """
    key = f"{cell[0]} {cell[1]}"
    found = {}
    for name, fingerprint in fingerprints.items():
        starts = sorted(start for set_name, start in outcomes if set_name == name)
        cells = [row[key] for start in starts for row in outcomes[name, start]]
        found[name] = SetScores(
            fingerprint=fingerprint,
            rows=[RowScores(**entry["row"]) for entry in cells],
            costs=costs([Spent(**entry["spent"]) for entry in cells]),
            errors=_summed([entry["errors"] for entry in cells]),
        )
    return found
