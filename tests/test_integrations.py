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
import torch

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
LIBRARIES = (
    "langchain",
    "langchain_core",
    "langgraph",
    "llama_index",
    "litellm",
    "smolagents",
    "tiktoken",
    "datasets",
    "ray",
)
SERVERS = ("fastapi", "mcp", "opentelemetry", "prometheus_client", "starlette", "uvicorn")
RUNTIMES = ("onnx", "onnxruntime", "onnxscript", "openvino")


@pytest.fixture(scope="module")
def compressor(bundled):
    from transformers import pipeline

    return pipeline("reet-compression", model=str(bundled)).compressor


def test_importing_the_package_imports_none_of_the_libraries():
    code = f"import reet_hf, reet_hf.cli, sys; print([n for n in {LIBRARIES + SERVERS + RUNTIMES} if n in sys.modules])"
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
    observed = [step for step in agent.memory.steps if getattr(step, "observations", None)]
    shortened = [step for step in observed if callback.original(step) != step.observations]
    assert len(shortened) >= 2
    assert any("KX-4031" in step.observations for step in shortened)
    assert all(long_rows()[:200] in callback.original(step) for step in observed[:-1])
    assert sum(compressor.counter.count(step.observations) for step in shortened) <= 320
    assert len(seen[3]) < 3 * len(long_rows())


def scripted(*codes: str) -> Any:
    """A model of smolagents that writes one code after the other, from the first again in every run."""
    from smolagents import ChatMessage, MessageRole, Model

    class Scripted(Model):
        place = 0

        def generate(self, messages: Any, **options: Any) -> ChatMessage:
            code, self.place = codes[self.place % len(codes)], self.place + 1
            return ChatMessage(role=MessageRole.ASSISTANT, content=f"Thought: go on.\n<code>\n{code}\n</code>")

    return Scripted()


@pytest.mark.parametrize("reset", [True, False])
def test_smolagents_runs_do_not_take_the_observations_of_each_other(compressor, reset):
    from smolagents import ActionStep, CodeAgent

    from reet_hf.integrations.smolagents import ReetStepCallback

    told = "The harbour lights of {} go out one after the other, and the bakers weigh rye. "
    codes = [f"print({told.format(place)!r} * 12)" for place in ("Oslo", "Lima")]
    callback = ReetStepCallback(budget=60, compress=compressor)
    agent = CodeAgent(
        tools=[], model=scripted(*codes, "final_answer('Oslo')"), step_callbacks=[callback], verbosity_level=0
    )
    for _ in range(2):  # step numbers begin with 1 in each
        assert agent.run("Where do the lights go out first?", reset=reset) == "Oslo"
    steps = [step for step in agent.memory.steps if isinstance(step, ActionStep)]
    assert [step.step_number for step in steps] == ([1, 2, 3] if reset else [1, 2, 3] * 2)
    for number, step in enumerate(steps):
        place = ("Oslo", "Lima", "final")[number % 3]
        whole = callback.original(step)
        assert place == "final" or whole.count(place) == 12 and not whole.count("Lima" if place == "Oslo" else "Oslo")
        assert step is steps[-1] or len(step.observations) < len(whole) or place == "final"
        assert "final_answer" in step.code_action or "print" in step.code_action
    agent.memory.get_full_steps()


def test_smolagents_keeps_recent_steps_whole(compressor):
    from smolagents import ActionStep, Timing

    from reet_hf.integrations.smolagents import ReetStepCallback

    def step(number: int) -> ActionStep:
        return ActionStep(step_number=number, timing=Timing(0.0), observations=long_rows(20))

    class Agent:
        class memory:
            steps = [step(1), step(2)]

    ReetStepCallback(budget=50, recent=3, compress=compressor)(step(3), Agent)
    assert [each.observations for each in Agent.memory.steps] == [long_rows(20)] * 2
    ReetStepCallback(budget=50, recent=2, compress=compressor)(step(3), Agent)
    assert [each.observations == long_rows(20) for each in Agent.memory.steps] == [False, True]
    with pytest.raises(ReetError, match="`recent` must be a number of steps, 0 or more, got -1"):
        ReetStepCallback(budget=50, recent=-1, compress=compressor)


