"""Windows read by ONNX Runtime: an encoder without PyTorch's kernels, wherever that runtime runs.

In `int8` the weights of products are whole numbers of eight bits, in blocks of 16 with a scale and a zero each, and are
multiplied as real numbers: a file a third smaller, and no faster. Activations in eight bits would be faster and
change too much of what is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
BLOCK = 16  # weights with one scale
IN_FLOAT32 = 1  # what ONNX Runtime calls products of these weights with activations as they are


def exported(model: ReetModel) -> Any:
    """An encoder as an `onnx.ModelProto` for any number of windows of any length.

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
    return proto


def make(model: ReetModel, folder: Path) -> None:
    """An encoder as one file, see `exports.Format`.

    Raises:
        ReetError: If the libraries that export are missing.
    """
    (folder / FORMAT.files[0]).write_bytes(exported(model).SerializeToString())


def make_int8(model: ReetModel, folder: Path) -> None:
    """The same with weights in eight bits.

    Raises:
        ReetError: If the libraries that export are missing.
    """
    proto = exported(model)
    with quiet():
        try:
            from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
        except ImportError as error:
            raise missing(error, "onnx") from error
        quantizer = MatMulNBitsQuantizer(proto, block_size=BLOCK, is_symmetric=False, accuracy_level=IN_FLOAT32, bits=8)
        quantizer.process()
    (folder / INT8.files[0]).write_bytes(quantizer.model.model.SerializeToString())


FORMAT = Format("onnx", ("model.onnx",), make)
INT8 = Format("onnx", ("model_int8.onnx",), make_int8)
FORMATS = {"float32": FORMAT, "int8": INT8}


class OnnxEncoder(GroupedEncoder):
    """A `WindowEncoder` on ONNX Runtime, on the CPU, with as many threads as PyTorch has.

    Args:
        model: Whose weights are read; in evaluation mode.
        precision: `"float32"`, `"int8"` for weights in eight bits, or `"auto"` for float32.
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
        self.precision = "float32" if precision == "auto" else precision
        form, weights = FORMATS[self.precision], fingerprint(model)
        path = find(form, model, weights, folder, exports)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        # threads that wait by computing take the cores from PyTorch's, which compute in between
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        told = self._session.get_modelmeta().custom_metadata_map.get(WEIGHTS, "")
        check_export(form, model, self.precision, path, (weights, told), self.read)

    @property
    def identity(self) -> str:
        """What tells apart encoders whose states differ."""
        return f"onnx {self.precision}"

    def _run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return self._session.run([OUTPUT], dict(zip(INPUTS, (ids, mask), strict=True)))[0]
