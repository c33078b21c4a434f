"""Windows as one row of tokens without padding, in the precision that the processor computes fastest.

Everything an encoder does but attention looks at one token at a time, so windows stand side by side in one row and only
attention is told where they end, as with variable lengths in FlashAttention (Dao, arXiv:2307.08691). No token is spent
on padding, and a window's states are the same whatever is read beside it, bit for bit unless the processor adds up sums
in another order where there are more rows (seen in bfloat16 with AMX).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from ..modeling.modeling_reet import ReetModel
from ..modeling.processor import multiplies_bfloat16
from .choices import check_choice
from .fused import FusedBert, fuses, reordered, whole_products

PACKED = "reet_packed"
_PROBE = ((5, 6, 7), (8, 9))  # windows that show whether an encoder can be packed


class PackedEncoder:
    """Reads windows with a PyTorch encoder.

    Args:
        model: A `ReetModel` in evaluation mode. It is left as it is; in another precision than its own a copy is read.
        precision: `"float32"`, `"bfloat16"`, `"float16"`, or `"auto"`: bfloat16 for a float32 model on a processor that
            multiplies it natively, else the model's own.

    Raises:
        ReetError: For another precision.
    """

    def __init__(self, model: ReetModel, precision: str = "auto") -> None:
        self._given, self._precision = model, precision
        self.dtype = _resolved(model, precision)

    def __reduce__(self) -> tuple[Any, ...]:
        """As it was made: what weights were reordered into cannot be written."""
        return type(self), (self._given, self._precision)

    @cached_property
    def packs(self) -> bool:
        """Whether windows are read in one row."""
        return _can_pack(self._given)

    @cached_property
    def fused(self) -> FusedBert | None:
        """What reads in place of `model` where that is faster: a BERT encoder in bfloat16 on the CPU."""
        if self.dtype != torch.bfloat16 or not fuses(self._given):
            return None
        return _that_agrees(self._given)

    @cached_property
    def model(self) -> ReetModel:
        """What reads: the model that was given, or its copy in another precision, made when it is first needed."""
        reading: Any = self._given
        if self.dtype != self._given.dtype:
            reading = copy.deepcopy(self._given)
            reading.to(self.dtype)
            if self._given.device.type == "cpu" and self.dtype == torch.bfloat16:
                _reorder_weights(reading)
        if self.packs:
            _attend_in_rows(reading)  # for good: threads may read at the same time
        return reading

    @property
    def identity(self) -> str:
        """What tells apart encoders whose states differ."""
        return f"torch {str(self.dtype).removeprefix('torch.')}"

    @torch.inference_mode()
    def read(self, windows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """States of windows, of shape `(tokens, width)` each, in the precision of the model that was given.

        Args:
            windows: Vocabulary ids with special tokens, none empty.
        """
        if not windows:
            return []
        if self.fused is not None:
            found = _fused(self.fused, windows)
        else:
            found = (_packed if self.packs else _padded)(self.model, windows)
        return [states.to(self._given.dtype) for states in found]


def _resolved(model: ReetModel, precision: str) -> torch.dtype:
    check_choice("torch", precision)
    if precision != "auto":
        return getattr(torch, precision)
    fast = model.device.type == "cpu" and model.dtype == torch.float32 and multiplies_bfloat16()
    return torch.bfloat16 if fast else model.dtype


class ReorderedLinear(nn.Module):
    """A linear layer whose weights stand in the order in which oneDNN reads them, so that no call has to reorder them.

    The results are those of the layer, bit for bit.

    Args:
        layer: In bfloat16, on the CPU.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = reordered(layer.weight)
        self.bias = layer.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """As the layer's."""
        return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")


def _reorder_weights(model: nn.Module) -> None:
    """Replace the linear layers of a model, where PyTorch has what `torch.compile` uses for that."""
    try:
        for parent in list(model.modules()):
            for name, layer in list(parent.named_children()):
                if type(layer) is nn.Linear:
                    setattr(parent, name, ReorderedLinear(layer))
    except (AttributeError, NotImplementedError, RuntimeError):
        return  # layers that were not replaced do the same


