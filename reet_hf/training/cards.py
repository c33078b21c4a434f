"""The card of a model that any `transformers.Trainer` has trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import ReetError
from ..hub.tuned_cards import write_card
from ..modeling.checkpoints import public_id
from ..modeling.modeling_reet import ReetForTokenScoring
from .launch import without_places
from .saving import SCHEDULE, run_log

CHOICES = ("load_best_model_at_end", "metric_for_best_model")


class CardCallback(TrainerCallback):
    """Writes `training.json` and the card, README.md, into the output folder of a `transformers.Trainer`.

    Both are written when training ends: `Trainer(..., callbacks=[CardCallback()])`, then `trainer.save_model()`. The
    card's example loads the model by `hub_model_id`, where the run has one, else by the name of its folder. Scores are
    those of an evaluation of the weights that are left: the last one, if no step followed it, or the best one under
    `load_best_model_at_end`. What scripts save with `save_run` has a fuller record; of that the card is then made.

    Saving an adapter and `Trainer.push_to_hub` write cards of their own in its place: call
    `reet_hf.hub.tuned_cards.write_card(folder)` after them.
    """

    def __init__(self) -> None:
        self.model_id: str | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse a model that the card would be wrong of.

        Raises:
            ReetError: If it scores no tokens.
        """
        model = _without_adapter(kwargs["model"])
        if not isinstance(model, ReetForTokenScoring):
            raise ReetError(
                "CardCallback needs a model that compresses, ReetForCompression or ReetForTokenScoring, got "
                f"{type(model).__name__}; leave the callback out."
            )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write record and card, on the first process."""
        self.model_id = args.hub_model_id
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            record = record_of(args, state, kwargs["model"], kwargs.get("train_dataloader"))
            (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            write_card(folder, self.model_id)

    def on_run_saved(self, folder: Path) -> None:
        """Write the card anew; called by `training.saving.save_run`."""
        write_card(folder, self.model_id)


def record_of(args: TrainingArguments, state: TrainerState, model: Any, batches: Any = None) -> dict[str, Any]:
    """What a `Trainer` itself knows of a run that has ended.

    Args:
        args: Of the trainer.
        state: Of the trainer.
        model: That was trained, or the `peft.PeftModel` around it.
        batches: What gave the examples.
    """
    adapters = [*getattr(model, "peft_config", {}).values()]
    own = _without_adapter(model)
    named = adapters[0].base_model_name_or_path if adapters else own.config.name_or_path
    lora = {name: getattr(each, name, None) for each in adapters for name in ("r", "lora_alpha")}
    left = state.best_global_step if args.load_best_model_at_end else state.global_step
    record = {
        "base": public_id(named) if named else "",
        "encoder": own.config.encoder.name_or_path,
        "recipe": {"lora": lora} if adapters else {},
        "options": {name: getattr(args, name) for name in (*SCHEDULE, *CHOICES) if getattr(args, name)},
        "seed": args.seed,
        "processes": args.world_size,
        "steps": state.global_step,
        "runtime_seconds": next(
            (entry["train_runtime"] for entry in state.log_history if "train_runtime" in entry), None
        ),
        "examples": len(batches.dataset) if hasattr(getattr(batches, "dataset", None), "__len__") else None,
        "data_fingerprint": {},
        "before": {name.removeprefix("eval_"): value for name, value in _evaluation(state, 0).items()},
        "metrics": dict(_evaluation(state, left)),
        "log": run_log(state.log_history),
        "versions": {"reet_hf": version("reet-hf"), "torch": torch.__version__},
    }
    return without_places(record)


def _evaluation(state: TrainerState, step: int | None) -> Mapping[str, float]:
    """What was measured at a step, the last time; nothing if there was no evaluation."""
    found: dict[str, float] = {}
    for entry in state.log_history:
        if entry["step"] == step:
            found |= {name: value for name, value in entry.items() if name.startswith("eval_")}
    return found


def _without_adapter(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "peft_config") else model
