"""Whether chances mean what they say: python -m eval.calibration --data FOLDER

Of the sentences of development texts that the scorer says are needed with some chance, what share was needed? Measured
as expected calibration error, written to `eval/results/calibration/<model>.json`; the report makes a table of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from eval import records
from eval.revision import revision
from eval.systems.reet import scorer
from eval.tables import table
from eval.tasks import mtr
from reet_hf.metrics import expected_calibration_error
from reet_hf.registration import DEFAULT_MODEL, bundled_model
from reet_hf.training.calibration import outcomes, sentence_chances

FOLDER = records.FOLDER / "calibration"
BINS = 15
KINDS = {True: "importance", False: "prior"}


def measured(chances: np.ndarray, needed: np.ndarray) -> dict[str, Any]:
    """Error, share of needed sentences, and for each bin that is not empty mean chance, share and count."""
    places = np.minimum((chances * BINS).astype(int), BINS - 1)
    bins = [places == number for number in range(BINS)]
    return {
        "error": round(expected_calibration_error(chances.tolist(), needed.tolist(), BINS), 4),
        "needed": round(float(needed.mean()), 4),
        "sentences": len(needed),
        "bins": [
            [round(float(chances[own].mean()), 4), round(float(needed[own].mean()), 4), int(own.sum())]
            for own in bins
            if own.any()
        ],
    }


def measure(model: str, sets: Mapping[str, Sequence[Mapping[str, Any]]], turns: int) -> dict[str, dict[str, Any]]:
    """By kind of chance and data set what `measured` says.

    Args:
        model: Hub id or folder of the checkpoint.
        sets: Rows by data set.
        turns: At most so many questions of each row are asked; without a query a chance is that any of all needs it.
    """
    own = scorer(model)
    found: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS.values()}
    for name, rows in sets.items():
        said: dict[bool, list[np.ndarray]] = {True: [], False: []}
        came: dict[bool, list[np.ndarray]] = {True: [], False: []}
        for row in tqdm(rows, desc=name):
            for asked, outcome in outcomes(own, row, turns):
                scale, shift = (getattr(own.config, f"{KINDS[asked]}_{part}") for part in ("scale", "shift"))
                said[asked].append(sentence_chances(outcome, scale, shift))
                came[asked].append(outcome.needed)
        for asked, kind in KINDS.items():
            if said[asked]:
                found[kind][name] = measured(np.concatenate(said[asked]), np.concatenate(came[asked]))
    return found


def pooled(sets: Mapping[str, Mapping[str, Any]]) -> float:
    """The error over all sets, each of which counts alike."""
    sums = np.zeros((BINS, 2))
    for each in sets.values():
        for chance, share, count in each["bins"]:
            place = min(int(chance * BINS), BINS - 1)
            sums[place] += np.array([chance, share]) * count / each["sentences"] / len(sets)
    return round(float(np.abs(sums[:, 0] - sums[:, 1]).sum()), 4)


def page(folder: Path = FOLDER) -> str:
    """A Markdown table of everything that was measured, empty if there is nothing."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    names = sorted({name for record in found for name in record["sets"]})
    rows = [
        [record["model"], kind]
        + [f"{sets[name]['error']:.3f}" if name in sets else "–" for name in names]
        + [f"**{pooled(sets):.3f}**"]
        for record in found
        for kind, sets in record["kinds"].items()
    ]
    return table(["model", "chance", *names, "all, each set alike"], rows) if rows else ""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL, help="Hub id or folder")
    parser.add_argument("--data", required=True, help="folder of parquet files in the multi-turn schema")
    parser.add_argument("--rows", type=int, default=24, help="rows of each data set")
    parser.add_argument("--turns", type=int, default=10, help="questions of each row")
    parser.add_argument("--output", type=Path, default=FOLDER)
    arguments = parser.parse_args(argv)
    sets = mtr.load(arguments.data, rows=arguments.rows)
    record = {
        "model": arguments.model,
        "revision": revision(bundled_model(arguments.model)),
        "rows": arguments.rows,
        "turns": arguments.turns,
        "sets": sorted(sets),
        "kinds": measure(arguments.model, sets, arguments.turns),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / f"{Path(arguments.model).name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(page(arguments.output))


if __name__ == "__main__":
    main()
