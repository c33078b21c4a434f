"""Sessions of LangChain agents, and the tool by which their models read what was left out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .conversations import KnownConversations, digests
from .langchain_messages import written
from .loading import missing

try:
    from langchain.tools import ToolRuntime
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.tools import BaseTool, StructuredTool
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from langgraph.config import get_config
except ImportError as error:
    raise missing("langchain", error) from error

from ..recall import OPTIONS, TOOL, RecallLimits, recall_tool

MOST = 64  # sessions, and calls of the tool whose conversation is remembered
Told = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Sent:
    """What a model was to answer: messages in OpenAI's format, tool definitions beside them, and the agent's thread."""

    messages: Told
    tools: Told = ()
    thread: str | None = None


class AgentConversations:
    """A session for each conversation of an agent.

    Args:
        compressor: A `Compressor`.
        options: Of each compression, the budget too.
        stable: Those of a session that keeps what was sent: `stable_prefix` and `rebase_to`.
        limits: How much a model may recall.
    """

    def __init__(
        self, compressor: Any, options: Mapping[str, Any], stable: Mapping[str, Any], limits: RecallLimits
    ) -> None:
        self.options, self.stable = options, stable
        self.known = KnownConversations(compressor, MOST, limits=limits)
        self._asked: OrderedDict[tuple[Any, str], Sent] = OrderedDict()  # by call, and the agent's state before it
        self._lock = threading.Lock()

    def tool(self) -> BaseTool:
        """The tool `recall_context`, as its definition describes it."""
        told = recall_tool()["function"]
        return StructuredTool.from_function(
            self._recall, name=told["name"], description=told["description"], args_schema=told["parameters"]
        )

    def compressed(self, sent: Sent) -> Told:
        """What the model is sent."""
        with self.known.session(sent.thread, sent.messages) as session:
            return self._shown(session, sent.tools)["messages"]

    def answered(self, sent: Sent, state: Sequence[BaseMessage], answers: Iterable[Any]) -> None:
        """Take note of what the calls of the tool in a model's answers are about.

        Args:
            sent: What the model has answered.
            state: The agent's own messages, which others may have changed before they were sent.
            answers: Messages of the model.
        """
        calls = [call for answer in answers if isinstance(answer, AIMessage) for call in answer.tool_calls]
        for call in calls:
            if call["name"] == TOOL:
                with self._lock:
                    self._asked[call["id"], _digest(sent.thread, state)] = sent
                    while len(self._asked) > MOST:
                        self._asked.popitem(last=False)

    def _recall(self, runtime: ToolRuntime, **arguments: Any) -> str:
        state = runtime.state["messages"]
        asking = (n for n in range(len(state) - 1, -1, -1) if runtime.tool_call_id in _call_ids(state[n]))
        before, thread = state[: next(asking, len(state))], thread_id()
        with self._lock:
            sent = self._asked.get((runtime.tool_call_id, _digest(thread, before)))
        if sent is None:  # another process sent it; ids of markers then lead nowhere, and the model is told to ask
            tools = [convert_to_openai_tool(each) for each in getattr(runtime, "tools", ())]
            sent = Sent(written(before), tools, thread)
        with self.known.session(sent.thread, sent.messages) as session:
            self._shown(session, sent.tools)  # changes nothing, unless the session was made anew
            said = {name: value for name, value in self.options.items() if name in OPTIONS}
            return session.answer_recall(arguments, **said)

    def _shown(self, session: Any, tools: Told) -> dict[str, Any]:
        return session.compress(**self.options, **self.stable, **({"tools": tools} if tools else {}))


def thread_id() -> str | None:
    """Id of the thread that an agent runs in, where it has one."""
    try:
        found = get_config().get("configurable", {}).get("thread_id")
    except RuntimeError:  # not in a graph, or in a task of Python 3.10
        return None
    return None if found is None else str(found)


def _digest(thread: str | None, state: Sequence[BaseMessage]) -> str:
    return digests(thread, written(state))[-1]


def _call_ids(message: BaseMessage) -> list[str | None]:
    return [call["id"] for call in message.tool_calls] if isinstance(message, AIMessage) else []
