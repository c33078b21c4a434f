"""What tuning gains and costs: python -m eval.finetuning RUN --data FOLDER --extraction_data FOLDER, or no arguments

Reads what a run of `train/train_scorer.py` recorded, and measures what else it changed: what is kept of conversations
of other kinds, and what is found by the extraction head, which is not trained and reads the tuned encoder. Written to
`eval/results/finetuning/<run>.json`; without arguments the section of `docs/how-to/fine-tune.md` is made from these.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from eval.records import FOLDER as RESULTS
from eval.tables import table
from reet_hf import ReetError, ReetForCompression
from reet_hf.extraction.extractor import THRESHOLD
from reet_hf.modeling.checkpoints import local_folder
from reet_hf.scoring.collator import ScoringCollator
from reet_hf.training.dataset import Rows, ScoringDataset, read_files
from reet_hf.training.extraction import extraction_files, extraction_scores
from reet_hf.training.metrics import kept_evidence

FOLDER = RESULTS / "finetuning"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "fine-tune.md"
START, END = "<!-- finetuning: written by eval/finetuning.py -->", "<!-- end of finetuning -->"
OTHERS = ("squad2-dev", "friendsqa-dev")
SETS = {"crossner-dev": 250, "carb-dev": 115, "redocred-train-held": 40}  # with the rows that are used
SCORES = ("entity_f1", "fact_f1", "link_accuracy")
TAKEN = (
    "command",
    "recipe",
    "base",
    "steps",
    "processes",
    "runtime_seconds",
    "cpu_seconds",
    "files",
    "before",
    "versions",
)
COUNTS = ("conversations", "questions", "held_out_questions")
COLUMNS = (
    ("crossner-dev", "entity_f1"),
    ("redocred-train-held", "entity_f1"),
    ("redocred-train-held", "fact_f1"),
    ("carb-dev", "fact_f1"),
)


def extraction(model: str | Path, files: Mapping[str, Rows]) -> dict[str, dict[str, float]]:
    """What the extraction head of a model finds, by data set."""
    loaded = ReetForCompression.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = {}
    for name, rows in files.items():
        scores = extraction_scores(loaded, tokenizer, rows, name, THRESHOLD)
        found[name] = {key: round(scores[key], 4) for key in SCORES if key in scores}
    return found


@torch.no_grad()
def kept(model: str | Path, files: Mapping[str, Rows]) -> dict[str, float]:
    """Mean of `kept_evidence` over the questions of each data set, as training evaluates it."""
    loaded = ReetForCompression.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    collator = ScoringCollator.of(tokenizer, loaded.config)
    found = {}
    for name, rows in files.items():
        values: list[float] = []
        examples = ScoringDataset({name: rows}, tokenizer, {name: 1}, max_tokens=2048, max_questions=12, vary=False)
        for number in range(len(examples)):
            batch = collator([examples[number]])
            shown = kept_evidence(loaded(**batch).importance, batch["relevance_labels"], batch["token_units"])
            values += [value for value in shown[0].tolist() if value >= 0]
        found[name] = round(sum(values) / len(values), 4)
    return found


def measure(run: Path, data: Path, folder: Path) -> dict[str, Any]:
    """What is written of one run.

    Args:
        run: Folder of a run or adapter.
        data: Of files in the multi-turn schema.
        folder: Of files in the extraction schema.

    Raises:
        ReetError: If it went on from nothing, or evaluated nothing.
    """
    record = json.loads((run / "training.json").read_text(encoding="utf-8"))
    if not record.get("base") or not record.get("before"):
        raise ReetError(f"RUN must go on from a model with a Hub id and hold something out, but {run.name} does not.")
    files = {name: rows[: SETS[name]] for name, rows in extraction_files(folder, list(SETS)).items() if name in SETS}
    others = read_files(data, OTHERS, "any")
    base = local_folder(record["base"])
    after = {name.removeprefix("eval_"): value for name, value in record["metrics"].items()}
    epochs = max(entry["epoch"] for entry in record["log"])
    return {
        **{key: record[key] for key in TAKEN},
        "after": {name: after[name] for name in ("kept_at_20", "loss")},
        "epochs": epochs,
        "hardware": platform.machine(),
        "threads": torch.get_num_threads(),
        "others_before": kept(base, others),
        "others_after": kept(run, others),
        "extraction_before": extraction(base, files),
        "extraction_after": extraction(run, files),
    }


def seconds_per_pass(record: Mapping[str, Any]) -> float:
    """Seconds of one processor core that a pass over 1,000 questions took, with the evaluation after it."""
    questions = sum(entry["questions"] for entry in record["files"].values())
    return 1000 * record["cpu_seconds"] / (record["epochs"] * questions)


def section(folder: Path = FOLDER) -> str:
    """The tables of all runs that were measured."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    if not found:
        return ""
    gains = [[f"`{name}`", *_gain(record)] for name, record in found.items()]
    shifts = [[f"`{name}`", *_shifts(record)] for name, record in found.items()]
    head = ["run", "conversations", "questions", "held out", "before", "after", "passes", "seconds"]
    return "\n\n".join(
        [
            "What some runs gained on the questions that were held out (`kept_at_20`, see the card), and the seconds "
            "that a pass over 1,000 questions took on one core of a server's CPU, evaluation included. On a GPU it was "
            "not measured.",
            table(head, gains),
            "What the same runs changed elsewhere, before → after: `kept_at_20` on conversations of other kinds, and "
            "F1 of what the other head finds in samples of marked texts.",
            table(["run", *OTHERS, *(f"{each}, {key.replace('_', ' ')}" for each, key in COLUMNS)], shifts),
            *_memory(folder),
            "The records are in [eval/results/finetuning](../../eval/results/finetuning).",
        ]
    )


