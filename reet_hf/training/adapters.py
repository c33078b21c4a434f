"""An adapter of the encoder instead of new weights: low-rank updates of linear layers (Hu et al., arXiv:2106.09685).

The head is small and is trained whole beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ReetError
from ..modeling.checkpoints import NEEDS_PEFT

LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0}
"""Options that a recipe changes; all others are those of `peft.LoraConfig`."""

HEADS = ["scorer"]
PREFIX = "base_model.model."  # of the names of parameters under an adapter


def add_adapter(model: Any, options: Mapping[str, Any]) -> Any:
    """A model with an adapter that is trained, as a `peft.PeftModel`; nothing else of the encoder is.

    Args:
        model: A `ReetForTokenScoring` or subclass.
        options: Of `peft.LoraConfig`, beside `LORA`. `target_modules` are all linear layers of the encoder, and
            `modules_to_save`, which are trained whole, the scoring head, unless others are named.

    Raises:
        ReetError: If `peft` is missing, or does not know an option or find a module.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as missing:
        raise ReetError(f"`lora` needs another library ({missing}): {NEEDS_PEFT}.") from missing
    modules = {"target_modules": linear_layers(model), "modules_to_save": HEADS}
    try:
        return get_peft_model(model, LoraConfig(**{**LORA, **modules, **options}))
    except (TypeError, ValueError) as refused:
        raise ReetError(f"`lora` must have options of peft.LoraConfig, got {dict(options)} ({refused}).") from refused


def linear_layers(model: Any) -> str:
    """A pattern of the names of all linear layers of a model's encoder."""
    names = {name.split(".")[-1] for name, layer in model.reet.encoder.named_modules() if isinstance(layer, nn.Linear)}
    return rf"reet\.encoder\..+\.({'|'.join(map(re.escape, sorted(names)))})"


def save_adapter(model: Any, folder: Path, base: str) -> None:
    """Write an adapter and the configuration of the model under it.

    Args:
        model: What `add_adapter` gave.
        folder: Where to.
        base: Hub id of the model that it belongs to.
    """
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder, save_embedding_layers=False)
    config = model.get_base_model().config
    config.dtype = torch.float16  # what a merged model is published in, and so what an adapter is merged to
    config.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # the empty card that peft writes
