"""A smaller scorer that learns from a larger one: layers dropped, then states and logits matched.

States are matched as in TinyBERT (Jiao et al., arXiv:1909.10351), by direction, since the head compares directions;
logits as by Ba & Caruana (arXiv:1312.6184).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..errors import ReetError


def encoder_layers(model: Any) -> tuple[nn.Module, str]:
    """The module of an encoder that holds its list of layers, and the name of that list.

    Raises:
        ReetError: If there is no list of as many layers as the configuration says.
    """
    count = model.config.encoder.num_hidden_layers
    for module in model.reet.encoder.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == count:
                return module, name
    name = type(model.reet.encoder).__name__
    raise ReetError(f"`layers` needs an encoder with a list of its {count} layers, which {name} has not.")


def keep_layers(model: Any, layers: Sequence[int]) -> Any:
    """A copy of a scorer whose encoder has only some of its layers; the head stays as it is.

    Args:
        model: A `ReetForTokenScoring` or subclass.
        layers: Numbers of the layers that stay, rising, from 0.

    Raises:
        ReetError: If the encoder does not have them.
    """
    count = model.config.encoder.num_hidden_layers
    if list(layers) != sorted(set(layers)) or not layers or not 0 <= layers[0] <= layers[-1] < count:
        raise ReetError(f"`layers` must be rising numbers from 0 to {count - 1}, got {list(layers)}.")
    smaller = copy.deepcopy(model)
    holder, name = encoder_layers(smaller)
    found: Any = getattr(holder, name)
    setattr(holder, name, nn.ModuleList([found[number] for number in layers]))
    smaller.config.encoder.num_hidden_layers = len(layers)
    smaller.reet.encoder.config.num_hidden_layers = len(layers)
    return smaller


def distillation_loss(student: Any, teacher: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Scalar: mean squared distance of importance and prior logits, and one minus the cosine of token states.

    Args:
        student, teacher: Each a `ReetScoringOutput` for `batch`.
        batch: What `ScoringCollator` makes, with queries.
    """
    real = batch["token_positions"] >= 0
    asked = (batch["query_ids"] >= 0).any(-1)
    used = real.unsqueeze(1) & asked.unsqueeze(-1)
    importance = functional.mse_loss(student.importance[used], teacher.importance[used])
    prior = functional.mse_loss(student.prior[real], teacher.prior[real])
    read = batch["attention_mask"].bool()
    cosine = functional.cosine_similarity(student.token_states[read], teacher.token_states[read], dim=-1)
    return importance + prior + 1.0 - cosine.mean()
