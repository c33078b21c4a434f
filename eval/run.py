"""Measure retention: python -m eval.run --data FOLDER [--model FOLDER] [--systems reet,bm25] [--output FILE]"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import AutoTokenizer

from eval.tasks import mtr
from reet_hf import Compressor
from reet_hf.registration import DEFAULT_MODEL, bundled_model

DEV = ("cuad-dev", "fairytaleqa-dev", "sgd-dev", "squad2-dev", "friendsqa-dev", "qmsum-dev")
SYSTEMS = ("random", "tfidf", "bm25", "minilm", "reet")
PACKAGES = ("torch", "transformers", "tokenizers", "sentencex", "scikit-learn", "rank-bm25", "numpy")


def build_systems(names: list[str], model: str, encoder: str) -> dict[str, Any]:
    """A scorer for each name; a new system is one more file in `eval/systems`."""
    options: dict[str, dict[str, Any]] = {"reet": {"model": model}, "minilm": {"encoder": encoder}}
    return {name: importlib.import_module(f"eval.systems.{name}").System(**options.get(name, {})) for name in names}


def run_set(arguments: argparse.Namespace, stem: str) -> dict[str, Any]:
    """The result of every system on one data set."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // arguments.processes))
    names = arguments.systems.split(",")
    systems = build_systems(names, arguments.model, arguments.encoder)
    counting = AutoTokenizer.from_pretrained(bundled_model() if arguments.model == DEFAULT_MODEL else arguments.model)
    rows = mtr.load(Path(arguments.data) / f"{stem}.parquet")[: arguments.limit]
    tallies = {name: mtr.Tally() for name in names}
    for row in tqdm(rows, desc=stem, unit="row"):
        for name, scorer in systems.items():
            mtr.run_row(row, Compressor(scorer, counting), arguments.rate, arguments.turns, tallies[name])
    return summary(tallies)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The result of every system on every data set, the sets side by side in `--processes` processes."""
    stems = arguments.sets.split(",")
    workers = ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn"))
    with workers:
        found = list(workers.map(partial(run_set, arguments), stems))
    sets = dict(zip(stems, found, strict=True))
    pieces = sum(entry["pieces"] for entry in found)
    return {
        "task": "mtr-session",
        "version": mtr.VERSION,
        "regime": "session",
        "rate": arguments.rate,
        "turns": arguments.turns,
        "unit": "auto",
        "model": arguments.model if arguments.model == DEFAULT_MODEL else Path(arguments.model).name,
        "hardware": {"cores": os.cpu_count(), "machine": platform.machine(), "processes": arguments.processes},
        "packages": {name: version(name) for name in PACKAGES},
        "sets": sets,
        "mean": {
            name: sum(entry["systems"][name] for entry in found) / len(found) for name in arguments.systems.split(",")
        },
        "overruns": sum(entry["overruns"] for entry in found),
        "verbatim": sum(entry["verbatim"] for entry in found) / max(pieces, 1),
    }


def summary(tallies: dict[str, mtr.Tally]) -> dict[str, Any]:
    """The measure of a data set (answer survival where answers stand in the text) and every system's score."""
    first = next(iter(tallies.values()))
    measure = "answer_survival" if first.survival else "evidence_recall"
    return {
        "measure": measure,
        "questions": len(first.survival or first.recall),
        "systems": {name: round(tally.scores()[measure], 4) for name, tally in tallies.items()},
        "evidence_recall": {name: round(tally.scores()["evidence_recall"], 4) for name, tally in tallies.items()},
        "rate": {name: round(sum(tally.rates) / len(tally.rates), 4) for name, tally in tallies.items()},
        "overruns": sum(tally.overruns for tally in tallies.values()),
        "pieces": sum(tally.pieces for tally in tallies.values()),
        "verbatim": sum(tally.verbatim for tally in tallies.values()),
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", required=True, help="folder of parquet files in the multi-turn schema")
    options.add_argument("--model", default=DEFAULT_MODEL, help="checkpoint of the reet system")
    options.add_argument("--encoder", default="sentence-transformers/all-MiniLM-L6-v2", help="encoder of minilm")
    options.add_argument("--systems", default=",".join(SYSTEMS), help="comma-separated files of eval/systems")
    options.add_argument("--sets", default=",".join(DEV), help="comma-separated parquet files without ending")
    options.add_argument("--rate", type=float, default=0.2, help="budget as a share of the tokens")
    options.add_argument("--turns", type=int, default=10, help="questions asked of each row, in order")
    options.add_argument("--limit", type=int, default=None, help="rows of each file, for a quick look")
    options.add_argument("--processes", type=int, default=2, help="data sets that are measured side by side")
    options.add_argument("--output", type=Path, help="JSON file for the result")
    return options


def main() -> None:
    """Run, print, write."""
    arguments = parser().parse_args()
    result = run(arguments)
    text = json.dumps(result, indent=2) + "\n"
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
