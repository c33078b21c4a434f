"""An adapter of a REET model as a repository of the Hub: its files, and what must hold before it is published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..errors import ReetError
from ..modeling.checkpoints import ADAPTER_CONFIG
from .bundle import OPTIONAL, copy_files, is_model
from .checks import check_model_card, try_model
from .publish import is_id

WEIGHTS = "adapter_model.safetensors"
FILES = (ADAPTER_CONFIG, WEIGHTS, "config.json", "tokenizer_config.json", *OPTIONAL)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter of a REET model."""
    return (folder / ADAPTER_CONFIG).is_file() and is_model(folder)


def build_adapter(source: Path, target: Path) -> Path:
    """The new folder `target` with the files of an adapter; its code is that of its base.

    Raises:
        ReetError: If weights or tokenizer are missing, or the base is no repository of the Hub.
    """
    missing = [name for name in FILES[:4] if not (source / name).is_file()]
    if missing:
        raise ReetError(
            f"FOLDER must hold a whole adapter, but {source} has no {', '.join(missing)}; the scripts in train/ write "
            "all of it."
        )
    base = json.loads((source / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    if not is_id(base):
        raise ReetError(
            f"`base_model_name_or_path` in {source / ADAPTER_CONFIG} must be an id of the Hub, got {base!r}; publish "
            "the base first and write its id there, or publish the model that `reet merge` writes."
        )
    copy_files(source, target, FILES)
    return target


def check_adapter(folder: Path, source: Path, environment: Mapping[str, str]) -> list[str]:
    """What was found true of an adapter, one line each.

    Args:
        folder: What `build_adapter` made.
        source: What it was built from.
        environment: That of the command, see `checks.in_clean_process`.

    Raises:
        ReetError: If it does not load beside its base, or its card says what was not measured.
    """
    counts = try_model(folder, packaged=True, environment=environment)["result"]["tokens"]
    loaded = f"loads with its base and compresses: {counts['compressed']} of {counts['original']} tokens, all verbatim"
    return [*check_model_card(folder, source), loaded]
