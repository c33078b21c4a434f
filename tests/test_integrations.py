"""REET inside other libraries, each of them the real one with a model that stands in for a language model."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LANGSMITH_TRACING", "false")

from eval.agents.checks import problems
from eval.agents.histories import agent_run
from reet_hf import ReetError
from reet_hf.budget import resolve_counter
from reet_hf.integrations.documents import compress_batch, compress_texts
from reet_hf.integrations.loading import compressor_of, counter_of
from reet_hf.integrations.openai_format import compress_messages

TEXTS = [
    "The visa of Ann Lee expires on 12 June 2027. She lives in Oslo. Her cat is grey and sleeps a lot.",
    "Bakers weigh rye by the wooden measure. The harbour lights go out one after the other.",
    "Invoices are due in thirty days. Late ones cost two percent. The invoice of Quayside Print is INV-2025-7731.",
]
QUERY = "When does the visa of Ann Lee expire?"
LIBRARIES = ("langchain", "langchain_core", "langgraph", "llama_index", "litellm", "smolagents", "tiktoken", "datasets")


@pytest.fixture(scope="module")
def compressor(bundled):
    from transformers import pipeline

    return pipeline("reet-compression", model=str(bundled)).compressor


def test_importing_the_package_imports_none_of_the_libraries():
    code = f"import reet_hf, sys; print([name for name in {LIBRARIES} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("litellm", "litellm", "litellm"),
        ("smolagents", "smolagents", "smolagents"),
    ],
)
def test_a_missing_library_says_what_to_install(module, library, extra, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"reet_hf.integrations.{module}", raising=False)
    with pytest.raises(ImportError, match=rf'pip install "reet-hf\[{extra}\]"'):
        importlib.import_module(f"reet_hf.integrations.{module}")


def test_a_compressor_is_taken_from_a_pipeline_or_as_it_is(compressor):
    assert compressor_of(compressor) is compressor
    assert compressor_of() is compressor_of()
    with pytest.raises(ReetError, match="`compress` must be a reet-compression pipeline"):
        compressor_of("reet/reet-base")


def test_a_counter_is_that_of_the_model(bundled, monkeypatch):
    asked = []
    monkeypatch.setattr("reet_hf.integrations.loading.resolve_counter", lambda name: asked.append(name))
    for model in ("gpt-4o-mini", "openai/gpt-4o", "gpt-3.5-turbo-0125", str(bundled), len):
        counter_of(model)
    assert asked == ["o200k_base", "o200k_base", "cl100k_base", str(bundled), len]


def test_messages_that_fit_come_back_and_others_are_shortened_validly(compressor, bundled):
    for seed in range(3):
        run = agent_run(seed, 8)
        counter = resolve_counter(str(bundled))
        whole = compress_messages(run.messages, 10**6, str(bundled), compress=compressor)
        assert whole == run.messages
        kept = compress_messages(run.messages, 600, str(bundled), compress=compressor, tools=run.tools[:1])
        assert not problems(kept, run.messages)
        assert sum(counter.count(json.dumps(message)) for message in kept) < 2000
        assert compress_messages(run.messages, 0.3, compress=compressor) != run.messages
    with pytest.raises(TypeError, match="colour"):
        compress_messages(run.messages, 0.3, compress=compressor, colour="red")


def test_texts_share_a_budget_and_keep_their_places(compressor):
    found = compress_texts(TEXTS, QUERY, 0.3, compressor)
    assert found[0].place == 0 and "12 June 2027" in found[0].text
    assert [each.place for each in found] == sorted(each.place for each in found)
    for each in found:
        assert all(TEXTS[each.place][start:end] in each.text for start, end in each.spans)
        assert 0.0 <= each.importance <= 1.0
    total = compressor.counter.count("\n".join(TEXTS))
    assert compressor.counter.count("\n".join(each.text for each in found)) <= 0.3 * total + 3
    assert compress_texts([], QUERY, 0.3, compressor) == []


def test_a_data_set_gets_a_column(compressor):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict(
        {
            "question": [QUERY, "Which invoice is late?"],
            "text": TEXTS[::2],
            "messages": [
                [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}] for text in TEXTS[::2]
            ],
        }
    )
    told = {"budget": 0.5, "query": "question", "compress": compressor}
    texts = rows.map(compress_batch, batched=True, fn_kwargs={**told, "column": "text"}, new_fingerprint="texts")
    assert "12 June 2027" in texts[0]["compressed"] and len(texts[0]["compressed"]) < len(TEXTS[0])
    chats = rows.map(compress_batch, batched=True, fn_kwargs={**told, "output": "short"}, new_fingerprint="chats")
    assert [message["role"] for message in chats[0]["short"]] == ["user", "assistant"][: len(chats[0]["short"])]


def test_langchain_documents_keep_their_own_metadata(compressor):
    from langchain_core.documents import Document

    from reet_hf.integrations.langchain import ReetDocumentCompressor

    documents = [Document(page_content=text, metadata={"source": n}, id=str(n)) for n, text in enumerate(TEXTS)]
    found = ReetDocumentCompressor(budget=0.3, compress=compressor).compress_documents(documents, QUERY)
    assert found[0].id == "0" and "12 June 2027" in found[0].page_content
    for each in found:
        place = each.metadata["source"]
        assert all(TEXTS[place][start:end] in each.page_content for start, end in each.metadata["reet_spans"])
    assert [document.page_content for document in documents] == TEXTS
    assert "reet_spans" not in documents[0].metadata


def long_rows(count: int = 60) -> str:
    return json.dumps(
        [{"order": f"KX-{4000 + n}", "customer": f"Customer {n}", "item": "oak chair"} for n in range(count)]
    )


def test_a_langchain_agent_sees_valid_shortened_messages_and_keeps_its_state(compressor):
    from langchain.agents import create_agent
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage, HumanMessage, convert_to_openai_messages
    from langchain_core.tools import tool

    from reet_hf.integrations.langchain import ReetMiddleware

    seen: list[list[Any]] = []

    class Model(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            return self

        def _generate(self, messages: Any, *args: Any, **options: Any) -> Any:
            seen.append(list(messages))
            return super()._generate(messages, *args, **options)

    @tool
    def list_orders(limit: int) -> str:
        """List the orders."""
        return long_rows()

    def calling(number: int) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": "list_orders", "args": {"limit": 50}, "id": f"call_{number}"}])

    answers = iter([calling(1), calling(2), AIMessage("KX-4031.")])
    middleware = ReetMiddleware(budget=900, compress=compressor)
    agent = create_agent(
        Model(messages=answers), [list_orders], system_prompt="Never guess an order.", middleware=[middleware]
    )

    def written(messages: Any) -> list[dict[str, Any]]:
        """In OpenAI's format, without the names that LangChain adds to tool results."""
        told = convert_to_openai_messages(messages)
        return [{key: value for key, value in each.items() if (each["role"], key) != ("tool", "name")} for each in told]

    question = "Which order has Customer 31?"
    state = agent.invoke({"messages": [HumanMessage(question)]})
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert all(message.content == long_rows() for message in state["messages"] if message.type == "tool")
    for messages in seen[1:]:
        told = written(messages)
        assert not problems(told, written([messages[0], *state["messages"]]))
        assert compressor.counter.count(json.dumps(told)) < 1600
        assert [m.content for m in messages if m.type == "human"] == [question]
        assert any("KX-4031" in str(m.content) for m in messages if m.type == "tool")
        assert messages[0].content == "Never guess an order."
    assert middleware.shorten(state["messages"][:1]) is None
    answers = iter([calling(3), AIMessage("KX-4031.")])
    agent = create_agent(Model(messages=answers), [list_orders], middleware=[middleware])
    again = asyncio.run(agent.ainvoke({"messages": [HumanMessage(question)]}))
    assert again["messages"][-1].content == "KX-4031."


