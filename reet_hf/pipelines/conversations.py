"""What the pipelines of this package share: options by name, any form of input, one encoder pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from transformers import Pipeline

from ..compressor import Compressor
from ..conversation import Request, is_batch, parse_request
from ..encoders.backends import make_encoder
from ..encoders.choices import check_choice
from ..extraction.extractor import ReetExtractor
from ..modeling.modeling_reet import ReetModel
from ..scoring.scorer import ReetScorer


class ConversationPipeline(Pipeline):
    """A pipeline over texts and conversations.

    Args:
        *args, **kwargs: Those of `transformers.Pipeline`.
        progress: Whether to show a progress bar while more than a few windows are encoded.
        backend: What computes the encoder: `"torch"`, `"onnx"` or `"openvino"`, see `encoders.backends.make_encoder`.
        precision: What it is computed in, one of the backend's or `"auto"`.
        exports: Folder in which exports of the encoder for other runtimes are kept; default: the assets cache of
            `huggingface_hub`.
        state_tokens: Tokens of a conversation whose states are kept at the most, see `ReetScorer`.

    Attributes:
        task_name: What errors call it.
        options: Names of the options of a call.
        compressor: Scorer and, where the checkpoint has one, extractor on one encoder pass.
    """

    task_name: str
    options: tuple[str, ...]

    def __init__(
        self,
        *args: Any,
        progress: bool = False,
        backend: str = "torch",
        precision: str = "auto",
        exports: str | Path | None = None,
        state_tokens: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice(backend, precision)
        super().__init__(*args, **kwargs)
        if self.model.dtype in (torch.float16, torch.bfloat16) and self.model.device.type == "cpu":
            self.model.float()  # weights travel in half precision, which CPUs compute slowly
        self.model.eval()
        extractor = ReetExtractor(self.model, self.tokenizer) if self.model.config.extraction else None
        encoder = make_encoder(backend, cast(ReetModel, self.model.reet), precision, self.model.name_or_path, exports)
        scorer = ReetScorer(self.model, self.tokenizer, progress, encoder, state_tokens)
        self.compressor = Compressor(scorer, self.tokenizer, extractor)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict, dict, dict]:
        if unknown := sorted(set(options) - set(self.options)):
            raise TypeError(
                f"The {self.task_name} pipeline has no option {', '.join(map(repr, unknown))}; "
                f"its options are {', '.join(self.options)}."
            )
        return {}, {}, options

    def _checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options of a call, refused before anything is computed if they cannot be honoured."""
        raise NotImplementedError

    def __call__(self, inputs: Any, *args: Any, **options: Any) -> Any:
        """One result for one input, a list of them for a list of inputs.

        Args:
            inputs: A string; `{"context", "query", "history"}`; `{"messages", "query", "history"}`; a list of
                messages; or a list of any of these.
            **options: Those of the class.

        Raises:
            ReetError: If an input or option cannot be honoured.
            TypeError: For an unknown option.
        """
        if args:
            raise TypeError(f"The {self.task_name} pipeline takes one positional argument; name the options.")
        chosen = self._checked({**self._postprocess_params, **self._sanitize_parameters(**options)[2]})
        if is_batch(inputs):
            requests = [parse_request(item) for item in inputs]
            return [self.run_single(request, {}, {}, chosen) for request in requests]
        return self.run_single(parse_request(inputs), {}, {}, chosen)

    def preprocess(self, input_: Any, **options: Any) -> dict[str, Any]:
        """The request."""
        return {"request": input_ if isinstance(input_, Request) else parse_request(input_)}

    def _forward(self, input_tensors: dict[str, Any], **options: Any) -> Any:
        """The request and its encoded conversation."""
        request: Request = input_tensors["request"]
        return {"request": request, "state": self.compressor.encode(request.conversation)}
