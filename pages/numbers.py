"""Numbers and tables of eval/results for the pages of docs/."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from safetensors import safe_open

from eval import load
from eval.agents import page as agents
from eval.board import SURVIVAL, Board, mean, title
from eval.bootstrap import estimate
from eval.records import FOLDER
from eval.report import BUDGET, REGIME, ROOT, TASK, behind
from eval.speed import page as speed
from eval.tables import AGES, shown, table
from reet_hf.errors import ReetError


@cache
def board() -> Board:
    """All results."""
    return Board()


LINES = {
    "agents": lambda: agents.line(FOLDER / "agent"),
    "behind": lambda: behind(board()),
    "serving": lambda: load.line(FOLDER / "serving"),
    "speed": lambda: speed.line(speed.read(FOLDER / "speed")),
}


@cache
def record(name: str) -> Any:
    """The content of a file of eval/results."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def score(
    system: str,
    regime: str = REGIME,
    budget: int = BUDGET,
    task: str = TASK,
    measure: str = SURVIVAL,
    data: str | None = None,
) -> str:
    """A mean over data sets, or of one, with half of its 95 % interval.

    Raises:
        ReetError: If it was not measured.
    """
    found = mean(board().get(system, task, regime, budget), measure, sets=[data] if data else None)
    if found is None:
        raise ReetError(f"`system` must have been measured, but {system} has no {measure}: {task}, {regime}, {budget}.")
    return shown(found)


def measured(name: str, *keys: str | int, form: str = "{:,}") -> str:
    """A value of a file of eval/results, by its keys.

    Raises:
        ReetError: If there is none.
    """
    value = record(name)
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            raise ReetError(f"`keys` must lead to a value of {name}, but {key!r} of {keys} is not there.") from error
    return form.format(value)


def line(name: str) -> str:
    """What the README says of a part of the results: agents, behind, serving or speed."""
    return re.sub(r"\[([^]]+)\]\((?!http)[^)]+\)", r"`\1`", LINES[name]())  # links lead elsewhere from here


def by_budget(
    systems: Sequence[str], regimes: Sequence[str] = (REGIME,), task: str = TASK, measure: str = SURVIVAL
) -> str:
    """One line a system and regime: a measure at every budget."""
    rows = [
        [title(system), f"`{regime}`", *(shown(mean(result, measure)) for result in results)]
        for system in systems
        for regime in regimes
        if any(results := [board().get(system, task, regime, budget) for budget in board().budgets])
    ]
    head = ["system", "regime", *(f"{budget} %" for budget in board().budgets)]
    if len(regimes) == 1:
        head, rows = [head[0], *head[2:]], [[row[0], *row[2:]] for row in rows]
    return table(head, rows)


def by_age(systems: Sequence[str], budget: int = BUDGET, task: str = TASK) -> str:
    """One line a system: answer survival where history is compacted, by how long ago the answer came."""
    results = [(system, board().get(system, task, "rolling", budget)) for system in systems]
    rows = [
        [title(system), *(shown(estimate(result.by_age(SURVIVAL, ages))) for ages in AGES.values())]
        for system, result in results
        if result is not None
    ]
    return table(["system", *(f"{age} chunks ago" for age in AGES)], rows)


def by_measure(systems: Sequence[str], measures: Sequence[str], budget: int = BUDGET, task: str = TASK) -> str:
    """One line a system: several measures in regime `session`."""
    found = [(system, board().get(system, task, REGIME, budget)) for system in systems]
    rows = [[title(system), *(shown(mean(result, each)) for each in measures)] for system, result in found if result]
    return table(["system", *(each.replace("_", " ") for each in measures)], rows)


def caches(limit: str = "16000") -> str:
    """One line a system: what a prompt cache saves and what it costs in identifiers, for an agent."""
    systems = record("agent/cache.json")["budgets"][limit]
    rows = [
        [name, f"{own['cache_hit_share']:.3f}", f"{own['survival']:.3f}", f"{own['billed_tokens']:,}"]
        for name, own in systems.items()
    ]
    return table(["system", "share read from the cache", "identifiers there", "tokens billed"], rows)


def parameters(model: str = "reet-base") -> str:
    """How many weights a bundled model has, in millions."""
    with safe_open(ROOT / "reet" / model / "model.safetensors", "np") as weights:
        count = sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.offset_keys())
    return f"{count / 1e6:.0f}M"


def files() -> str:
    """How many files of results there are."""
    paths = (path.relative_to(FOLDER) for path in FOLDER.rglob("*.json"))
    return str(sum(not any(part.startswith(".") for part in path.parts) for path in paths))
