"""Fit the chances of a trained scorer: python train/calibrate.py MODEL --data FOLDER

Two numbers for importance and two for the prior, from training files only, are written to the model's config.json. What
they are worth on the development files is measured by `python -m eval.calibration`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import AutoTokenizer

from reet_hf import ReetConfig, ReetForCompression
from reet_hf.scoring.scorer import ReetScorer
from reet_hf.training.calibration import Outcomes, fit_scaling, outcomes
from reet_hf.training.dataset import fingerprint, read_files

FILES = ("cuad", "fairytaleqa", "qmsum", "sgd", "squad2", "covidqa", "friendsqa")


def sample(rows: Sequence[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    """At most `count` rows that have questions, the same for the same seed."""
    asked = [row for row in rows if row["questions"]]
    chosen = np.random.default_rng(seed).permutation(len(asked))[:count]
    return [asked[place] for place in sorted(chosen)]


def main(argv: Sequence[str] | None = None) -> None:
    """Score samples of the training files, fit, write the configuration."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="folder of the checkpoint; its config.json is changed")
    parser.add_argument("--data", required=True, help="folder of parquet files in the multi-turn schema")
    parser.add_argument("--files", default=",".join(f"{name}-train" for name in FILES), help="which of them")
    parser.add_argument("--rows", type=int, default=10, help="rows of each file")
    parser.add_argument("--turns", type=int, default=10, help="questions of each row")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    names = arguments.files.split(",")
    model = ReetForCompression.from_pretrained(arguments.model, dtype=torch.float32).eval()
    scorer = ReetScorer(model, AutoTokenizer.from_pretrained(arguments.model))
    found: dict[bool, dict[str, list[Outcomes]]] = {True: {}, False: {}}
    for name, rows in read_files(arguments.data, names).items():
        for row in tqdm(sample(rows, arguments.rows, arguments.seed), desc=name):
            for asked, outcome in outcomes(scorer, row, arguments.turns):
                found[asked].setdefault(name, []).append(outcome)
    config = ReetConfig.from_pretrained(arguments.model)
    for kind, asked in (("importance", True), ("prior", False)):
        scale, shift = (round(value, 4) for value in fit_scaling(found[asked]))
        setattr(config, f"{kind}_scale", scale)
        setattr(config, f"{kind}_shift", shift)
        print(f"{kind}: scale {scale}, shift {shift}")
    config.save_pretrained(Path(arguments.model))
    record = Path(arguments.model) / "training.json"
    if record.is_file():
        made = json.loads(record.read_text(encoding="utf-8"))
        made["calibration"] = {
            "command": "python train/calibrate.py MODEL --data DATA",
            **{name: getattr(arguments, name) for name in ("rows", "turns", "seed")},
            "data_fingerprint": fingerprint(arguments.data, names),
        }
        record.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
