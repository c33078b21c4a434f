"""The `reet-extraction` pipeline."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Pipeline

from ..compressor import Compressor
from ..conversation import Request, is_batch, parse_query, parse_request
from ..errors import ReetError
from ..extraction.extractor import ReetExtractor
from ..formats import FORMATS
from ..scoring.scorer import ReetScorer

OPTIONS = ("query", "output_format")


class ReetExtractionPipeline(Pipeline):
    """Finds entities and what is said of them in text or a conversation, with the places of both."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.model.config.extraction:
            raise ReetError(
                f"`model` must have an extraction head, which {self.model.name_or_path!r} has not; "
                "its configuration says `extraction: false`."
            )
        if self.model.dtype in (torch.float16, torch.bfloat16) and self.model.device.type == "cpu":
            self.model.float()  # weights travel in half precision, which CPUs compute slowly
        self.model.eval()
        extractor = ReetExtractor(self.model, self.tokenizer)
        self.compressor = Compressor(ReetScorer(self.model, self.tokenizer), self.tokenizer, extractor)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict, dict, dict]:
        if unknown := sorted(set(options) - set(OPTIONS)):
            raise TypeError(
                f"The reet-extraction pipeline has no option {', '.join(map(repr, unknown))}; "
                f"its options are {', '.join(OPTIONS)}."
            )
        return {}, {}, options

    def __call__(self, inputs: Any, *args: Any, **options: Any) -> Any:
        """One result for one input, a list of them for a list of inputs.

        Args:
            inputs: As for the `reet-compression` pipeline.
            **options: `query`, for which facts are chosen and ordered, instead of the input's own; `output_format`:
                `json` (a dictionary from entity to facts), `linear` or `markdown` (text), or `records` (with offsets).

        Raises:
            ReetError: If an input or option cannot be honoured.
            TypeError: For an unknown option.
        """
        if args:
            raise TypeError("The reet-extraction pipeline takes one positional argument; name the options.")
        chosen = {**self._postprocess_params, **self._sanitize_parameters(**options)[2]}
        chosen["query"] = parse_query(chosen.get("query"))
        if chosen.setdefault("output_format", "json") not in FORMATS:
            raise ReetError(f"`output_format` must be one of {', '.join(FORMATS)}, got {chosen['output_format']!r}.")
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

    def postprocess(self, model_outputs: dict[str, Any], **options: Any) -> Any:
        """What was found, in the format that was asked for."""
        request: Request = model_outputs["request"]
        query = options["query"] or request.query
        return self.compressor.extract(model_outputs["state"], query, request.history, options["output_format"])
