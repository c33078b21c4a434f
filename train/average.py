"""The mean of a checkpoint and the one it was trained from: python train/average.py MODEL INITIAL --output FOLDER

A later stage learns its own task and forgets some of the earlier ones; between the two sets of weights both are held
better than at either end (WiSE-FT, Wortsman et al., arXiv:2109.01903).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from reet_hf import ReetError, ReetForCompression


def mean(model: ReetForCompression, initial: ReetForCompression, share: float) -> ReetForCompression:
    """`model` with weights moved towards those of `initial`, in place.

    Args:
        model: Its `share` of the mean is left.
        initial: A model with the same weights' names and shapes.
        share: In (0, 1).

    Raises:
        ReetError: If the weights are not of the same names and shapes, or `share` is outside its range.
    """
    if not 0 < share < 1:
        raise ReetError(f"`share` must be between 0 and 1, got {share}.")
    own, other = model.state_dict(), initial.state_dict()
    sizes = [{name: tuple(weight.shape) for name, weight in weights.items()} for weights in (own, other)]
    if sizes[0] != sizes[1]:
        differing = sorted({name for name, _ in sizes[0].items() ^ sizes[1].items()})
        raise ReetError(f"`model` and `initial` must have the same weights, these differ: {', '.join(differing[:5])}.")
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(torch.lerp(other[name], weight, share))
    return model


def record(model: Path, share: float) -> dict[str, Any]:
    """What `training.json` says of the mean: how `model` was trained, and that it was averaged."""
    trained: dict[str, Any] = json.loads((model / "training.json").read_text(encoding="utf-8"))
    command = "python train/average.py MODEL INITIAL --output OUTPUT"
    return {**trained, "average": {"command": command, "share": share}}


def main(argv: Sequence[str] | None = None) -> None:
    """Average and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of a finished run")
    parser.add_argument("initial", type=Path, help="folder of what it was trained from")
    parser.add_argument("--output", type=Path, required=True, help="folder of the mean")
    parser.add_argument("--share", type=float, default=0.5, help="of `model` in the mean")
    said = parser.parse_args(argv)
    model, initial = (ReetForCompression.from_pretrained(f, dtype=torch.float32) for f in (said.model, said.initial))
    mean(model, initial, said.share).half().save_pretrained(said.output)
    AutoTokenizer.from_pretrained(said.model).save_pretrained(said.output)
    text = json.dumps(record(said.model, said.share), indent=2) + "\n"
    (said.output / "training.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
