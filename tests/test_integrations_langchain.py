"""LangChain agents whose prompts stay, and whose models ask for what was left out; messages of every kind."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

os.environ.setdefault("LANGSMITH_TRACING", "false")
pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver

from eval.agents.checks import problems
from reet_hf import ReetError, recall_tool
from reet_hf.integrations.langchain import ReetMiddleware
from reet_hf.integrations.langchain_messages import PLACE, read, written

TOOL = "recall_context"
BUDGET = 400  # words
MARKER = re.compile(r"tokens, id ([0-9a-f]{6,})")


def words(text: str) -> int:
    """What counts here: the tokenizer of the tiny model knows letters only."""
    return len(text.split())


Answer = Callable[[list[BaseMessage]], AIMessage]


class Scripted(BaseChatModel):
    """A model that answers by a function and keeps what it was sent."""

    answer: Any
    seen: list[Any] = []

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        self.seen.append(("tools", [convert_to_openai_tool(each) for each in tools]))
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> ChatResult:
        self.seen.append(("messages", list(messages)))
        return ChatResult(generations=[ChatGeneration(message=self.answer(list(messages)))])

    @property
    def sent(self) -> list[list[BaseMessage]]:
        """Messages of every call."""
        return [each for kind, each in self.seen if kind == "messages"]


@tool
def look_up(about: str) -> str:
    """Look up what is known."""
    lines = [f"The {about} {n} is on shelf {n * 7} of room {about}-{n}, and nobody has asked for it." for n in range(6)]
    return " ".join(lines)


def worker(messages: list[BaseMessage]) -> AIMessage:
    """Looks up what the user names and answers; where the user asks to recall, calls the tool with the first id."""
    last = messages[-1]
    if last.type != "human":
        return AIMessage("It is on a shelf.")
    number = len(str(messages))
    if "recall" not in last.content:
        return AIMessage("", tool_calls=[{"name": "look_up", "args": {"about": last.content}, "id": f"c{number}"}])
    marks = MARKER.findall("\n".join(str(message.content) for message in messages))
    wanted = [{"id": marks[0]} if marks else {"query": "Where is it?"}, {"query": "On which shelf is the lamp 3?"}]
    return AIMessage("", tool_calls=[{"name": TOOL, "args": args, "id": f"r{n}"} for n, args in enumerate(wanted)])


def make(compress: Any, answer: Answer = worker, **options: Any) -> tuple[Any, Scripted, ReetMiddleware]:
    middleware = ReetMiddleware(BUDGET, words, compress, **options)
    model = Scripted(answer=answer, seen=[])
    saver = InMemorySaver()
    agent = create_agent(model, [look_up], system_prompt="Be brief.", middleware=[middleware], checkpointer=saver)
    return agent, model, middleware


def ask(agent: Any, text: str, thread: str = "t") -> list[BaseMessage]:
    return agent.invoke({"messages": [HumanMessage(text)]}, {"configurable": {"thread_id": thread}})["messages"]


def plain(messages: list[BaseMessage]) -> list[dict[str, Any]]:
    """In OpenAI's format, without the names that LangChain adds to tool results."""
    told = [{key: value for key, value in each.items() if key != PLACE} for each in written(messages)]
    return [{key: value for key, value in each.items() if (each["role"], key) != ("tool", "name")} for each in told]


def stays(sent: list[list[BaseMessage]]) -> list[bool]:
    """Whether each request begins with all of the one before it."""
    return [after[: len(before)] == before for before, after in zip(sent, sent[1:], strict=False)]


def recalled(messages: list[BaseMessage]) -> list[str]:
    return [str(message.content) for message in messages if isinstance(message, ToolMessage) and message.name == TOOL]


SUBJECTS = ["lamp", "vase", "chair", "clock", "map", "globe"]


def test_what_was_sent_stays_until_the_budget_is_reached(compress):
    agent, model, middleware = make(compress, stable_prefix=True, keep_recent=1)
    for subject in SUBJECTS:
        state = ask(agent, subject)
    counted = [words("\n".join(str(m.content) for m in each)) for each in model.sent]
    assert max(counted) <= BUDGET and len(middleware.conversations.known) == 1
    stable = stays(model.sent)
    assert False in stable and stable.count(True) > 2 * stable.count(False)
    for each in model.sent:
        assert not problems(plain(each), plain([SystemMessage("Be brief."), *state]))
    assert "shelf" in state[2].content and len(state) == 4 * len(SUBJECTS)
    agent, model, _ = make(compress, keep_recent=1)
    for subject in SUBJECTS:
        ask(agent, subject)
    assert stays(model.sent).count(True) < stable.count(True)  # anew for every call, as without the option


