"""How well mentions and facts are found: python -m eval.extraction --systems reet,rules --data FOLDER

Precision, recall and F1 of spans, whatever their type, on texts that nothing was trained on: exact, and with any
overlap. Each data set is scored on the kinds of mention that it marks, pronouns left out. Systems are the files of
`eval/extractors`; of REET also facts, given the mention that they are said of, and the links between both. Written to
`eval/results/extraction/<system>.json`; the report makes tables of it.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tqdm.auto import tqdm

from eval import records
from eval.bootstrap import RESAMPLES
from eval.extractors.base import MentionFinder, Place
from eval.tables import table
from reet_hf.errors import ReetError
from reet_hf.extraction.extractor import THRESHOLD
from reet_hf.extraction.labels import Guide, guide_of, marked
from reet_hf.training.dataset import Rows
from reet_hf.training.extraction import extraction_files, extraction_scores

FOLDER = records.FOLDER / "extraction"
SETS = ("crossner-dev", "redocred-train-held", "litbank-dev", "carb-dev")
MATCHES = ("exact", "overlap")


def gold_places(row: Mapping[str, Any], guide: Guide) -> set[Place]:
    """Characters of what is marked in a row, pronouns left out."""
    places = {marked(entity) for entity in row["entities"]}
    return {place for place in places if guide.kind(row["text"][slice(*place)]) is not None}


def row_counts(found: set[Place], gold: set[Place], unsaid: set[Place]) -> list[int]:
    """Of one text: exact matches, found that overlap a marked one, marked that are overlapped, found, marked.

    Args:
        found: By the system.
        gold: What is marked.
        unsaid: What is marked and counts for nothing.
    """
    found = found - unsaid

    def overlapping(some: set[Place], others: set[Place]) -> int:
        return sum(any(a < end and start < b for a, b in others) for start, end in some)

    return [len(found & gold), overlapping(found, gold), overlapping(gold, found), len(found), len(gold)]


def f1_scores(counts: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 of both kinds of match from sums of `row_counts`."""
    exact, touching, touched, found, gold = counts.tolist()
    scores: dict[str, float] = {}
    for name, right, covered in (("exact", exact, exact), ("overlap", touching, touched)):
        precision, recall = right / max(found, 1), covered / max(gold, 1)
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        scores |= {f"{name}_precision": precision, f"{name}_recall": recall, f"{name}_f1": f1}
    return scores


def span_scores(finder: MentionFinder, rows: Rows, guide: Guide, seed: int = 0) -> dict[str, Any]:
    """Scores over all rows, and 95 % intervals of both F1 by bootstrap over rows.

    Args:
        finder: The system.
        rows: Of the extraction schema.
        guide: Of their data set.
        seed: Of the bootstrap.
    """
    counts = []
    for row in tqdm(rows, leave=False):
        gold = gold_places(row, guide)
        unsaid = {marked(entity) for entity in row["entities"]} - gold
        counts.append(row_counts(set(finder.find(row["text"], guide)), gold, unsaid))
    each = np.array(counts)
    chooser = np.random.default_rng(seed)
    draws = [f1_scores(each[chooser.integers(len(each), size=len(each))].sum(0)) for _ in range(RESAMPLES)]
    scores: dict[str, Any] = {name: round(value, 4) for name, value in f1_scores(each.sum(0)).items()}
    for match in MATCHES:
        low, high = np.quantile([draw[f"{match}_f1"] for draw in draws], [0.025, 0.975])
        scores[f"{match}_f1_interval"] = [round(float(low), 4), round(float(high), 4)]
    return scores | {"rows": len(rows)}


def offered() -> list[str]:
    """Names of the files of `eval/extractors` that can be run."""
    files = (Path(__file__).parent / "extractors").glob("*.py")
    return sorted(path.stem for path in files if "def build(" in path.read_text(encoding="utf-8"))


def measure(name: str, files: Mapping[str, Rows], options: Mapping[str, Any]) -> dict[str, Any]:
    """What is written of one system.

    Args:
        name: Of its file.
        files: Rows by data set.
        options: Of its `build`.

    Raises:
        ReetError: If there is no such system.
    """
    if name not in offered():
        raise ReetError(f"`systems` must be of {', '.join(offered())}, got {name!r}.")
    finder = importlib.import_module(f"eval.extractors.{name}").build(**options)
    told = {key: Path(value).name if key == "model" else value for key, value in options.items()}  # no folders
    record: dict[str, Any] = {"system": name, "options": told, "revision": finder.revision, "sets": {}}
    for each, rows in files.items():
        record["sets"][each] = span_scores(finder, rows, guide_of(each))
    if hasattr(finder, "scorer"):
        model, tokenizer = finder.scorer.model, finder.scorer.tokenizer
        found = {each: extraction_scores(model, tokenizer, rows, each, THRESHOLD) for each, rows in files.items()}
        record["facts"] = {
            each: {key: value for key, value in scores.items() if not key.startswith("entity")}
            for each, scores in found.items()
            if "fact_f1" in scores
        }
    return record


def page(folder: Path = FOLDER) -> str:
    """Markdown tables of everything that was measured, empty if there is nothing."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not found:
        return ""
    names = [name for name in SETS if any(name in record["sets"] for record in found)]
    parts = []
    for match in MATCHES:
        rows = [[record["system"], *(_cell(record["sets"].get(name), match) for name in names)] for record in found]
        parts.append(f"F1, {match}:\n\n{table(['system', *names], rows)}")
    keys = ("fact_precision", "fact_recall", "fact_f1", "fact_exact_f1", "link_accuracy")
    facts = [
        [record["system"], name, *(f"{scores[key]:.3f}" for key in keys)]
        for record in found
        for name, scores in record.get("facts", {}).items()
    ]
    if facts:
        head = ["system", "data set", *(key.replace("_", " ") for key in keys)]
        parts.append(f"Facts of marked mentions (by overlap unless exact), and links:\n\n{table(head, facts)}")
    return "\n\n".join(parts)


def _cell(scores: Mapping[str, Any] | None, match: str) -> str:
    if scores is None:
        return "–"
    low, high = scores[f"{match}_f1_interval"]
    return f"{scores[f'{match}_f1']:.3f} ±{(high - low) / 2:.3f}".replace("0.", ".")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--systems", default="reet,rules,noun_phrases", help=f"of {', '.join(offered())}")
    parser.add_argument("--data", required=True, help="folder of parquet files in the extraction schema")
    parser.add_argument("--sets", default=",".join(SETS), help="file names; NAME-held is the held-out part of NAME")
    parser.add_argument("--option", action="append", default=[], help="SYSTEM.NAME=VALUE, passed to its build")
    parser.add_argument("--output", type=Path, default=FOLDER)
    said = parser.parse_args(argv)
    files = extraction_files(said.data, said.sets.split(","))
    files = {name: files[name] for name in said.sets.split(",")}
    said.output.mkdir(parents=True, exist_ok=True)
    for name in said.systems.split(","):
        pairs = [pair.removeprefix(f"{name}.").partition("=") for pair in said.option if pair.startswith(f"{name}.")]
        record = measure(name, files, {key: yaml.safe_load(value) for key, _, value in pairs})
        text = json.dumps(record, indent=1) + "\n"
        (said.output / f"{name}.json").write_text(text, encoding="utf-8")
    print(page(said.output))


if __name__ == "__main__":
    main()
