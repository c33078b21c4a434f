"""A BERT encoder's pass over windows in one row, with fewer and larger operations than its modules make of it.

Query, key and value are one product; what stands behind a product (GELU, the sum with a layer's input) is computed with
it, as `torch.compile` has oneDNN do; weights stand in the order in which oneDNN reads them. For encoders on the CPU in
bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from ..modeling.modeling_reet import ReetModel
from ..modeling.processor import multiplies_tiles, rounded_rows


class _Layer(NamedTuple):
    """Weights of one layer; those of products are reordered."""

    attended: tuple[torch.Tensor, torch.Tensor]
    joined: tuple[torch.Tensor, torch.Tensor]
    first_norm: tuple[torch.Tensor, torch.Tensor]
    widened: tuple[torch.Tensor, torch.Tensor]
    narrowed: tuple[torch.Tensor, torch.Tensor]
    second_norm: tuple[torch.Tensor, torch.Tensor]


class FusedBert:
    """Reads windows as a `BertModel` does, in bfloat16.

    Args:
        model: One that `fuses` says yes to; its weights are copied.
    """

    def __init__(self, model: ReetModel) -> None:
        encoder: Any = model.encoder
        self.heads, self.epsilon = encoder.config.num_attention_heads, encoder.config.layer_norm_eps
        embeddings = encoder.embeddings
        self.words = _in_bfloat16(embeddings.word_embeddings.weight)
        # the type of a window's tokens is the first one
        self.places = _in_bfloat16(embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0])
        self.norm = _pair(embeddings.LayerNorm)
        self.layers = [self._layer(layer) for layer in encoder.encoder.layer]
        self.projection = None if model.projection is None else _product(model.projection)
        self._within = one_kernel if multiplies_tiles() else whole_products

    def _layer(self, layer: Any) -> _Layer:
        attention, joined = layer.attention.self, layer.attention.output
        width = attention.query.out_features // self.heads
        parts = (attention.query, attention.key, attention.value)
        scales = (width**-0.5, 1.0, 1.0)  # of queries, before they are rounded
        weights = torch.cat([scale * part.weight for scale, part in zip(scales, parts, strict=True)])
        biases = torch.cat([scale * part.bias for scale, part in zip(scales, parts, strict=True)])
        return _Layer(
            (reordered(weights), _in_bfloat16(biases)),
            _product(joined.dense),
            _pair(joined.LayerNorm),
            _product(layer.intermediate.dense),
            _product(layer.output.dense),
            _pair(layer.output.LayerNorm),
        )

    def read(self, ids: torch.Tensor, places: torch.Tensor, borders: Sequence[int]) -> torch.Tensor:
        """States of shape `(tokens, width)`, in bfloat16.

        Args:
            ids: Vocabulary ids of all windows, of shape `(tokens,)`.
            places: Of each token in its window, of the same shape.
            borders: Where windows begin, and where the last one ends.
        """
        product = torch.ops.mkldnn._linear_pointwise
        tokens = len(ids)
        added = (0, rounded_rows(tokens) - tokens)  # rows of padding, which no token attends to
        ids, places = functional.pad(ids, added), functional.pad(places, added)
        embedded = functional.embedding(ids, self.words) + functional.embedding(places, self.places)
        states = self._normal(embedded, self.norm)
        for layer in self.layers:
            joined = self._attend(product(states, *layer.attended, "none", [], ""), borders)
            states = self._normal(product.binary(joined, states, *layer.joined, "add"), layer.first_norm)
            widened = product(states, *layer.widened, "gelu", [], "none")
            states = self._normal(product.binary(widened, states, *layer.narrowed, "add"), layer.second_norm)
        if self.projection is not None:
            states = product(states, *self.projection, "none", [], "")
        return states[:tokens]

    def _normal(self, states: torch.Tensor, weights: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return functional.layer_norm(states, states.shape[-1:], *weights, self.epsilon)

    def _attend(self, attended: torch.Tensor, borders: Sequence[int]) -> torch.Tensor:
        """Attention within windows, of shape `(tokens, width)`, from scaled queries, keys and values side by side."""
        tokens = len(attended)
        query, key, value = attended.view(tokens, 3, self.heads, -1).permute(1, 2, 0, 3)
        found = torch.zeros(tokens, attended.shape[-1] // 3, dtype=attended.dtype)
        for first, last in pairwise(borders):
            seen = [each[:, first:last] for each in (query, key, value)]
            found[first:last] = self._within(*seen).transpose(0, 1).flatten(1)
        return found


def whole_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden: torch.Tensor | None = None
) -> torch.Tensor:
    """Attention by products of whole matrices; on processors without tiles twice as fast as PyTorch's kernel for it.

    Args:
        query: Scaled, of shape `(heads, tokens, head_width)`, as the others are.
        key, value: What is attended to.
        hidden: What a token does not attend to, of shape `(tokens, tokens)`.
    """
    scores = query @ key.transpose(-1, -2)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    return functional.softmax(scores, -1) @ value


def one_kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The same by PyTorch's kernel, which is the faster one on processors that multiply tiles."""
    return functional.scaled_dot_product_attention(query[None], key[None], value[None], scale=1.0)[0]


def fuses(model: ReetModel) -> bool:
    """Whether an encoder is one that `FusedBert` is written for, on the CPU."""
    config = model.encoder.config
    plain = config.model_type == "bert" and not config.is_decoder and config.hidden_act == "gelu"
    return plain and model.device.type == "cpu"


def _in_bfloat16(weights: torch.Tensor) -> torch.Tensor:
    return weights.detach().to(torch.bfloat16).clone()


def reordered(weights: torch.Tensor) -> torch.Tensor:
    """Weights of shape `(out, in)` in bfloat16, in the order in which oneDNN reads them."""
    return torch.ops.mkldnn._reorder_linear_weight(_in_bfloat16(weights), None)


def _product(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return reordered(layer.weight), _in_bfloat16(layer.bias)


def _pair(norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return _in_bfloat16(norm.weight), _in_bfloat16(norm.bias)
