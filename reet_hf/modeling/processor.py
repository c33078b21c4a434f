"""What the processor multiplies natively, and products that make use of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

_LEAST_STEP = 16  # rows that products come in at least
_STEPS = 128  # of the coarse byte of a direction in one of the fine byte
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "arm_bf16")  # what a processor says that multiplies bfloat16 natively
_BYTES = ("avx512_vnni", "amx_int8")


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies matrices of bfloat16 natively, which is several times faster than float32."""
    return _has(_BFLOAT16)


def multiplies_bytes() -> bool:
    """Whether the processor multiplies bytes into whole numbers natively, and PyTorch has a product for that."""
    return hasattr(torch, "_int_mm") and _has(_BYTES)


def multiplies_tiles() -> bool:
    """Whether the processor multiplies tiles of bfloat16 (AMX)."""
    return _has(("amx_bf16",))


@cache
def _has(names: tuple[str, ...]) -> bool:
    told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(told.get(name) for name in names)


def rounded_rows(rows: int) -> int:
    """The least number of rows, not below `rows`, of which there are eight to each doubling.

    For a number of rows that it has not seen oneDNN writes machine code anew, which takes longer than a product of
    hundreds of rows. Rows that are added and thrown away cost less.
    """
    step = max(_LEAST_STEP, 1 << max((rows - 1).bit_length() - 4, 0))
    return -(-rows // step) * step


def byte_product(values: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """`values @ directions.T`, of shape `(rows, directions)`, in the precision of the directions.

    On a processor that multiplies bytes each direction is written as two of them with one scale, that is in 15 bits,
    and the sums are exact; no value is turned into a real number. Elsewhere, and for gradients, real numbers are
    multiplied.

    Args:
        values: Whole numbers in [-127, 127], of shape `(rows, width)`, int8.
        directions: Of shape `(directions, width)`.
    """
    plain = values.device.type != "cpu" or directions.requires_grad or not multiplies_bytes()
    if plain or not values.numel():
        return values.to(directions.dtype) @ directions.T
    largest = directions.abs().amax(-1).float().clamp(min=torch.finfo(torch.float32).tiny)
    scales = largest / (127 * _STEPS)
    whole = (directions / scales.unsqueeze(-1)).round_()
    coarse = (whole / _STEPS).round_()
    both = torch.cat((coarse, whole - _STEPS * coarse)).to(torch.int8)
    high, low = torch._int_mm(values, both.T).split(len(directions), -1)
    return torch.add(low, high, alpha=_STEPS).to(directions.dtype).mul_(scales.to(directions.dtype))
