"""What watches a run: trackers, which must be installed, and the rule that ends training early."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from transformers import EarlyStoppingCallback, TrainerCallback, TrainingArguments

from ..errors import ReetError

TRACKERS = ("tensorboard", "trackio", "wandb")
"""Those that are called what their package is; `transformers` knows more."""


def check_trackers(names: Sequence[str] | str | None) -> None:
    """Nothing.

    Args:
        names: The `report_to` of a run.

    Raises:
        ReetError: If a tracker is not installed.
    """
    for name in [names] if isinstance(names, str) else names or ():
        if name in TRACKERS and find_spec(name) is None:
            raise ReetError(f"`report_to` {name} needs another library: pip install {name}; or use --report_to none.")


def early_stopping(training: TrainingArguments, patience: int) -> list[TrainerCallback]:
    """What ends training after `patience` evaluations that were no better than the best; nothing for a patience of 0.

    Raises:
        ReetError: If it could not work, since nothing is evaluated, compared or loaded.
    """
    if not patience:
        return []
    fixes = {
        "eval_strategy": (training.eval_strategy != "no", "steps or epoch"),
        "metric_for_best_model": (bool(training.metric_for_best_model), "kept_at_20"),
        "load_best_model_at_end": (bool(training.load_best_model_at_end), "true"),
    }
    for name, (right, fix) in fixes.items():
        if not right:
            raise ReetError(
                f"`early_stopping_patience` needs `{name}`, got {getattr(training, name)}; add --{name} {fix}."
            )
    return [EarlyStoppingCallback(patience)]
