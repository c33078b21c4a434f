"""Which backends there are for an encoder, and in which precisions they compute."""

from __future__ import annotations

from ..errors import ReetError

BACKENDS = {
    "torch": ("float32", "bfloat16", "float16"),
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bfloat16"),
}
"""Backends with their precisions; each also takes `auto`, the fastest that the processor computes natively.

`int8` has weights in eight bits and activations in float32: smaller, not faster. With activations in eight bits too,
every way that was tried changes more of what is kept than bfloat16 does, see `eval/results/LOG.md`.
"""


def check_choice(backend: str, precision: str = "auto") -> None:
    """Refuse a backend or a precision that is not offered.

    Raises:
        ReetError: If it is not.
    """
    if backend not in BACKENDS:
        raise ReetError(f"`backend` must be one of {', '.join(BACKENDS)}, got {backend!r}.")
    if precision != "auto" and precision not in BACKENDS[backend]:
        others = [repr(name) for name, offered in BACKENDS.items() if precision in offered]
        hint = f"; {precision} needs backend={' or '.join(others)}" if others else ""
        raise ReetError(
            f"`precision` must be auto or {', '.join(BACKENDS[backend])} for backend {backend!r}, "
            f"got {precision!r}{hint}."
        )
