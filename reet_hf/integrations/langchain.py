"""LangChain: retrieved documents, and the messages of an agent before each call of its model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .documents import compress_texts
from .loading import compressor_of, counter_of, fits, missing

try:
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.messages import AnyMessage, BaseMessage, SystemMessage
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from pydantic import ConfigDict, Field
except ImportError as error:
    raise missing("langchain", error) from error
try:
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
except ImportError as error:
    raise missing("langchain", error) from error

from ..conversation import Conversation, parse_messages
from ..prefix import REBASE_TO, checked_rebase_to
from ..recall import RecallLimits
from .langchain_messages import read, written
from .langchain_sessions import AgentConversations, Sent, thread_id

REBASE_TO_WITH_RECALL = 0.2  # as measured, see eval/results/LOG.md: what is missed can come back


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
        stable_prefix: Whether what the model was sent stays, byte for byte, until the budget is reached, so that the
            provider's prompt cache holds. An agent's thread, or a conversation that begins with all of an earlier one,
            goes on from there; one whose history was edited begins anew.
        recall: Whether the agent gets the tool `recall_context`, by which its model reads what was left out; markers
            then show where that was.
        **options: Any other option of a compression, such as `protect` or `markers`.

    Raises:
        ReetError: If an option cannot be honoured.
        TypeError: For an unknown option.
    """

    def __init__(
        self,
        budget: int,
        model: Any = None,
        compress: Any = None,
        *,
        stable_prefix: bool = False,
        recall: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.budget = budget
        self.compressor = compressor_of(compress)
        self.options = {**options, **({"tokenizer": counter_of(model)} if model is not None else {})}
        if recall:
            self.options["markers"] = True
        chosen = self.compressor.options(budget=budget, **self.options)
        self.tools = []
        self.conversations: AgentConversations | None = None
        if stable_prefix or recall:
            rebase_to = checked_rebase_to(REBASE_TO_WITH_RECALL if recall else REBASE_TO, chosen.strategy)
            stable = {"stable_prefix": True, "rebase_to": rebase_to} if stable_prefix else {}
            told = {"budget": budget, **self.options}
            self.conversations = AgentConversations(self.compressor, told, stable, _limits(budget))
            self.tools = [self.conversations.tool()] if recall else []

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """The model's answer to the shortened messages."""
        return self._noted(request, handler(self.shortened(request)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """The same for an agent that runs asynchronously; the event loop goes on meanwhile."""
        return self._noted(request, await handler(await asyncio.to_thread(self.shortened, request)))

    def shortened(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """The request with messages that fit the budget; itself if they do already."""
        messages, tools = _whole(request)
        kept = self.shorten(messages, tools, thread_id())
        if kept is None:
            return request
        head = kept[0] if request.system_message is not None and isinstance(kept[0], SystemMessage) else None
        return request.override(system_message=head, messages=kept[1:] if head is not None else kept)

    def shorten(
        self, messages: Sequence[BaseMessage], tools: Sequence[dict[str, Any]] = (), thread: str | None = None
    ) -> list[AnyMessage] | None:
        """Messages that fit the budget, those that are left as they were but for their content; `None` if all do.

        Args:
            messages: All messages of a conversation.
            tools: Definitions that are sent along.
            thread: Keeps apart what must not share a session.
        """
        sent = Sent(written(messages), tools, thread)
        conversation = Conversation(parse_messages(sent.messages))
        options = {**self.options, **({"tools": list(tools)} if tools else {})}
        if fits(self.compressor, conversation, self.budget, options):
            return None
        if self.conversations is not None:
            return read(self.conversations.compressed(sent), messages)
        state = self.compressor.encode(conversation)
        return read(self.compressor.compress_turn(state, None, budget=self.budget, **options).messages, messages)

    def _noted(self, request: ModelRequest[Any], response: ModelResponse[Any]) -> ModelResponse[Any]:
        """The response, after what its calls of the tool ask for was noted."""
        if self.conversations is not None and self.tools:
            messages, tools = _whole(request)
            sent = Sent(written(messages), tools, thread_id())
            self.conversations.answered(sent, request.state["messages"], response.result)
        return response


def _whole(request: ModelRequest[Any]) -> tuple[list[BaseMessage], list[dict[str, Any]]]:
    """All messages of a request, the system message first, and its tool definitions."""
    system = [request.system_message] if request.system_message is not None else []
    tools = [tool if isinstance(tool, dict) else convert_to_openai_tool(tool) for tool in request.tools]
    return [*system, *request.messages], tools


def _limits(budget: float | int) -> RecallLimits:
    """How much may be recalled in a turn: the usual amount, but at most half of the budget."""
    usual = RecallLimits()
    if isinstance(budget, float):
        return usual
    return RecallLimits(usual.recalls, min(usual.tokens, max(1, budget // 2)), min(usual.budget, max(1, budget // 8)))