@torch.inference_mode()
def _that_agrees(model: ReetModel) -> FusedBert | None:
    """What reads as a model does, in fewer operations; nothing where this PyTorch does not compute it."""
    try:
        fused = FusedBert(model)
        found = _fused(fused, _PROBE)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return None
    usual = (_padded(model, [window])[0] for window in _PROBE)
    near = (torch.allclose(one.to(other.dtype), other, atol=0.1) for one, other in zip(found, usual, strict=True))
    return fused if all(near) else None


def _in_one_row(windows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Vocabulary ids of windows, and their places in each."""
    ids = torch.tensor([number for window in windows for number in window])
    return ids, torch.cat([torch.arange(len(window)) for window in windows])


def _fused(fused: FusedBert, windows: Sequence[Sequence[int]]) -> Sequence[torch.Tensor]:
    lengths = [len(window) for window in windows]
    return fused.read(*_in_one_row(windows), [0, *accumulate(lengths)]).split(lengths)


def _packed(model: ReetModel, windows: Sequence[Sequence[int]]) -> Sequence[torch.Tensor]:
    lengths = [len(window) for window in windows]
    ids, places = (row.unsqueeze(0).to(model.device) for row in _in_one_row(windows))
    borders = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=model.device)
    told = {"cu_seq_lens_q": borders, "cu_seq_lens_k": borders}
    longest = {"max_length_q": max(lengths), "max_length_k": max(lengths)}
    return model(ids, None, position_ids=places, **told, **longest).token_states[0].split(lengths)


def _attend_in_rows(model: ReetModel) -> str:
    """Have a model attend as `_attend` does, which is as usual where no borders are given; how it did before."""
    before: str = model.encoder.config._attn_implementation
    if not before.startswith("flash_attention"):  # whose own kernels read the borders
        model.encoder.config._attn_implementation_internal = PACKED
    return before


def _padded(model: ReetModel, windows: Sequence[Sequence[int]]) -> Sequence[torch.Tensor]:
    rows = [torch.tensor(window, device=model.device) for window in windows]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    states = model(ids, mask).token_states
    return [states[number, : len(row)] for number, row in enumerate(rows)]


@torch.inference_mode()
def _can_pack(model: ReetModel) -> bool:
    """Whether an encoder's states of windows in one row are those of the windows alone, as it reads them itself."""
    before = _attend_in_rows(model)
    try:
        together, alone = _packed(model, _PROBE), [_packed(model, [window])[0] for window in _PROBE]
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        return False
    finally:
        model.encoder.config._attn_implementation_internal = before
    usual = [_padded(model, [window])[0] for window in _PROBE]
    apart = all(torch.allclose(one, other, atol=1e-5) for one, other in zip(together, alone, strict=True))
    return apart and all(torch.allclose(one, other, atol=0.05) for one, other in zip(alone, usual, strict=True))


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each of the windows of one row; all tensors are of shape `(1, heads, tokens, head_width)`."""
    if cu_seq_lens_q is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query = query[0] * scale
    parts = []
    for first, last in pairwise(cu_seq_lens_q.tolist()):
        hidden = None
        if sliding_window is not None and last - first > sliding_window:
            hidden = _outside(last - first, sliding_window, query.device)
        parts.append(whole_products(query[:, first:last], key[0, :, first:last], value[0, :, first:last], hidden))
    return torch.cat(parts, 1).transpose(0, 1).unsqueeze(0), None


def _outside(length: int, reach: int, device: torch.device) -> torch.Tensor:
    """Which tokens of a window are `reach` or more away from each other, of shape `(length, length)`."""
    places = torch.arange(length, device=device)
    return (places[:, None] - places).abs() >= reach


AttentionInterface.register(PACKED, _attend)
AttentionMaskInterface.register(PACKED, sdpa_mask)