def test_without_the_options_there_is_no_session_and_no_tool(compress):
    middleware = ReetMiddleware(BUDGET, words, compress)
    assert middleware.tools == [] and middleware.conversations is None
    assert ReetMiddleware(BUDGET, words, compress, stable_prefix=True).tools == []
    with pytest.raises(ReetError, match="`stable_prefix` needs strategy='extractive'|`strategy` 'facts'"):
        ReetMiddleware(BUDGET, words, compress, stable_prefix=True, strategy="facts")


def test_the_tool_is_the_one_that_the_package_defines(compress):
    _, _, middleware = make(compress, recall=True)
    assert [convert_to_openai_tool(each) for each in middleware.tools] == [recall_tool()]


@pytest.mark.parametrize("stable_prefix", [True, False])
def test_a_model_reads_what_was_left_out(compress, stable_prefix):
    agent, model, _ = make(compress, stable_prefix=stable_prefix, recall=True)
    for subject in SUBJECTS[:3]:
        ask(agent, subject)
    state = ask(agent, "recall")
    assert recall_tool() in model.seen[0][1]
    by_id, by_question = recalled(state)[-2:]
    whole = "\n".join(str(message.content) for message in state[:-4])
    pieces = [line.partition(": ")[2] for line in by_id.splitlines() if "shelf" in line]
    assert pieces and all(piece.split(" [")[0] in whole for piece in pieces)
    assert "shelf" in by_question and "There is no id" not in by_id
    for each in model.sent:
        assert not problems(plain(each), plain([SystemMessage("Be brief."), *state]))
    assert [message.type for message in model.sent[-1][-3:]] == ["ai", "tool", "tool"]


def test_wrong_arguments_are_told_to_the_model(compress):
    wrong = [{"id": 7}, {"id": "abcdef0123"}, {}, {"query": ["x"]}, {"id": None, "query": None, "budget": -1}]

    def answer(messages: list[BaseMessage]) -> AIMessage:
        if messages[-1].type == "tool":
            return AIMessage("Never mind.")
        return AIMessage("", tool_calls=[{"name": TOOL, "args": a, "id": f"w{n}"} for n, a in enumerate(wrong)])

    agent, _, _ = make(compress, answer, recall=True)
    told = recalled(ask(agent, "Where is the lamp?"))
    assert len(told) == len(wrong) and all("string" in t or "id" in t or "budget" in t for t in told)


def test_agents_without_threads_and_asynchronous_ones_recall_too(compress):
    middleware = ReetMiddleware(BUDGET, words, compress, stable_prefix=True, recall=True)
    model = Scripted(answer=worker, seen=[])
    agent = create_agent(model, [look_up], middleware=[middleware])

    async def talk() -> list[BaseMessage]:
        state: list[BaseMessage] = []
        for text in (*SUBJECTS[:3], "recall"):
            state = (await agent.ainvoke({"messages": [*state, HumanMessage(text)]}))["messages"]
        return state

    state = asyncio.run(talk())
    assert all("shelf" in text for text in recalled(state)) and len(recalled(state)) == 2
    assert len(middleware.conversations.known) == 1
    assert stays(model.sent).count(True) > stays(model.sent).count(False)


def test_threads_at_the_same_time_do_not_see_each_other(compress):
    agent, model, _ = make(compress, stable_prefix=True, recall=True)

    def talk(name: str) -> list[str]:
        state: list[BaseMessage] = []
        for text in (f"{name}-lamp", f"{name}-vase", f"{name}-clock", "recall"):
            state = ask(agent, text, name)
        return [str(message.content) for message in state]

    names = ["ann", "bo", "cy"]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(talk, names))
    for name, texts in zip(names, together, strict=True):
        others = [other for other in names if other != name]
        assert not any(f"{other}-" in text for other in others for text in texts)
        assert any(f"{name}-lamp" in text for text in texts)
    agent, _, _ = make(compress, stable_prefix=True, recall=True)
    assert together == [talk(name) for name in names]

    async def all_of_them() -> list[Any]:
        asked = [{"messages": [HumanMessage(f"{name}-lamp")]} for name in names]
        configs = [{"configurable": {"thread_id": f"async {name}"}} for name in names]
        return await asyncio.gather(*(agent.ainvoke(a, c) for a, c in zip(asked, configs, strict=True)))

    for name, out in zip(names, asyncio.run(all_of_them()), strict=True):
        assert f"{name}-lamp" in out["messages"][2].content


