"""Windows read by OpenVINO, the fastest of the runtimes on CPUs that multiply bfloat16 natively."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

from ..errors import ReetError
from ..modeling.modeling_reet import ReetModel
from ..modeling.processor import multiplies_tiles
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
    home,
    missing,
    probe,
    quiet,
)
from .grouping import GroupedEncoder

HINTS = {"float32": "f32", "bfloat16": "bf16"}


def make(model: ReetModel, folder: Path) -> None:
    """An encoder as OpenVINO's two files, for any number of windows of any length, see `exports.Format`.

    Raises:
        ReetError: If OpenVINO is missing.
    """
    openvino = _library()
    with quiet():
        found = openvino.convert_model(TokenStates(copied(model)).eval(), example_input=probe(model))
    for port, name in zip(found.inputs, INPUTS, strict=True):
        port.set_names({name})
    found.outputs[0].set_names({OUTPUT})
    found.set_rt_info(fingerprint(model), [WEIGHTS])
    openvino.save_model(found, folder / FORMAT.files[0], compress_to_fp16=False)


FORMAT = Format("openvino", ("openvino_model.xml", "openvino_model.bin"), make)
FORMATS = {"float32": FORMAT}


class OpenVinoEncoder(GroupedEncoder):
    """A `WindowEncoder` on OpenVINO, on the CPU, with as many threads as PyTorch has.

    Args:
        model: Whose weights are read; in evaluation mode.
        precision: `"float32"`, `"bfloat16"`, or `"auto"`: bfloat16 where the processor multiplies it natively, but not
            on one thread of a processor with AMX.
        folder, exports: See `encoders.backends.make_encoder`.

    Raises:
        ReetError: If the library is missing, the processor does not have the precision, or the export is not of this
            model.
    """

    def __init__(
        self,
        model: ReetModel,
        precision: str = "auto",
        folder: str | Path | None = None,
        exports: str | Path | None = None,
    ) -> None:
        openvino = _library()
        core = openvino.Core()
        native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bfloat16" and not native:
            raise ReetError(
                "`precision` 'bfloat16' needs a processor that multiplies it natively, which this one does not; use "
                "precision='auto' or 'float32'."
            )
        # OpenVINO 2026.4 was seen to compute NaN and to crash in bfloat16 on one thread of a processor with AMX
        steady = native and not (multiplies_tiles() and torch.get_num_threads() == 1)
        self.precision = precision if precision != "auto" else "bfloat16" if steady else "float32"
        super().__init__(model)
        weights = fingerprint(model)
        path = find(FORMAT, model, weights, folder, exports)
        found = core.read_model(path)
        told = found.get_rt_info([WEIGHTS]).astype(str) if found.has_rt_info([WEIGHTS]) else ""
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "CACHE_DIR": str(home("openvino", exports) / "compiled"),
        }
        self._request = core.compile_model(found, "CPU", settings).create_infer_request()
        self._lock = Lock()  # a request computes one thing at a time
        check_export(FORMAT, model, self.precision, path, (weights, told), self.read)

    @property
    def identity(self) -> str:
        """What tells apart encoders whose states differ."""
        return f"openvino {self.precision}"

    def _run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with self._lock:
            return self._request.infer(dict(zip(INPUTS, (ids, mask), strict=True)))[OUTPUT]


def _library() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise missing(error, "openvino") from error
    return openvino
