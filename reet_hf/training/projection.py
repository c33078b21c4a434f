"""Where a projection of token states begins: at the directions that carry most of what the encoder says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..errors import ReetError

EXAMPLES = 32  # contexts whose token states are looked at


@torch.no_grad()
def start_from_components(model: Any, examples: Any, collator: Callable[[list[Any]], dict[str, Any]]) -> None:
    """Set the model's projection to the leading principal directions of its encoder's token states.

    The states are not centred, so that cosines between them, which the head reads, change least.

    Args:
        model: A `ReetForTokenScoring` or subclass whose configuration has a `projection_dim`.
        examples: A sequence or data set of scoring examples, of which 32 evenly spaced ones are read.
        collator: Makes a batch of a list of examples.

    Raises:
        ReetError: If the model has no projection, or one wider than its encoder's states.
    """
    projection, width = model.reet.projection, model.config.encoder.hidden_size
    if projection is None or projection.out_features > width:
        raise ReetError(
            f"`projection_init: pca` needs `model: {{projection_dim: N}}` with N up to the encoder's {width}, got "
            f"{model.config.projection_dim}."
        )
    products = torch.zeros(width, width, dtype=torch.float64)
    for place in np.unique(np.linspace(0, len(examples) - 1, EXAMPLES).round().astype(int)):
        batch = collator([examples[int(place)]])
        mask = batch["attention_mask"].bool()
        states = model.reet.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        real = states.last_hidden_state[mask].double()
        products += real.T @ real
    directions = torch.linalg.eigh(products).eigenvectors  # of rising eigenvalues
    projection.weight.copy_(directions[:, -projection.out_features :].flip(1).T)
    projection.bias.zero_()
