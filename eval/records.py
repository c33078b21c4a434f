"""Result files: one for each system, task, regime and budget, with a score for every question.

`<system>--<task>@v<version>--<regime>--<budget in percent>.json` holds what was run, on what, and by how much; tables
and plots are made from these files only.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from eval.bootstrap import Ratio
from reet_hf.errors import ReetError

SCHEMA_VERSION = 1
LAST = 0.9999  # of the places in a text, which are rounded
FOLDER = Path(__file__).with_name("results")
PACKAGES = (
    "reet-hf",
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "sentencex",
    "scikit-learn",
    "rank-bm25",
    "sentence-transformers",
    "peft",
    "llmlingua",
    "gliner",
)


@dataclass
class RowScores:
    """The scores of one context.

    Attributes:
        id: The row's name in its data set.
        scores: By measure a score for each question in order; `None` where the measure does not apply.
        ages: In regime `rolling`, how many chunks came after what answers each question.
        places: Where what answers each question begins, as a share of the text in [0, 1]; empty where a task asks for
            none. Of several places the first.
    """

    id: str
    scores: dict[str, list[float | None]]
    ages: list[int] = field(default_factory=list)
    places: list[float] = field(default_factory=list)


@dataclass
class SetScores:
    """The scores of one data set, and what they cost.

    Attributes:
        fingerprint: Digest of the rows that were used.
        rows: The contexts.
        costs: Rates, overruns, verbatim pieces, times in milliseconds; see `eval.measures.costs`.
        errors: `reader: message` of reader calls that failed, each with how often.
    """

    fingerprint: str
    rows: list[RowScores]
    costs: dict[str, float]
    errors: dict[str, int] = field(default_factory=dict)


@dataclass
class Result:
    """One result file.

    Attributes:
        system, task, version, regime: What was measured.
        budget: Share of the tokens, as a whole number of percent.
        turns: At most so many questions of each row.
        seeds: Seeds that scores are means over; empty where nothing is random.
        revision: What identifies the system's weights, empty without any.
        options: Options of the system and of the task that are not the defaults.
        readers: Names of the readers with their revisions and options.
        hardware, packages: Where it ran and with which versions.
        sets: The scores by data set.
    """

    system: str
    task: str
    version: str
    regime: str
    budget: int
    turns: int
    seeds: list[int]
    revision: str
    options: dict[str, Any]
    readers: dict[str, dict[str, Any]]
    hardware: dict[str, Any]
    packages: dict[str, str]
    sets: dict[str, SetScores]

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.system}--{self.task}@v{self.version}--{self.regime}--{self.budget}.json"

    def ratios(
        self, measure: str, turn: int | None = None, sets: Sequence[str] | None = None, least: int = 0
    ) -> list[Ratio]:
        """Sums and counts of a measure by context and data set.

        Args:
            measure: Its name.
            turn: Of one turn only (the first is 1).
            sets: Of these data sets only.
            least: Of contexts with at least so many questions only, so that turns are compared on the same texts.
        """
        names = sorted(self.sets) if sets is None else sets
        columns = [[row.scores.get(measure, []) for row in self.sets[name].rows] for name in names]
        return [_ratio([_at(row, turn) if len(row) >= least else [] for row in rows]) for rows in columns]

    def degradation(self, measure: str, first: int = 1, last: int = 10) -> list[Ratio]:
        """Score at turn `first` minus score at turn `last`, over contexts that have both."""
        found = []
        for name in sorted(self.sets):
            rows = [row.scores.get(measure, []) for row in self.sets[name].rows]
            pairs = [(_at(row, first), _at(row, last)) for row in rows]
            found.append(_ratio([[a[0] - b[0]] if a and b else [] for a, b in pairs]))
        return found

    def by_age(self, measure: str, ages: range) -> list[Ratio]:
        """Sums and counts over the questions after whose evidence a number of chunks in `ages` came."""
        found = []
        for name in sorted(self.sets):
            rows = self.sets[name].rows
            paired = [zip(row.scores.get(measure, []), row.ages, strict=False) for row in rows]
            found.append(_ratio([[s for s, age in pairs if s is not None and age in ages] for pairs in paired]))
        return found

    def by_place(self, measure: str, low: float, high: float) -> list[Ratio]:
        """Sums and counts over the questions whose evidence begins in [`low`, `high`) of the text, shares of it."""
        found = []
        for name in sorted(self.sets):
            rows = [(row.scores.get(measure, []), [min(at, LAST) for at in row.places]) for row in self.sets[name].rows]
            paired = [zip(scores, places, strict=False) for scores, places in rows]
            found.append(_ratio([[s for s, at in pairs if s is not None and low <= at < high] for pairs in paired]))
        return found


def _at(scores: Sequence[float | None], turn: int | None) -> list[float]:
    chosen = scores if turn is None else scores[turn - 1 : turn]
    return [score for score in chosen if score is not None]


def _ratio(rows: Sequence[Sequence[float]]) -> Ratio:
    return Ratio(np.array([sum(row) for row in rows], dtype=float), np.array([len(row) for row in rows], dtype=float))


def write(result: Result, folder: str | Path = FOLDER) -> Path:
    """The file that `result` was written to: readable above, a line for each context."""
    path = Path(folder) / result.name
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"schema_version": SCHEMA_VERSION, **asdict(result)}
    sets = record.pop("sets")
    head = json.dumps(record, indent=1, ensure_ascii=False)[:-2]
    parts = [f"  {json.dumps(name)}: {_set_lines(entry)}" for name, entry in sets.items()]
    path.write_text(head + ',\n "sets": {\n' + ",\n".join(parts) + "\n }\n}\n", encoding="utf-8")
    return path


def _set_lines(entry: dict[str, Any]) -> str:
    rows = entry.pop("rows")
    lines = [
        json.dumps({k: v for k, v in row.items() if k not in ("ages", "places") or v}, separators=(",", ":"))
        for row in rows
    ]
    return json.dumps(entry)[:-1] + ', "rows": [\n   ' + ",\n   ".join(lines) + "]}"


def read(path: str | Path) -> Result:
    """The result that `write` wrote.

    Raises:
        ReetError: If the file is no result of this schema.
    """
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(record, Mapping) or record.get("schema_version") != SCHEMA_VERSION:
        raise ReetError(f"`path` must be a result file of schema_version {SCHEMA_VERSION}, got {path}; measure again.")
    fields = {name: value for name, value in record.items() if name not in ("schema_version", "sets")}
    return Result(**fields, sets={name: read_set(entry) for name, entry in record["sets"].items()})


def read_set(entry: Mapping[str, Any]) -> SetScores:
    """The scores of one data set from plain JSON types."""
    return SetScores(**{**entry, "rows": [RowScores(**row) for row in entry["rows"]]})


def with_readings(before: Result, after: Result) -> Result:
    """`before` with the readers and the readers' scores of `after`, which measured some of its rows again.

    Raises:
        ReetError: If the two are not of the same system, weights and rows.
    """
    same = before.name == after.name and before.revision == after.revision and before.turns == after.turns
    prints = {name: entry.fingerprint for name, entry in before.sets.items()}
    if not same or prints != {name: entry.fingerprint for name, entry in after.sets.items()}:
        raise ReetError(f"{before.name} was measured with other weights, rows or turns; measure it again as a whole.")
    for name, entry in after.sets.items():
        read_rows = {row.id: row for row in entry.rows}
        for row in before.sets[name].rows:
            fresh = read_rows.get(row.id)
            readings = fresh.scores.items() if fresh else ()
            row.scores.update({measure: scores for measure, scores in readings if _is_reading(measure, after)})
        kept = {
            said: count for said, count in before.sets[name].errors.items() if said.split(": ")[0] not in after.readers
        }
        before.sets[name].errors = kept | entry.errors
    before.readers |= after.readers
    return before


def _is_reading(measure: str, result: Result) -> bool:
    return measure.rpartition(".")[0] in result.readers


def read_all(folder: str | Path = FOLDER, task: str = "*", regime: str = "*", budget: str = "*") -> list[Result]:
    """All results of a folder that match, in the order of their names."""
    return [read(path) for path in sorted(Path(folder).glob(f"*--{task}@v*--{regime}--{budget}.json"))]


def hardware(processes: int, threads: int) -> dict[str, Any]:
    """Cores and architecture of this machine, how many processes worked, and with how many threads each."""
    return {"cores": os.cpu_count(), "machine": platform.machine(), "processes": processes, "threads": threads}


def packages(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
