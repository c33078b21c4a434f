"""What `reet merge` takes and does: an adapter and its base as one model."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..errors import ReetError
from ..modeling.checkpoints import ADAPTER_CONFIG, adapter_folder
from .output import check_output
from .publish import is_id

RECORDED = ("peft_type", "base_model_name_or_path", "r", "lora_alpha", "peft_version")
"""What the merged model's record says of its adapter."""


def add_merge(commands: Any) -> argparse.ArgumentParser:
    """Add `reet merge` to the commands."""
    command: argparse.ArgumentParser = commands.add_parser(
        "merge",
        help="write an adapter and its base as one model",
        description="Write the model that an adapter and its base are together, which needs neither of them: the same "
        "results, from one folder.",
    )
    command.add_argument("adapter", metavar="ADAPTER", help="folder or Hub id of a LoRA adapter")
    command.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="new folder of the model")
    return command


def run_merge(arguments: argparse.Namespace) -> None:
    """Merge and print the folder that was written."""
    print(merge(arguments.adapter, arguments.output))


def merge(adapter: str, output: str | Path) -> Path:
    """The folder `output` with the model, in half precision, its tokenizer, its record and its card.

    Args:
        adapter: Folder or Hub id.
        output: New or empty folder.

    Raises:
        ReetError: If `adapter` is none or not to be found, its base cannot be loaded, or `output` holds something.
    """
    from transformers import AutoTokenizer

    from ..modeling.modeling_reet import ReetForCompression
    from .tuned_cards import write_card

    output = Path(output)
    check_output(output)
    if not (Path(adapter).is_dir() or is_id(adapter)):
        raise ReetError(
            f"ADAPTER must be a folder or an id of the Hub, got {adapter!r}: there is no such folder, and ids are "
            "`namespace/name`."
        )
    try:
        source = adapter_folder(adapter)
        if source is None:
            raise ReetError(
                f"ADAPTER must have {ADAPTER_CONFIG}, but {adapter!r} has none; whole models need no merging."
            )
        model = ReetForCompression.from_pretrained(source).half()
        tokenizer = AutoTokenizer.from_pretrained(source)
    except ReetError:
        raise
    except (ImportError, OSError, ValueError) as error:
        raise ReetError(f"ADAPTER must be an adapter that can be loaded, got {adapter!r}: {error}") from error
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    made_by = source / "training.json"
    if made_by.is_file():
        record = json.loads(made_by.read_text(encoding="utf-8"))
        config = json.loads((source / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        told = {key: config.get(key) for key in RECORDED}
        record["merged"] = {"command": "reet merge ADAPTER --output FOLDER", **told}
        (output / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        write_card(output)
    else:
        print(f"reet: {adapter} has no training.json, so the merged model has no card.", file=sys.stderr)
    return output