def test_an_edited_history_begins_anew_with_what_it_now_holds(compress):
    agent, model, middleware = make(compress, stable_prefix=True)
    for subject in SUBJECTS[:5]:
        state = ask(agent, subject)
    assert len(middleware.conversations.known) == 1
    config = {"configurable": {"thread_id": "t"}}
    agent.update_state(config, {"messages": [RemoveMessage(id=message.id) for message in state[:4]]})
    state = ask(agent, "globe")
    assert not any("lamp" in str(message.content) for message in model.sent[-1])
    assert not problems(plain(model.sent[-1]), plain([SystemMessage("Be brief."), *state]))
    assert len(middleware.conversations.known) == 2
    *_, earlier = (each for each in agent.get_state_history(config) if len(each.values.get("messages", ())) == 16)
    state = agent.invoke({"messages": [HumanMessage("bell")]}, earlier.config)["messages"]
    assert "lamp" in str(state) and "bell" in str(model.sent[-1]) and "globe" not in str(model.sent[-1])
    assert not problems(plain(model.sent[-1]), plain([SystemMessage("Be brief."), *state]))


def test_a_call_that_another_process_left_open_is_answered(compress):
    """An agent that is interrupted before its tools and goes on elsewhere, where no session is known."""
    saver = InMemorySaver()

    def build() -> Any:
        middleware = ReetMiddleware(BUDGET, words, compress, stable_prefix=True, recall=True)
        model = Scripted(answer=worker, seen=[])
        return create_agent(model, [look_up], middleware=[middleware], checkpointer=saver, interrupt_before=["tools"])

    config = {"configurable": {"thread_id": "t"}}
    agent = build()
    for text in (*SUBJECTS[:4], "recall"):
        agent.invoke({"messages": [HumanMessage(text)]}, config)
        if text != "recall":
            agent.invoke(None, config)
    by_id, by_question = recalled(build().invoke(None, config)["messages"])
    assert "shelf" in by_question and ("shelf" in by_id or "ask with `query`" in by_id)


def test_requests_that_fit_pass_as_they_are(compress):
    agent, model, middleware = make(compress, stable_prefix=True, recall=True)
    middleware.budget = 10**6
    state = ask(agent, "lamp")
    assert model.sent[-1] == [SystemMessage("Be brief."), *state[:-1]]
    assert len(middleware.conversations.known) == 0


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
THOUGHT = {"type": "thinking", "thinking": "A lamp, then.", "signature": "c2ln"}
USE = {"type": "tool_use", "id": "u1", "name": "look_up", "input": {"about": "lamp"}}
LONG = "The lamp is on shelf 7. Bakers weigh rye by the wooden measure, and the harbour lights go out. " * 2


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"name": "look_up", "args": {"about": "lamp"}, "id": name, **more}


