"""The `reet-compression` pipeline."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..conversation import Request
from ..options import Options
from ..state import State
from .conversations import ConversationPipeline

OPTIONS = tuple(option.name for option in fields(Options))


class ReetCompressionPipeline(ConversationPipeline):
    """Compresses text or a conversation to a token budget and says where every kept word came from.

    It takes a text, chat messages, `{"messages", "query"}`, `{"context", "query", "history"}`, or a list of any of
    these, and the fields of `Options` by name; what comes back for each is the `to_dict` of a `Compressed`.
    `compressor` is what a `Session` takes.
    """

    task_name = "reet-compression"
    options = OPTIONS

    def _checked(self, options: dict[str, Any]) -> dict[str, Any]:
        # the tokenizer is loaded once for a batch
        return {**options, "tokenizer": self.compressor.options(**options).tokenizer}

    def postprocess(self, model_outputs: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Selection and rendering."""
        request: Request = model_outputs["request"]
        state: State = model_outputs["state"]
        return self.compressor.compress_turn(state, request.query, request.history, **options).to_dict()
