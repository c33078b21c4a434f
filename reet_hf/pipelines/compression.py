"""The `reet-compression` pipeline."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from transformers import Pipeline

from ..compressor import Compressor, Options
from ..conversation import Request, is_batch, parse_request
from ..extraction.extractor import ReetExtractor
from ..scoring.scorer import ReetScorer
from ..state import State

OPTIONS = tuple(option.name for option in fields(Options))


class ReetCompressionPipeline(Pipeline):
    """Compresses text or a conversation to a token budget and says where every kept word came from.

    See the README for the inputs, the options and the result. `compressor` is what a `Session` takes.
    """

    def __init__(self, *args: Any, progress: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.model.dtype in (torch.float16, torch.bfloat16) and self.model.device.type == "cpu":
            self.model.float()  # weights travel in half precision, which CPUs compute slowly
        self.model.eval()
        extractor = ReetExtractor(self.model, self.tokenizer) if self.model.config.extraction else None
        self.compressor = Compressor(ReetScorer(self.model, self.tokenizer, progress), self.tokenizer, extractor)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict, dict, dict]:
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            raise TypeError(
                f"The reet-compression pipeline has no option {', '.join(map(repr, unknown))}; "
                f"its options are {', '.join(OPTIONS)}."
            )
        return {}, {}, options

    def __call__(self, inputs: Any, *args: Any, **options: Any) -> Any:
        """One result dictionary for one input, a list of them for a list of inputs.

        Args:
            inputs: A string; `{"context", "query", "history"}`; `{"messages", "query", "history"}`; a list of
                messages; or a list of any of these.
            **options: `budget`, `tokenizer`, `unit`, `strategy`, `protect`, `threshold`.

        Raises:
            ReetError: If an input or option cannot be honoured.
            TypeError: For an unknown option.
        """
        if args:
            raise TypeError("The reet-compression pipeline takes one positional argument; name the options.")
        chosen = {**self._postprocess_params, **self._sanitize_parameters(**options)[2]}
        # everything is checked before anything is computed, and the tokenizer is loaded once for a batch
        chosen["tokenizer"] = Options(**chosen).tokenizer
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

    def postprocess(self, model_outputs: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Selection and rendering."""
        request: Request = model_outputs["request"]
        state: State = model_outputs["state"]
        return self.compressor.compress_turn(state, request.query, request.history, **options).to_dict()
