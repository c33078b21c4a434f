"""Windows read by ONNX Runtime: an encoder without PyTorch's kernels, wherever that runtime runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..errors import ReetError
from ..modeling.modeling_reet import ReetModel
from .exports import (
    INPUTS,
    OUTPUT,
    WEIGHTS,
    Format,
    TokenStates,
    check_export,
    copied,
    find,
    fingerprint,
    missing,
    probe,
    quiet,
)
from .grouping import GroupedEncoder

OPSET = 20  # the first with the exact form of the activation GELU


def make(model: ReetModel, folder: Path) -> None:
    """An encoder as one file of any number of windows of any length, see `exports.Format`.

    Attention is written out: its fused form is exported with a check for rows of padding alone, which takes a fifth of
    the time.

    Raises:
        ReetError: If the libraries that export are missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing(error, "onnx") from error
    own = copied(model)
    own.encoder.set_attn_implementation("eager")
    sizes = {0: torch.export.Dim("windows"), 1: torch.export.Dim("tokens")}
    with quiet():
        program = torch.onnx.export(
            TokenStates(own).eval(),
            probe(model),
            dynamo=True,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes={name: sizes for name in INPUTS},
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:  # as for older ways to export
        raise ReetError("`backend` 'onnx' needs a PyTorch whose `torch.onnx.export` returns a program; update PyTorch.")
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {WEIGHTS: fingerprint(model)})
    onnx.save(proto, folder / FORMAT.files[0])


FORMAT = Format("onnx", ("model.onnx",), make)


class OnnxEncoder(GroupedEncoder):
    """A `WindowEncoder` on ONNX Runtime, in float32 on the CPU, with as many threads as PyTorch has.

    Args:
        model: Whose weights are read; in evaluation mode.
        precision: `"float32"`, or `"auto"` for the same.
        folder, exports: See `encoders.backends.make_encoder`.

    Raises:
        ReetError: If the library is missing, or the export is not of this model.
    """

    def __init__(
        self,
        model: ReetModel,
        precision: str = "auto",
        folder: str | Path | None = None,
        exports: str | Path | None = None,
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise missing(error, "onnx") from error
        super().__init__(model)
        weights = fingerprint(model)
        path = find(FORMAT, model, weights, folder, exports)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        # threads that wait by computing take the cores from PyTorch's, which compute in between
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        told = self._session.get_modelmeta().custom_metadata_map.get(WEIGHTS, "")
        check_export(FORMAT, model, "float32", path, (weights, told), self.read)

    @property
    def identity(self) -> str:
        """What tells apart encoders whose states differ."""
        return "onnx float32"

    def _run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return self._session.run([OUTPUT], dict(zip(INPUTS, (ids, mask), strict=True)))[0]
