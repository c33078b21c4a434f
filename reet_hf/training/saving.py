"""What a finished training run leaves: weights in half precision, the tokenizer, and how they were made."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from .adapters import save_adapter
from .dataset import Rows
from .launch import MACHINE_OPTIONS, published_command, without_places

LOG = ("step", "epoch", "loss", "eval_loss", "eval_kept_at_20")
LOGGED = 25
SCHEDULE = (
    "learning_rate",
    "weight_decay",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "warmup_steps",
    "max_grad_norm",
)


def save_run(
    trainer: Trainer,
    tokenizer: Any,
    arguments: Any,
    metrics: Mapping[str, Any],
    fingerprints: Mapping[str, str],
    sources: Mapping[str, str],
    told: Mapping[str, Any] | None = None,
) -> None:
    """Write the model of `trainer`, or its adapter, with `training.json` to its output folder.

    Callbacks of the trainer that have a method `on_run_saved` then get the folder.

    Args:
        trainer: After training.
        tokenizer: Of the encoder.
        arguments: The recipe's record.
        metrics: Of training and evaluation.
        fingerprints: What `dataset.fingerprint` says of the files that were trained on.
        sources: Folders of finished runs that this one went on from, by what they gave; empty ones are left out.
        told: What else `training.json` says; `base`, the Hub id of what was gone on from, is what an adapter names.
    """
    folder = Path(str(trainer.args.output_dir))
    trained = trainer.accelerator.unwrap_model(trainer.model)
    adapted = hasattr(trained, "peft_config")
    model = trained.get_base_model() if adapted else trained.half()
    for key in ("pad_token_id", "use_cache"):  # the Trainer aligns these for text generation; they are no fields here
        vars(model.config).pop(key, None)
    if adapted:
        save_adapter(trained, folder, (told or {})["base"])
    else:
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record = {
        "command": published_command(sys.argv, trainer.args),
        "encoder": model.config.encoder.name_or_path,
        "recipe": {name: value for name, value in vars(arguments).items() if name not in MACHINE_OPTIONS},
        "schedule": {name: getattr(trainer.args, name) for name in SCHEDULE},
        "seed": trainer.args.seed,
        "processes": trainer.args.world_size,
        "steps": trainer.state.global_step,
        "runtime_seconds": metrics.get("train_runtime"),
        "data_fingerprint": dict(fingerprints),
        "metrics": {k: v for k, v in metrics.items() if k.startswith(("eval_", "train_loss"))},
        "versions": {"reet_hf": version("reet-hf"), "torch": torch.__version__},
        **(told or {}),
    }
    if adapted:
        record["versions"]["peft"] = version("peft")
    for name, source in sources.items():
        if source:
            record[name] = json.loads((Path(source) / "training.json").read_text(encoding="utf-8"))
            if name != "initial" and record[name].get("initial") == record.get("initial"):
                record[name].pop("initial", None)  # told already
    (folder / "training.json").write_text(json.dumps(without_places(record), indent=2) + "\n", encoding="utf-8")
    for callback in trainer.callback_handler.callbacks:
        if hasattr(callback, "on_run_saved"):
            callback.on_run_saved(folder)


def told_of_files(files: Mapping[str, Rows], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What a record says of each file: conversations and questions, those held out under `NAME-held`, licences."""
    found = {}
    for name in names:
        counts: dict[str, Any] = {}
        for prefix, rows in (("", files[name]), ("held_out_", files.get(f"{name}-held", []))):
            counts[f"{prefix}conversations"] = len(rows)
            counts[f"{prefix}questions"] = sum(len(row["questions"]) for row in rows)
        licenses = {row["license"] for row in (*files[name], *files.get(f"{name}-held", []))}
        found[name] = {**counts, "licenses": sorted(licenses)}
    return found


def run_log(history: Sequence[Mapping[str, Any]], entries: int = LOGGED) -> list[dict[str, float]]:
    """What a run logged: losses and evaluations by step, thinned evenly to about so many entries of each.

    Args:
        history: The `log_history` of a trainer's state.
        entries: Of losses, and of evaluations.
    """
    found: list[dict[str, float]] = []
    for name in ("loss", "eval_loss"):
        own = [entry for entry in history if name in entry]
        step = max(-(-len(own) // entries), 1)
        found += [{key: entry[key] for key in LOG if key in entry} for entry in own[::-1][::step]]
    return sorted(found, key=lambda entry: (entry["step"], "eval_loss" in entry))
