"""The backends that read windows, chosen by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch

from ..errors import ReetError
from ..modeling.modeling_reet import ReetModel
from .choices import check_choice


class WindowEncoder(Protocol):
    """What a scorer reads windows with."""

    @property
    def identity(self) -> str:
        """What tells apart encoders whose states differ; part of the keys of caches."""

    def read(self, windows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """States of windows, of shape `(tokens, width)` each, in the precision of the model.

        Args:
            windows: Vocabulary ids with special tokens, none empty.
        """


def make_encoder(
    backend: str,
    model: ReetModel,
    precision: str = "auto",
    folder: str | Path | None = None,
    exports: str | Path | None = None,
) -> WindowEncoder:
    """What reads windows with the weights of `model`.

    Args:
        backend: One of `BACKENDS`. All but torch compute on the CPU, with as many threads as PyTorch has.
        model: In evaluation mode.
        precision: One of the backend's, or `auto`.
        folder: Folder or Hub id the model was loaded from; what it has exported already is read from there.
        exports: Folder in which exports are kept that had to be made; default: the assets cache of `huggingface_hub`.

    Raises:
        ReetError: For another backend or precision, a library that is missing, a model that is not on the CPU, or an
            export that does not have the model's weights.
    """
    check_choice(backend, precision)
    if backend == "torch":
        from .packed import PackedEncoder

        return PackedEncoder(model, precision)
    if model.device.type != "cpu":
        raise ReetError(
            f"`backend` {backend!r} computes on the CPU, but the model is on {str(model.device)!r}; use device='cpu', "
            "or backend='torch'."
        )
    if backend == "onnx":
        from .onnx_encoder import OnnxEncoder

        return OnnxEncoder(model, precision, folder, exports)
    from .openvino_encoder import OpenVinoEncoder

    return OpenVinoEncoder(model, precision, folder, exports)


def export(
    folder: str | Path, backend: str, output: str | Path | None = None, precision: str = "float32"
) -> list[Path]:
    """The files of an export of a checkpoint's encoder, written to `output/<backend>`.

    Args:
        folder: Folder of the checkpoint, or its Hub id.
        backend: `"onnx"` or `"openvino"`.
        output: Default: `folder`, where the export is found when the checkpoint is loaded.
        precision: `"float32"`, of which what computes in bfloat16 makes that when it loads it, or the backend's
            `"int8"`.

    Raises:
        ReetError: For another backend or precision, a library that is missing, or a Hub id without `output`.
    """
    from .exports import write

    check_choice(backend, precision)
    if backend == "torch":
        raise ReetError("`backend` must be onnx or openvino to be exported, got 'torch', which reads the weights.")
    if output is None and not Path(folder).is_dir():
        raise ReetError(f"`output` must name a folder, as {str(folder)!r} is none to write to; add output=FOLDER.")
    if backend == "onnx":
        from .onnx_encoder import FORMATS
    else:
        from .openvino_encoder import FORMATS
    if precision not in FORMATS:
        raise ReetError(
            f"`precision` of an export for {backend} must be {' or '.join(FORMATS)}, got {precision!r}; use float32: "
            "what computes in another precision makes that of it when it is loaded."
        )
    model = ReetModel.from_pretrained(folder, dtype=torch.float32).eval()
    return write(FORMATS[precision], model, Path(output or folder) / backend)