def test_llama_index_nodes_stay_of_their_kind(compressor):
    from llama_index.core.schema import ImageNode, IndexNode, MediaResource, Node, NodeWithScore, TextNode

    from reet_hf.integrations.llama_index import ReetNodePostprocessor

    picture = MediaResource(url="https://pictures.example/visa.png")
    nodes = [
        ImageNode(text=TEXTS[0], image_url="https://pictures.example/visa.png", metadata={"page": 1}),
        ImageNode(image_url="https://pictures.example/harbour.png"),
        Node(text_resource=MediaResource(text=TEXTS[0]), image_resource=picture),
        IndexNode(text=TEXTS[0], index_id="i", obj=TextNode(text="whole")),
        TextNode(
            text=TEXTS[0],
            start_char_idx=40,
            end_char_idx=40 + len(TEXTS[0]),
            text_template="<{metadata_str}>{content}",
            metadata={"page": 2},
            excluded_embed_metadata_keys=["page"],
        ),
        TextNode(text=TEXTS[1]),
    ]
    given = [NodeWithScore(node=node, score=0.5) for node in nodes]
    reader = ReetNodePostprocessor(budget=0.4, compress=compressor)
    found = asyncio.run(reader.apostprocess_nodes(given, query_str=QUERY))
    assert [type(each.node) for each in found[:5]] == [ImageNode, ImageNode, Node, IndexNode, TextNode]
    assert found[0].node.image_url == nodes[0].image_url and "12 June 2027" in found[0].node.text
    assert found[1] is given[1]
    assert found[2].node.image_resource == picture and "12 June 2027" in found[2].get_content()
    assert found[3].node.obj is nodes[3].obj and found[3].node.index_id == "i"
    assert (found[4].node.start_char_idx, found[4].node.text_template) == (40, "<{metadata_str}>{content}")
    assert found[4].node.excluded_embed_metadata_keys == ["page", "reet_spans", "reet_importance"]
    assert nodes[4].text == TEXTS[0] and nodes[4].metadata == {"page": 2}
    again = reader.postprocess_nodes(found[:1], query_str=QUERY)[0].node
    assert again.excluded_llm_metadata_keys == ["reet_spans", "reet_importance"]
    without = reader.postprocess_nodes(given)  # no query: what any question may need
    assert without and reader.postprocess_nodes([]) == []
    assert reader.postprocess_nodes([given[1]], query_str=QUERY) == [given[1]]
    assert "compress" not in reader.to_dict() and reader.to_dict()["budget"] == 0.4


def test_a_data_set_may_have_gaps(compressor):
    datasets = pytest.importorskip("datasets")
    call = {"id": "c1", "type": "function", "function": {"name": "list_orders", "arguments": "{}"}}
    chats = [
        [
            {"role": "user", "content": [{"type": "text", "text": TEXTS[0]}, {"type": "image", "url": "visa.png"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": long_rows(20)},
            {"role": "assistant", "content": "They are oak chairs."},
        ],
        None,
    ]
    chats[0][0]["content"] = TEXTS[0]
    rows = datasets.Dataset.from_dict({"text": [TEXTS[0], None], "messages": chats, "question": [None, QUERY]})
    told = {"budget": 0.5, "query": "question", "compress": compressor}
    short = rows.map(compress_batch, batched=True, fn_kwargs=told, new_fingerprint="chats")["compressed"]
    assert short[1] is None and not problems([{k: v for k, v in m.items() if v is not None} for m in short[0]])
    texts = rows.map(compress_batch, batched=True, fn_kwargs={**told, "column": "text"}, new_fingerprint="texts")
    assert texts["compressed"][1] is None and 0 < len(texts["compressed"][0]) < len(TEXTS[0])
    with pytest.raises(ReetError, match="must be a list of messages"):
        compress_batch({"messages": [{"role": ["user"], "content": ["hi"]}]}, 0.5, compress=compressor)
    with pytest.raises(ReetError, match=r"`messages\[0\]` must be a dict"):
        compress_batch({"messages": [["hi"]]}, 0.5, compress=compressor)


def test_a_data_set_is_compressed_by_several_processes(compressor):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": TEXTS[::2]})
    told = {"budget": 0.5, "column": "text", "compress": compressor}
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # threads that a fork would wait for
    try:
        one = compress_batch(rows[:], **told)["compressed"]
        many = rows.map(compress_batch, batched=True, num_proc=2, fn_kwargs=told, new_fingerprint="many")
    finally:
        torch.set_num_threads(threads)
    assert many["compressed"][:] == one


def test_messages_may_be_the_objects_of_a_client(compressor):
    from openai.types.chat import ChatCompletionMessage

    said = ChatCompletionMessage.model_validate(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "list_orders", "arguments": "{}"}}],
        }
    )
    messages = [{"role": "user", "content": "List them."}, said]
    messages += [{"role": "tool", "tool_call_id": "c1", "content": long_rows()}]
    whole = compress_messages(messages, 10**6, compress=compressor)
    assert whole == [messages[0], said.model_dump(exclude_none=True), messages[2]]
    short = compress_messages(messages, 200, compress=compressor)
    assert short[1]["tool_calls"] == whole[1]["tool_calls"] and len(short[2]["content"]) < len(long_rows())
    with pytest.raises(ReetError, match="`messages` must be a list of messages, got str"):
        compress_messages("hi", 200, compress=compressor)
