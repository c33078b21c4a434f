"""How the learned systems came about, from the `training.json` beside their weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.board import title

FOLDERS = {  # below the project's root
    "llmlingua2_recipe": "eval/baselines/llmlingua2-recipe",
    "maxsim": "eval/baselines/maxsim",
    "cross_encoder": "eval/baselines/cross-encoder",
    "minilm-extractive (reader)": "eval/readers/minilm-extractive",
    "reet_small": "reet/reet-small",
    "reet": "reet/reet-base",
}


def training_rows(root: Path) -> tuple[list[str], list[list[str]]]:
    """Head and lines of a table: a learned system, what is tuned, steps of its stages, passes over each file."""
    runs = {name: list(_stages(root / folder)) for name, folder in FOLDERS.items()}
    files = sorted({file for stages in runs.values() for stage in stages for file in stage["recipe"]["mixture"]})
    lines = []
    for name, stages in runs.items():
        rank = stages[-1]["recipe"].get("rank")
        tuned = f"LoRA, rank {rank}" if rank else "all but the word embeddings"
        steps = ", ".join(_steps(stage) for stage in stages)
        passes = [sum(stage["recipe"]["mixture"].get(file, 0) for stage in stages) for file in files]
        lines.append([title(name), tuned, steps, *(f"{each:g}" for each in passes)])
    return ["system", "tuned", "steps", *(file.removesuffix("-train") for file in files)], lines


def _steps(stage: Mapping[str, Any]) -> str:
    objective = stage["recipe"].get("objective")
    return f"{stage['steps']}{' to read' if objective == 'read' else ''}"


def _stages(folder: Path) -> Iterator[dict[str, Any]]:
    """The runs that led to the weights of a folder, the first one first."""
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    chain = [record]
    while "initial" in chain[-1]:
        chain.append(chain[-1]["initial"])
    yield from reversed(chain)
