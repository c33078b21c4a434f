"""The `reet-extraction` pipeline."""

from __future__ import annotations

from typing import Any

from ..conversation import Request, parse_query
from ..errors import ReetError
from ..formats import checked_format
from .conversations import ConversationPipeline


class ReetExtractionPipeline(ConversationPipeline):
    """Finds entities and what is said of them in text or a conversation, with the places of both.

    Its options are `query`, for which facts are chosen and ordered, instead of the input's own; and `output_format`:
    `json` (a dictionary from entity to facts), `linear` or `markdown` (text), or `records` (with offsets).
    """

    task_name = "reet-extraction"
    options = ("query", "output_format")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.compressor.extractor is None:
            raise ReetError(
                f"`model` must have an extraction head, which {self.model.name_or_path!r} has not; "
                "its configuration says `extraction: false`."
            )

    def _checked(self, options: dict[str, Any]) -> dict[str, Any]:
        query, output_format = parse_query(options.get("query")), options.get("output_format", "json")
        return {"query": query, "output_format": checked_format(output_format)}

    def postprocess(self, model_outputs: dict[str, Any], **options: Any) -> Any:
        """What was found, in the format that was asked for."""
        request: Request = model_outputs["request"]
        query = options["query"] or request.query
        return self.compressor.extract(model_outputs["state"], query, request.history, options["output_format"])
