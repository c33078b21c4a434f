"""What a model card needs of the results: scores of every system on every set at one budget, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.board import RECALL, SURVIVAL, Board, mean
from eval.systems.reet_small import SMALL_MODEL
from reet_hf.registration import DEFAULT_MODEL

TASK, REGIME, BUDGET = "mtr", "session", 20
MODELS = {"reet": DEFAULT_MODEL, "reet_small": SMALL_MODEL}  # weights that come with the checkout, by their system


def summary(board: Board, system: str = "reet") -> dict[str, Any]:
    """Plain JSON types for `reet_hf.hub.cards`, of the weights of a system in `MODELS`."""
    systems = board.systems(TASK, REGIME, BUDGET)
    found = {name: board.results[name, TASK, REGIME, BUDGET] for name in systems}
    own = found[system]
    sets = {name: _set(found, system, name) for name in sorted(own.sets)}
    spent = [entry.costs for entry in own.sets.values()]
    return {
        "system": system,
        "task": TASK,
        "version": own.version,
        "regime": REGIME,
        "rate": BUDGET / 100,
        "turns": own.turns,
        "model": MODELS[system],
        "revision": own.revision,
        "hardware": own.hardware,
        "packages": own.packages,
        "sets": sets,
        "mean": {
            SURVIVAL: _mean(systems, [e["systems"] for e in sets.values() if e["measure"] == SURVIVAL]),
            RECALL: _mean(systems, [entry["evidence_recall"] for entry in sets.values()]),
        },
        "overruns": int(sum(each["overruns"] for each in spent)),
        "verbatim": min(each["verbatim"] for each in spent),
    }


def _set(found: dict[str, Any], system: str, name: str) -> dict[str, Any]:
    measure = SURVIVAL if mean(found[system], SURVIVAL, sets=[name]) else RECALL
    scores = {each: mean(result, measure, sets=[name]) for each, result in found.items()}
    recall = {each: mean(result, RECALL, sets=[name]) for each, result in found.items()}
    count = sum(ratio.below.sum() for ratio in found[system].ratios(measure, sets=[name]))
    return {
        "measure": measure,
        "questions": int(count),
        "systems": {key: round(each.value, 4) for key, each in scores.items() if each},
        "half_interval": {key: round((each.high - each.low) / 2, 4) for key, each in scores.items() if each},
        "evidence_recall": {key: round(each.value, 4) for key, each in recall.items() if each},
    }


def _mean(systems: Sequence[str], sets: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """For each system its mean over the data sets where it has a score."""
    values = {system: [entry[system] for entry in sets if system in entry] for system in systems}
    return {system: round(sum(found) / len(found), 4) for system, found in values.items() if found}
