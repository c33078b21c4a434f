"""Messages of any client that speaks OpenAI's chat format, shortened before they are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..conversation import Conversation, parse_messages
from .loading import compressor_of, counter_of, fits


def compress_messages(
    messages: Sequence[Any],
    budget: float | int,
    model: Any = None,
    *,
    query: str | None = None,
    compress: Any = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Messages that cost at most `budget` tokens of `model`, valid where the given ones were.

    Messages that fit already come back unchanged.

    Args:
        messages: In OpenAI's chat format, tool calls and content parts included; an answer of a client may stand among
            them as the object that it is.
        budget: Tokens, or a keep rate.
        model: The model that they are for, see `loading.counter_of`; by default REET's own tokenizer counts.
        query: What they are wanted for; where tools are used, the last message of the user if left out.
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if left out.
        **options: Any other option of a compression, such as `tools`, `protect` or `markers`.

    Raises:
        ReetError: If the input, the budget or an option cannot be honoured.
        TypeError: For an unknown option.
    """
    compressor = compressor_of(compress)
    if model is not None:
        options = {"tokenizer": counter_of(model), **options}
    told = _plain(messages)
    conversation = Conversation(parse_messages(told))
    if fits(compressor, conversation, budget, options):
        return [dict(message) for message in told]
    out = compressor.compress_turn(compressor.encode(conversation), query, budget=budget, **options)
    return [dict(message) for message in out.messages]


def _plain(messages: Any) -> Any:
    """Messages as dictionaries, those too that are objects of a client."""
    if isinstance(messages, (str, Mapping)) or not isinstance(messages, Sequence):
        return messages
    return [m.model_dump(exclude_none=True) if hasattr(m, "model_dump") else m for m in messages]
