"""Where weights are: in the package, in a folder or on the Hub, whole or as an adapter of another model's.

An adapter is loaded as its base with the adapter merged into it, so that whatever reads a model reads an adapter too,
at the speed of its base, and gives what the merged model would that `reet merge` writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from transformers import PreTrainedConfig
from transformers.utils import CONFIG_NAME, cached_file, find_adapter_config_file

DEFAULT_MODEL = "reet/reet-base"
ADAPTER_CONFIG = "adapter_config.json"
NEEDS_PEFT = 'pip install "reet-hf[train]"'
_BUNDLED = "reet"  # the namespace of models that come with the package or the checkout
_DOWNLOAD = ("cache_dir", "force_download", "proxies", "token", "revision", "local_files_only", "subfolder")
_LOADED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_QUIETLY = {f"_raise_exceptions_for_{what}": False for what in ("gated_repo", "missing_entries", "connection_errors")}


def bundled_model(model: str = DEFAULT_MODEL) -> str:
    """Folder of weights that come with the package or the checkout; the Hub id itself where there are none."""
    package = Path(__file__).resolve().parent.parent
    places = [package.parent / model]
    if Path(model).parent == Path(_BUNDLED):
        places.insert(0, package / "weights" / Path(model).name)
    for folder in places:
        if (folder / CONFIG_NAME).is_file():
            return str(folder)
    return model


def public_id(model: str) -> str:
    """The Hub id of a model that is named by it, or by the folder that comes with the package; empty for others."""
    if not Path(model).exists():
        return model
    known = f"{_BUNDLED}/{Path(model).resolve().name}"
    return known if Path(bundled_model(known)).resolve() == Path(model).resolve() else ""


def local_folder(model: str) -> Path:
    """The folder of a model: one that is named, one that comes with the package, or the cached one of a Hub id."""
    folder = Path(model if Path(model).is_dir() else bundled_model(model))
    return folder if folder.is_dir() else Path(snapshot_download(model, allow_patterns=_LOADED))


def find_adapter(model: str | Path | None, options: Mapping[str, Any]) -> Path | None:
    """The configuration of an adapter, if `model` names one.

    Args:
        model: Folder or Hub id.
        options: Of `from_pretrained`, of which those that say where to look are used.
    """
    if model is None:
        return None
    if Path(model).is_dir():
        path = Path(model) / ADAPTER_CONFIG
        return path if path.is_file() else None
    wanted = {name: options[name] for name in _DOWNLOAD if options.get(name) is not None}
    found = find_adapter_config_file(str(model), **wanted)
    return None if found is None else Path(found)


def base_of(config: Path) -> str:
    """The model that an adapter belongs to, as a Hub id or folder that can be loaded.

    Args:
        config: Its configuration.

    Raises:
        OSError: If it cannot be found.
        ValueError: If there is none, or another than a REET model.
    """
    named = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not named:
        raise ValueError(f"{config} must name the model that it adapts as `base_model_name_or_path`, but names none.")
    base = named if Path(named).is_dir() else bundled_model(named)
    try:
        kind = PreTrainedConfig.get_config_dict(base)[0].get("model_type")
    except OSError as missing:
        raise OSError(
            f"{config.parent.name} is an adapter of {named!r}, which cannot be loaded: {missing}"
        ) from missing
    if kind != "reet":
        raise ValueError(
            f"{config.parent.name} must be an adapter of a REET model to be loaded here, but its base {named!r} is of "
            f"type {kind!r}; load it with the library that it was made for."
        )
    return base


def adapter_folder(model: str) -> Path | None:
    """The folder of an adapter, fetched where it is a Hub id, so that its base may be the bundled one; else `None`.

    Raises:
        ValueError: If it belongs to another than a REET model.
    """
    config = find_adapter(model, {})
    if config is None:
        return None
    base_of(config)
    return local_folder(model)


def load_adapted(model_class: Any, adapter: str | Path, config: Path, options: dict[str, Any]) -> Any:
    """The model of an adapter: its base with the adapter merged in.

    Merging is computed in float32. The weights are those that `reet merge` writes, in the precision of the
    configuration, whatever precision they are then loaded in.

    Args:
        model_class: Of the model.
        adapter: Folder or Hub id of the adapter.
        config: Its configuration, see `find_adapter`.
        options: Of `from_pretrained`.

    Raises:
        ImportError: If `peft` is not installed.
        ValueError: If the adapter does not belong to a REET model, or not to the one it names.
    """
    try:
        from peft import PeftModel
    except ImportError as missing:
        raise ImportError(f"`model` {str(adapter)!r} is an adapter, which needs peft: {NEEDS_PEFT}") from missing
    base = base_of(config)
    where = {name: options.pop(name) for name in _DOWNLOAD if name in options}
    options = {name: value for name, value in options.items() if name not in ("adapter_kwargs", "_commit_hash")}
    dtype = options.pop("dtype", options.pop("torch_dtype", None))
    if options.get("config") is None:
        source = str(adapter) if cached_file(str(adapter), CONFIG_NAME, **where, **_QUIETLY) else base
        own, options = model_class.config_class.from_pretrained(source, return_unused_kwargs=True, **where, **options)
        options["config"] = own
    published = options["config"].dtype or torch.float32
    model = model_class.from_pretrained(base, **options, dtype=torch.float32)
    try:
        model = PeftModel.from_pretrained(model, str(adapter), **where).merge_and_unload()
    except (KeyError, RuntimeError) as misfit:
        raise ValueError(
            f"`model` {str(adapter)!r} must be an adapter of its base {base!r}, but does not fit it; was the base "
            f"changed since? ({misfit})"
        ) from misfit
    model.name_or_path = model.config.name_or_path = str(adapter)
    return model.to(published).to(dtype if isinstance(dtype, torch.dtype) else published)
