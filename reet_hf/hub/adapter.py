"""An adapter of a REET model as a repository of the Hub: its files, and what must hold before it is published."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub.errors import HTTPError

from ..errors import ReetError
from ..modeling.checkpoints import ADAPTER_CONFIG, local_folder
from .bundle import OPTIONAL, copy_files, is_model, read_config
from .checks import check_exports, check_model_card, try_model
from .publish import is_id, said

BASE = "base_model_name_or_path"

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
    base = read_config(source / ADAPTER_CONFIG).get(BASE)
    if not (isinstance(base, str) and is_id(base)):
        raise ReetError(
            f"`{BASE}` in {source / ADAPTER_CONFIG} must be an id of the Hub, got {base!r}; publish the base first and "
            "write its id there, or publish the model that `reet merge` writes."
        )
    copy_files(source, target, FILES)
    return target


def base_folder(folder: Path) -> Path:
    """The folder of the base of an adapter: the bundled one, or that of the Hub, fetched unless it is on this machine.

    Raises:
        ReetError: If it cannot be had, or is no REET model.
    """
    base = read_config(folder / ADAPTER_CONFIG)[BASE]
    try:
        found = local_folder(base)
    except (HTTPError, OSError) as error:
        raise ReetError(
            f"`{BASE}` must be a model that can be fetched, for the adapter is tried on it, but {base!r} cannot "
            f"({said(error)}); publish the base first, or publish the model that `reet merge` writes."
        ) from error
    if not is_model(found):
        raise ReetError(f"`{BASE}` must be a REET model, but {base!r} is none; name the model that was tuned.")
    return found


def check_adapter(folder: Path, source: Path, environment: Mapping[str, str]) -> list[str]:
    """What was found true of an adapter, one line each.

    Args:
        folder: What `build_adapter` made.
        source: What it was built from.
        environment: That of the command, see `checks.in_clean_process`.

    Raises:
        ReetError: If its base cannot be had, it does not load beside it, or its card says what was not measured.
    """
    base = base_folder(folder).resolve()
    with tempfile.TemporaryDirectory() as scratch:  # with the base as a folder, since the trial has no network
        tried = Path(shutil.copytree(folder, Path(scratch) / "adapter"))
        config = read_config(tried / ADAPTER_CONFIG)
        (tried / ADAPTER_CONFIG).write_text(json.dumps({**config, BASE: str(base)}), encoding="utf-8")
        counts = try_model(tried, packaged=True, environment=environment)["result"]["tokens"]
        exports = check_exports(tried, source)
    loaded = f"loads with its base and compresses: {counts['compressed']} of {counts['original']} tokens, all verbatim"
    return [*check_model_card(folder, source), loaded, *exports]