def _memory(folder: Path) -> list[str]:
    """A sentence on the most memory that a process needed, if it was measured."""
    file = folder / "memory" / "peak.json"
    if not file.is_file():
        return []
    record = json.loads(file.read_text(encoding="utf-8"))
    peaks = " and ".join(f"{size / 1e9:.1f} GB for `{name}.yaml`" for name, size in record["peak_bytes"].items())
    return [
        f"The most memory that one process held: {peaks}, on one thread, with conversations cut at "
        f"{record['max_tokens']:,} tokens, one in a batch, as the recipes say. On a GPU it was not measured either."
    ]


def _gain(record: Mapping[str, Any]) -> list[str]:
    """A run's data, `kept_at_20` before and after, passes, and seconds."""
    files = list(record["files"].values())
    counts = [str(sum(entry[key] for entry in files)) for key in COUNTS]
    pair = [f"{record[when]['kept_at_20']:.3f}" for when in ("before", "after")]
    return [*counts, *pair, f"{record['epochs']:.0f}", f"{seconds_per_pass(record):.0f}"]


def _shifts(record: Mapping[str, Any]) -> list[str]:
    """What a run changed on other data, and of the other head."""
    kept = [(record["others_before"][name], record["others_after"][name]) for name in OTHERS]
    found = [tuple(record[f"extraction_{when}"][each][key] for when in ("before", "after")) for each, key in COLUMNS]
    return [f"{before:.3f} → {after:.3f}" for before, after in [*kept, *found]]


def with_section(text: str, made: str) -> str:
    """The page with the section between its marks replaced.

    Raises:
        ReetError: If it does not have both marks.
    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ReetError(f"{PAGE.name} must have the lines {START} and {END} once each.")
    return f"{before}{START}\n{made}\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure a run, or write the section; 0, or 2 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m eval.finetuning", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, help="folder of a run of train/train_scorer.py")
    parser.add_argument("--data", type=Path, help="folder of files in the multi-turn schema")
    parser.add_argument("--extraction_data", type=Path, help="folder of files in the extraction schema")
    arguments = parser.parse_args(argv)
    try:
        if arguments.run is None:
            PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), section()), encoding="utf-8")
            print(PAGE)
            return 0
        if arguments.data is None or arguments.extraction_data is None:
            raise ReetError("--data and --extraction_data must name folders of files in the two schemas.")
        path = FOLDER / f"{arguments.run.resolve().name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            json.dumps(measure(arguments.run, arguments.data, arguments.extraction_data), indent=2) + "\n",
            encoding="utf-8",
        )
    except ReetError as error:
        print(error, file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
