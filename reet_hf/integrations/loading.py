"""What every integration needs: a compressor, the bundled one unless another is given, and a counter by model name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import transformers

from ..budget import TokenCounter, checked_tools, resolve_counter, tool_tokens
from ..compressor import Compressor
from ..conversation import Conversation
from ..errors import ReetError
from ..registration import bundled_model
from ..rendering import render_messages, rendered_tokens, whole


@lru_cache(maxsize=1)
def _bundled() -> Compressor:
    load: Any = transformers.pipeline  # its overloads know the library's own tasks only
    return load("reet-compression", model=bundled_model()).compressor


def compressor_of(compress: Any = None) -> Compressor:
    """The compressor of a `reet-compression` pipeline, a `Compressor` itself, or that of the bundled weights, once.

    Raises:
        ReetError: If `compress` is neither.
    """
    if compress is None:
        return _bundled()
    found = getattr(compress, "compressor", compress)
    if not isinstance(found, Compressor):
        raise ReetError(
            f"`compress` must be a reet-compression pipeline or a Compressor, got {type(compress).__name__}; leave it "
            "out to use the bundled weights."
        )
    return found


def counter_of(model: Any) -> TokenCounter:
    """What counts tokens as a model does.

    Args:
        model: The name of an OpenAI model, with or without a provider before it ("gpt-4o-mini", "openai/gpt-4o"); else
            whatever `budget.resolve_counter` takes: a Hub id or folder, a tokenizer, an encoding, a callable.

    Raises:
        ReetError: If it is none of these or cannot be loaded.
    """
    encoding = encoding_of(model) if isinstance(model, str) else None
    return resolve_counter(model if encoding is None else encoding)


def encoding_of(model: str) -> str | None:
    """The tiktoken encoding of an OpenAI model, or of that name; `None` for other names, and without tiktoken."""
    try:
        import tiktoken
    except ImportError:
        return None
    name = model.removeprefix("openai/").removeprefix("azure/")
    try:
        return name if name in tiktoken.list_encoding_names() else tiktoken.encoding_name_for_model(name)
    except KeyError:
        return None


def fits(compressor: Compressor, conversation: Conversation, budget: float | int, options: Mapping[str, Any]) -> bool:
    """Whether a budget in tokens has room for all messages and the `tools` of the options; a keep rate never has."""
    return not isinstance(budget, (bool, float)) and tokens_of(compressor, conversation, options) <= budget


def tokens_of(compressor: Compressor, conversation: Conversation, options: Mapping[str, Any]) -> int:
    """Tokens of all messages and the `tools` of the options, counted by their `tokenizer`."""
    counter, tools = resolve_counter(options.get("tokenizer"), compressor.counter), options.get("tools")
    if counter.chat is not None:
        return counter.chat(render_messages(conversation, whole(conversation)), tools)
    return rendered_tokens(conversation, whole(conversation), counter) + tool_tokens(counter, checked_tools(tools))


def missing(extra: str, error: ImportError) -> ImportError:
    """The error that says what to install for an integration; one that says so already stays as it is."""
    return (
        error
        if "pip install" in str(error)
        else ImportError(f'{error}. This needs another library: pip install "reet-hf[{extra}]"')
    )