KINDS: dict[str, list[BaseMessage]] = {
    "pictures": [HumanMessage([{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}, IMAGE])],
    "standard blocks": [
        HumanMessage([{"type": "text", "text": LONG}, {"type": "image", "base64": "AAAA", "mime_type": "image/png"}]),
        AIMessage([{"type": "reasoning", "reasoning": "A lamp."}, {"type": "text", "text": LONG, "annotations": []}]),
    ],
    "blocks of one text and strings": [HumanMessage([LONG, {"text": LONG}])],  # as Bedrock has texts
    "blocks without a type": [
        HumanMessage([{"text": LONG}, {"image": {"format": "png", "source": {"bytes": b"AAAA"}}}, {"type": "text"}])
    ],
    "lists of results": [
        HumanMessage("lamp"),
        AIMessage("", tool_calls=[call("c1")]),
        ToolMessage([{"type": "text", "text": LONG}, IMAGE, "shelf 7"], tool_call_id="c1", artifact={"rows": 7}),
        AIMessage(LONG),
    ],
    "thoughts and calls among the content": [
        HumanMessage(LONG),
        AIMessage([THOUGHT, {"type": "text", "text": LONG}, USE], tool_calls=[call("u1")], id="a1"),
        ToolMessage(LONG, tool_call_id="u1", status="error"),
        AIMessage(LONG, additional_kwargs={"reasoning_content": "A lamp."}, response_metadata={"model": "m"}),
    ],
    "calls that could not be read": [
        HumanMessage(LONG),
        AIMessage(
            LONG,
            tool_calls=[call("c1")],
            invalid_tool_calls=[{"name": "look_up", "args": '{"about": ', "id": "c2", "error": "no JSON"}],
        ),
        ToolMessage(LONG, tool_call_id="c1"),
        ToolMessage("Write JSON.", tool_call_id="c2"),
        AIMessage(LONG),
    ],
    "results in a user's message": [
        HumanMessage(LONG),
        AIMessage([USE]),
        HumanMessage([{"type": "tool_result", "tool_use_id": "u1", "content": LONG}]),
        AIMessage(LONG),
    ],
    "functions": [
        HumanMessage(LONG),
        AIMessage("", additional_kwargs={"function_call": {"name": "look_up", "arguments": '{"about": "lamp"}'}}),
        FunctionMessage(LONG, name="look_up"),
        AIMessage(LONG),
    ],
    "roles that chat formats do not know": [
        ChatMessage(LONG, role="critic"),
        ChatMessage(LONG, role="assistant"),
        SystemMessage(LONG, additional_kwargs={"__openai_role__": "developer"}),
    ],
    "pieces of a stream": [
        HumanMessage(LONG),
        AIMessageChunk(LONG, tool_calls=[call("c1")]),
        ToolMessage(LONG, tool_call_id="c1"),
    ],
    "empty": [HumanMessage(""), AIMessage([]), HumanMessage(LONG)],
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_message_is_shortened_in_its_content_alone(name, compress):
    given = [*KINDS[name], HumanMessage("Where is it?"), AIMessage(LONG * 3), HumanMessage("On which shelf?")]
    messages = [message.model_copy(update={"id": f"m{number}"}) for number, message in enumerate(given)]
    assert all(kept is message for kept, message in zip(read(written(messages), messages), messages, strict=True))
    before = [message.model_copy(deep=True) for message in messages]
    for budget, options in ((20, {}), (100, {}), (100, {"stable_prefix": True}), (100, {"recall": True})):
        kept = ReetMiddleware(budget, words, compress, keep_system=False, **options).shorten(messages)
        assert kept[-1] is messages[-1]
        for message in kept:
            source = messages[int(message.id[1:])]
            assert type(message) is type(source) and type(message.content) is type(source.content)
            assert message.model_dump(exclude={"content"}) == source.model_dump(exclude={"content"})
            assert no_texts(message) == no_texts(source)
        called = [name for message in kept for name in call_ids(message)]
        assert called == [name for message in kept for name in answers(message)]
    assert messages == before


def no_texts(message: BaseMessage) -> list[Any]:
    parts = message.content if isinstance(message.content, list) else []
    return [part for part in parts if isinstance(part, dict) and not isinstance(part.get("text"), str)]


def call_ids(message: BaseMessage) -> list[str]:
    return [each["id"] for each in written([message])[0].get("tool_calls", [])]


def answers(message: BaseMessage) -> list[str]:
    told = written([message])[0]
    return [told["tool_call_id"]] if "tool_call_id" in told else []


def test_an_answer_that_became_one_with_a_call_is_the_call(compress):
    messages = [
        HumanMessage("lamp"),
        AIMessage("I look it up.", id="first"),
        HumanMessage("please"),
        AIMessage([THOUGHT, {"type": "text", "text": "Now."}], tool_calls=[call("c1")], id="second"),
        ToolMessage("shelf 7", tool_call_id="c1"),
    ]
    told = written(messages)
    joined = {**told[1], "content": [{"type": "text", "text": "I look it up."}, *told[3]["content"]]}
    kept = read([told[0], {**joined, "tool_calls": told[3]["tool_calls"]}, told[4]], messages)
    assert kept[1] == messages[3].model_copy(update={"content": joined["content"]}) and kept[1].tool_calls == [
        {**call("c1"), "type": "tool_call"}
    ]
    assert kept[0] is messages[0] and kept[2] is messages[4]


def test_facts_come_as_a_message_of_the_user(bundled):
    from transformers import pipeline

    compress = pipeline("reet-compression", model=str(bundled))
    middleware = ReetMiddleware(30, compress=compress, strategy="facts")
    (told,) = middleware.shorten([HumanMessage("Ann Lee works for Borealis Bank. She lives in Oslo. " * 4)])
    assert isinstance(told, HumanMessage) and "Ann Lee" in told.content