def test_llama_index_nodes_keep_their_own_metadata(compressor):
    from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

    from reet_hf.integrations.llama_index import ReetNodePostprocessor

    nodes = [
        NodeWithScore(node=TextNode(id_=f"n{n}", text=text, metadata={"page": n}), score=1.0 - n / 10)
        for n, text in enumerate(TEXTS)
    ]
    found = ReetNodePostprocessor(budget=0.3, compress=compressor).postprocess_nodes(nodes, query_str=QUERY)
    assert found[0].node.node_id == "n0" and found[0].score == 1.0
    assert "12 June 2027" in found[0].node.get_content()
    for each in found:
        place = each.node.metadata["page"]
        text = each.node.get_content(metadata_mode=MetadataMode.NONE)
        assert all(TEXTS[place][start:end] in text for start, end in each.node.metadata["reet_spans"])
        assert "reet" not in each.node.get_content(metadata_mode=MetadataMode.LLM)
    assert [each.node.get_content(metadata_mode=MetadataMode.NONE) for each in nodes] == TEXTS


def test_litellm_requests_are_shortened_before_they_are_sent(compressor):
    import litellm

    from reet_hf.integrations.litellm import ReetCallback

    run = agent_run(4, 8)
    callback = ReetCallback(budget=600, compress=compressor)
    data = {"model": "gpt-4o", "messages": run.messages, "tools": run.tools[:1], "temperature": 0.0}
    sent = asyncio.run(callback.async_pre_call_hook(None, None, data, "acompletion"))
    assert sent == {**data, "messages": sent["messages"]} and sent["messages"] != run.messages
    assert not problems(sent["messages"], run.messages)
    assert asyncio.run(callback.async_pre_call_hook(None, None, data, "embedding")) is data
    answer = litellm.completion(model="gpt-4o", messages=sent["messages"], mock_response="Done.")
    assert answer.choices[0].message.content == "Done."


def test_smolagents_observations_of_earlier_steps_are_shortened(compressor):
    from smolagents import ChatMessage, MessageRole, Model, Tool, ToolCallingAgent
    from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction

    from reet_hf.integrations.smolagents import ReetStepCallback

    class Orders(Tool):
        name, description, output_type = "list_orders", "Lists the orders.", "string"
        inputs = {"page": {"type": "integer", "description": "The page."}}

        def forward(self, page: int) -> str:
            return long_rows()

    seen: list[str] = []

    class Scripted(Model):
        def generate(self, messages: Any, **options: Any) -> ChatMessage:
            seen.append(str([message.content for message in messages]))
            step = len(seen)
            name, arguments = ("final_answer", {"answer": "KX-4031"}) if step == 4 else ("list_orders", {"page": step})
            function = ChatMessageToolCallFunction(name=name, arguments=arguments)
            call = ChatMessageToolCall(id=f"c{step}", type="function", function=function)
            return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])

    callback = ReetStepCallback(budget=300, compress=compressor)
    agent = ToolCallingAgent(tools=[Orders()], model=Scripted(), step_callbacks=[callback], verbosity_level=0)
    assert agent.run("Which order has Customer 31?") == "KX-4031"
    shortened = [step for step in agent.memory.steps if getattr(step, "step_number", None) in callback.originals]
    assert len(shortened) >= 2
    assert any("KX-4031" in step.observations for step in shortened)
    assert all(long_rows()[:200] in original for original in callback.originals.values())
    assert sum(compressor.counter.count(step.observations) for step in shortened) <= 320
    assert len(seen[3]) < 3 * len(long_rows())
