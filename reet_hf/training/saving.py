"""What a finished training run leaves: weights in half precision, the tokenizer, and how they were made."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from .launch import MACHINE_OPTIONS, published_command

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
) -> None:
    """Write the model of `trainer` with `training.json` to its output folder.

    Args:
        trainer: After training.
        tokenizer: Of the encoder.
        arguments: The recipe's record.
        metrics: Of training and evaluation.
        fingerprints: What `dataset.fingerprint` says of the files that were trained on.
        sources: Folders of finished runs that this one went on from, by what they gave; empty ones are left out.
    """
    folder = Path(str(trainer.args.output_dir))
    model = trainer.accelerator.unwrap_model(trainer.model).half()
    for key in ("pad_token_id", "use_cache"):  # the Trainer aligns these for text generation; they are no fields here
        vars(model.config).pop(key, None)
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
    }
    for name, source in sources.items():
        if source:
            record[name] = json.loads((Path(source) / "training.json").read_text(encoding="utf-8"))
            if name != "initial" and record[name].get("initial") == record.get("initial"):
                record[name].pop("initial", None)  # told already
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
