"""Results of the ablations of the scorer, and the page that compares each variant with the full recipe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eval.bootstrap import RESAMPLES, Ratio, difference, estimate
from eval.tables import shown, table
from reet_hf.errors import ReetError

SCHEMA_VERSION = 1
FULL = "full"
MEASURES = {
    "kept_at_20": "answer kept, 20 %",
    "kept_at_10": "answer kept, 10 %",
    "prior_at_33": "without a query, 33 %",
}
ABOUT = "about.md"  # what the code of a study was, where it is no longer the present one
PAGE = """# Ablations of the scorer

{about}Made by `make report` from the files of this folder, which `train/ablate.py` writes; each is one variant of a
recipe with all its options. The recipe is small: {tokens:,} tokens of {examples} contexts, one pass, one CPU core.
Numbers are for comparison within this page, not with the bundled weights.

Share of questions whose answer sentence is kept (where no answer stands in the text, the share of its evidence) when
sentences are taken by their mean score: by importance with query and history at 20 % and 10 % of the tokens, and by the
query-blind prior at 33 %. Development sets, each counting the same: {sets}. Beside each score its difference to the
full recipe with the same seeds; ± is half of the 95 % interval from {resamples:,} bootstrap draws of whole contexts,
scores being means over seeds. That interval says how far a number holds for other texts, not for other seeds: the last
column has the score at 20 % with each seed, and of a variant the difference to the full recipe. A difference is bold if
its interval excludes zero and every one of several seeds has its sign; among {count} variants some are by chance.
"""

Scores = dict[str, list[float]]  # of one context: a value of each measure for each question that has evidence


@dataclass(frozen=True)
class Run:
    """One training with its evaluation.

    Attributes:
        seed: Of the model's beginning, the choice of examples and their order.
        examples: How many contexts were trained on.
        tokens: How many tokens they have, queries not counted.
        steps: Of the optimizer.
        seconds: Processor time of training and evaluation.
        train_loss: Mean over all steps; variants with other loss terms have another scale.
        sets: Scores by data set and context.
    """

    seed: int
    examples: int
    tokens: int
    steps: int
    seconds: float
    train_loss: float
    sets: dict[str, dict[str, Scores]]

    def mean(self, measure: str) -> float:
        """Mean over data sets of the mean over questions."""
        rows = [[value for scores in contexts.values() for value in scores[measure]] for contexts in self.sets.values()]
        return float(np.mean([np.mean(values) for values in rows if values]))


@dataclass
class Ablation:
    """All runs of one variant.

    Attributes:
        variant: Its name.
        overrides: Options of the recipe that it changes.
        settings: All options of the recipe, those changes included.
        data: SHA-256 of each file, as the first 16 hexadecimal digits.
        runs: One a seed.
    """

    variant: str
    overrides: dict[str, Any]
    settings: dict[str, Any]
    data: dict[str, str]
    runs: list[Run] = field(default_factory=list)

    @property
    def seeds(self) -> list[int]:
        """Seeds that were run."""
        return [run.seed for run in self.runs]

    def ratios(self, measure: str, seeds: Sequence[int]) -> list[Ratio]:
        """Each data set's part of a measure's mean, averaged over those of the seeds that were run."""
        runs = [run for run in self.runs if run.seed in seeds]
        found = []
        for name, contexts in runs[0].sets.items():
            sums = [[sum(run.sets[name][key][measure]) for key in contexts] for run in runs]
            counts = [len(scores[measure]) for scores in contexts.values()]
            found.append(Ratio(np.mean(sums, axis=0), np.array(counts, dtype=float)))
        return found


def path(folder: str | Path, variant: str) -> Path:
    """The file of a variant."""
    return Path(folder) / f"{variant}.json"


def write(ablation: Ablation, folder: str | Path) -> Path:
    """The file that `ablation` was written to, a line for each context; never half written."""
    record = {"schema_version": SCHEMA_VERSION, **asdict(ablation)}
    runs = record.pop("runs")
    head = json.dumps(record, indent=1, ensure_ascii=False)[:-2]
    text = head + ',\n "runs": [\n' + ",\n".join(map(_run_lines, runs)) + "\n ]\n}\n"
    target = path(folder, ablation.variant)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(target)
    return target


def _run_lines(run: dict[str, Any]) -> str:
    sets = run.pop("sets")
    lines = []
    for name, contexts in sets.items():
        rows = [f"    {json.dumps(key)}: {json.dumps(row, separators=(',', ':'))}" for key, row in contexts.items()]
        lines.append(f"   {json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n   }")
    return f'  {json.dumps(run)[:-1]}, "sets": {{\n' + ",\n".join(lines) + "\n  }}"


def read(file: str | Path) -> Ablation:
    """The ablation that `write` wrote.

    Raises:
        ReetError: If the file is no result of this schema.
    """
    record = json.loads(Path(file).read_text(encoding="utf-8"))
    if not isinstance(record, Mapping) or record.get("schema_version") != SCHEMA_VERSION:
        raise ReetError(f"`file` must be an ablation of schema_version {SCHEMA_VERSION}, got {file}; run it again.")
    fields = {name: value for name, value in record.items() if name not in ("schema_version", "runs")}
    return Ablation(**fields, runs=[Run(**run) for run in record["runs"]])


def read_all(folder: str | Path) -> list[Ablation]:
    """All ablations of a folder, the full recipe first, the others by name."""
    found = [read(file) for file in Path(folder).glob("*.json")]
    return sorted(found, key=lambda ablation: (ablation.variant != FULL, ablation.variant))


def comparison(ablations: Iterable[Ablation]) -> str:
    """One line a variant: what it changes, each measure, and its difference to the full recipe with the same seeds."""
    found = list(ablations)
    full = next(ablation for ablation in found if ablation.variant == FULL)
    rows = []
    for ablation in found:
        seeds = [seed for seed in ablation.seeds if seed in full.seeds]
        if not seeds:
            continue
        cells = [f"`{ablation.variant}`", _changes(ablation.overrides)]
        for measure in MEASURES:
            own = ablation.ratios(measure, seeds)
            cells += [shown(estimate(own)), "–" if ablation is full else _lead(ablation, full, measure, seeds)]
        rows.append([*cells, _by_seed(ablation, full, seeds)])
    heads = [name for said in MEASURES.values() for name in (said, "to full")]
    return table(["variant", "changes", *heads, "each seed, 20 %"], rows)


def _changes(overrides: Mapping[str, Any]) -> str:
    said = yaml.safe_dump(dict(overrides), default_flow_style=True, sort_keys=False, width=10**6).strip()
    return f"`{said[1:-1]}`" if overrides else "–"


def _leads(ablation: Ablation, full: Ablation, measure: str, seeds: Sequence[int]) -> list[float]:
    """The difference to the full recipe with each seed."""
    own, other = ({run.seed: run.mean(measure) for run in each.runs} for each in (ablation, full))
    return [own[seed] - other[seed] for seed in seeds]


def _lead(ablation: Ablation, full: Ablation, measure: str, seeds: Sequence[int]) -> str:
    lead = difference(ablation.ratios(measure, seeds), full.ratios(measure, seeds))
    text = shown(lead, signed=True)
    agreed = len(set(np.sign(_leads(ablation, full, measure, seeds)))) == 1 < len(seeds)
    return f"**{text}**" if agreed and lead and (lead.low > 0 or lead.high < 0) else text


def _by_seed(ablation: Ablation, full: Ablation, seeds: Sequence[int]) -> str:
    if ablation is full:
        return ", ".join(f"{run.mean('kept_at_20'):.3f}".replace("0.", ".", 1) for run in full.runs)
    return ", ".join(f"{lead:+.3f}".replace("0.", ".", 1) for lead in _leads(ablation, full, "kept_at_20", seeds))


def page(folder: str | Path) -> str:
    """The page of all ablations of a folder, begun with the text of its `about.md`, if there is one.

    Raises:
        ReetError: If the folder has no results of the full recipe.
    """
    found = read_all(folder)
    if not found or found[0].variant != FULL:
        raise ReetError(f"`folder` must hold {FULL}.json, got {folder}; run train/ablate.py with --only {FULL}.")
    run = found[0].runs[0]
    sets = ", ".join(
        f"{name} {len(contexts)} texts with {sum(len(scores['kept_at_20']) for scores in contexts.values())} questions"
        for name, contexts in sorted(run.sets.items())
    )
    about = Path(folder) / ABOUT
    begun = about.read_text(encoding="utf-8").strip() + "\n\n" if about.is_file() else ""
    sizes = {"tokens": run.tokens, "examples": run.examples, "resamples": RESAMPLES, "count": len(found) - 1}
    said = PAGE.format(about=begun, sets=sets, **sizes)
    return f"{said}\n{comparison(found)}\n"
