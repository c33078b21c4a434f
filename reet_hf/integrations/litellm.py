"""LiteLLM: a callback of its proxy that shortens chat messages before they are sent on."""

from __future__ import annotations

import asyncio
from typing import Any

from ..errors import ReetError
from .loading import compressor_of, missing
from .openai_format import compress_messages

try:
    from litellm.exceptions import BadRequestError
    from litellm.integrations.custom_logger import CustomLogger
except ImportError as error:
    raise missing("litellm", error) from error

CHAT = ("completion", "acompletion")


class ReetCallback(CustomLogger):
    """Shortens the messages of every chat request that exceeds a budget.

    In the proxy's configuration: `litellm_settings: {callbacks: my_module.shorten}` with
    `shorten = ReetCallback(budget=8000)` in `my_module.py` beside it. What comes to `/v1/chat/completions` is
    shortened; other routes are left alone.

    Args:
        budget: Tokens of the messages, tool definitions included.
        model: What counts them, see `loading.counter_of`; REET's own tokenizer if left out.
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if left out.
        **options: Any other option of a compression, such as `protect` or `markers`.
    """

    def __init__(self, budget: int, model: Any = None, compress: Any = None, **options: Any) -> None:
        super().__init__()
        self.budget, self.model, self.options = budget, model, options
        self.compressor = compressor_of(compress)
        self.compressor.options(budget=budget, **options)

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict, call_type: str) -> dict:
        """The request with messages that fit; the event loop goes on meanwhile.

        Raises:
            BadRequestError: If the messages cannot be read, or what must survive does not fit; status 400 for clients.
        """
        if call_type not in CHAT or not data.get("messages"):
            return data
        try:
            return {**data, "messages": await asyncio.to_thread(self.shortened, data)}
        except ReetError as error:
            raise BadRequestError(str(error), model=str(data.get("model")), llm_provider="reet") from error

    def shortened(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages of a request, shortened."""
        options = {**self.options, **({"tools": data["tools"]} if data.get("tools") else {})}
        return compress_messages(data["messages"], self.budget, self.model, compress=self.compressor, **options)
