"""LangChain: retrieved documents, and the messages of an agent before each call of its model."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .documents import compress_texts
from .loading import compressor_of, counter_of, fits, missing

try:
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.messages import AnyMessage, BaseMessage, SystemMessage, convert_to_openai_messages
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from pydantic import ConfigDict, Field
except ImportError as error:
    raise missing("langchain", error) from error
try:
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
except ImportError as error:
    raise missing("langchain", error) from error

from ..conversation import Conversation, parse_messages

PLACE = "reet_place"  # of a message among those given, carried through


class ReetDocumentCompressor(BaseDocumentCompressor):
    """Keeps of retrieved documents what the query needs, under one budget for all of them.

    Each document keeps its own metadata and gets `reet_spans`, the half-open characters that were kept, and
    `reet_importance`; a document of which nothing is kept is left out.

    Attributes:
        budget: Tokens, or a keep rate, of all documents together.
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if left out.
        options: Any other option of a compression, such as `tokenizer` or `unit`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)
    budget: float | int = 0.3
    compress: Any = None
    options: dict[str, Any] = Field(default_factory=dict)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The documents with what is kept of each, in their order."""
        texts = [document.page_content for document in documents]
        return [
            documents[kept.place].model_copy(
                update={
                    "page_content": kept.text,
                    "metadata": {
                        **documents[kept.place].metadata,
                        "reet_spans": [list(span) for span in kept.spans],
                        "reet_importance": kept.importance,
                    },
                }
            )
            for kept in compress_texts(texts, query, self.budget, self.compress, **self.options)
        ]


class ReetMiddleware(AgentMiddleware):
    """Shortens the messages of an agent before each call of its model, once they exceed a budget.

    The agent's state keeps every message; only what the model sees is shortened. A tool call stays with all of its
    results, and the order of roles is one that providers accept.

    Args:
        budget: Tokens of the messages, system message and tool definitions included.
        model: What counts them, see `loading.counter_of`; by default REET's own tokenizer.
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if left out.
        **options: Any other option of a compression, such as `protect` or `markers`.
    """

    def __init__(self, budget: int, model: Any = None, compress: Any = None, **options: Any) -> None:
        super().__init__()
        self.budget = budget
        self.compressor = compressor_of(compress)
        self.tools = []
        self.options = {**options, **({"tokenizer": counter_of(model)} if model is not None else {})}
        self.compressor.options(budget=budget, **self.options)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """The model's answer to the shortened messages."""
        return handler(self.shortened(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """The same for an agent that runs asynchronously."""
        return await handler(self.shortened(request))

    def shortened(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """The request with messages that fit the budget; itself if they do already."""
        system = [request.system_message] if request.system_message is not None else []
        tools = [tool if isinstance(tool, dict) else convert_to_openai_tool(tool) for tool in request.tools]
        kept = self.shorten([*system, *request.messages], tools)
        if kept is None:
            return request
        head = kept[0] if system and isinstance(kept[0], SystemMessage) else None
        return request.override(system_message=head, messages=kept[1:] if head is not None else kept)

    def shorten(self, messages: Sequence[BaseMessage], tools: Sequence[dict[str, Any]] = ()) -> list[AnyMessage] | None:
        """Messages that fit the budget, those that are left as they were but for their content; `None` if all do."""
        told = [{**_written(message), PLACE: place} for place, message in enumerate(messages)]
        conversation = Conversation(parse_messages(told))
        options = {**self.options, **({"tools": list(tools)} if tools else {})}
        if fits(self.compressor, conversation, self.budget, options):
            return None
        state = self.compressor.encode(conversation)
        out = self.compressor.compress_turn(state, None, budget=self.budget, **options)
        kept: list[Any] = []
        for each in out.messages:
            original = messages[each[PLACE]]
            kept.append(original.model_copy(update={"content": _content(original, each.get("content"))}))
        return kept


def _written(message: BaseMessage) -> dict[str, Any]:
    """A message in OpenAI's format, the arguments of its calls as text."""
    (told,) = convert_to_openai_messages([message])
    for call in told.get("tool_calls") or ():
        if not isinstance(call["function"]["arguments"], str):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return told


def _content(message: BaseMessage, content: Any) -> Any:
    """Content in the form that the message had: a text stays a text."""
    if content is None:
        return "" if isinstance(message.content, str) else []
    return content
