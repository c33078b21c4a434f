"""The examples run as a user runs them, with models on this machine in the place of language models."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import openai
import pytest
from conftest import ROOT
from nbclient import NotebookClient
from transformers.utils import logging
from upstream import Body, Reply, Upstream, completion

os.environ.setdefault("LANGSMITH_TRACING", "false")

from eval.agents.checks import problems
from reet_hf import Session
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.integrations.loading import compressor_of, fits

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "quickstart.ipynb"
BERTHS = [
    ("Albatross", "a green ketch", 250),
    ("Brisk Wind", "a fishing boat", 310),
    ("Curlew", "a small sloop", 190),
    ("Daisy May", "a houseboat with geraniums", 480),
    ("Ebb Tide", "a wooden ketch", 265),
    ("Fulmar", "a motor cruiser", 330),
    ("Guillemot", "a training boat", 140),
    ("Halcyon", "a racing yacht", 520),
    ("Island Girl", "a ferry out of service", 610),
]
NOTES = [
    f"The {name}, {kind}, lies at berth {12 + number}; her owner pays {fee} euros a month and has asked twice about "
    "the loose ladder, the lamp that flickers and the water tap that nobody has mended since the spring."
    for number, (name, kind, fee) in enumerate(BERTHS)
]
CODE = "The alarm code of the boathouse is 7731-K."
ANSWERS = {
    "What is the alarm code of the boathouse?": r"7731-K",
    "How much does the owner of the Curlew pay?": r"Curlew.*190 euros",
}


@pytest.fixture(scope="module")
def compressor(bundled):
    return compressor_of()


@pytest.fixture(autouse=True)
def verbosity():
    """What the examples set for their own process is as it was afterwards."""
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    yield
    logging.set_verbosity(before)
    if bars:
        logging.enable_progress_bar()


def example(name: str) -> ModuleType:
    """An example's script as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def said(messages: list[Body]) -> str:
    """Everything that the messages say, a line a message."""
    return "\n".join(str(message.get("content") or "").replace("\n", " ") for message in messages)


def answering(body: Body) -> Reply:
    """Takes note of what it is told; answers from what it was sent, or else recalls what it is asked for."""
    messages = body["messages"]
    asked = next(message["content"] for message in reversed(messages) if message["role"] == "user")
    if asked.endswith("Break."):
        return Reply({"error": {"message": "This was too much for me."}}, status=400)
    question = next((each for each in ANSWERS if asked.endswith(each)), None)
    if question is None:
        return Reply(completion("Noted."))
    found = re.search(ANSWERS[question], said(messages))
    if found or messages[-1]["role"] == "tool":
        return Reply(completion(f"I read: {found[0]}" if found else "I cannot find it."))
    return Reply(completion(None, [{"id": "call_1", "name": "recall_context", "arguments": {"query": question}}]))


def arguments(folder: Path, budget: int) -> list[str]:
    """The chat loop's command line."""
    path = str(EXAMPLES / "chat_loop.py")
    return [path, "--model", "stand-in", "--budget", str(budget), "--session", str(folder)]


def test_the_chat_loop_recalls_and_goes_on_in_another_process(compressor, tmp_path, monkeypatch, capsys):
    budget, folder = 600, tmp_path / "chat"
    code, fee = ANSWERS
    with Upstream(answering) as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setattr(sys, "argv", arguments(folder, budget))
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join([CODE, *NOTES, "", code])))
        example("chat_loop").main()
        first, before = capsys.readouterr(), upstream.bodies
        command = [sys.executable, *arguments(folder, budget)]
        lines = f"Break.\n{fee}\n"
        second = subprocess.run(command, input=lines, capture_output=True, text=True, env=os.environ, check=True)
    bodies = upstream.bodies
    assert first.out.splitlines() == ["Noted."] * (1 + len(NOTES)) + ["I read: 7731-K"]
    assert first.err.startswith("[0 messages so far]") and "[recall {" in first.err
    asked, answered = before[-2:]
    assert "7731-K" not in said(asked["messages"])
    assert answered["messages"][-1]["role"] == "tool" and "7731-K" in answered["messages"][-1]["content"]

    whole = Session.load(folder, compressor).restore()
    count = len(answered["messages"])
    assert bodies[len(before)]["messages"][:count] == answered["messages"]  # as it was, in another process
    assert "[no answer: " in second.stderr and re.search(r"Curlew.*190 euros", second.stdout)
    assert [message["content"] for message in whole if message["role"] == "user"] == [CODE, *NOTES, code, "Break.", fee]
    for body in bodies:
        assert not problems(body["messages"], whole)
        assert body["tools"][0]["function"]["name"] == "recall_context"
        assert fits(compressor, Conversation(parse_messages(body["messages"])), budget, {"tools": body["tools"]})


def test_the_chat_loop_ends_with_a_model_that_only_recalls(compressor):
    script = example("chat_loop")

    def stubborn(body: Body) -> Reply:
        call = {"id": f"call_{len(body['messages'])}", "name": "recall_context", "arguments": {"query": "the code"}}
        return Reply(completion("Enough.", [call]))

    session = Session(compressor)
    session.append([{"role": "user", "content": CODE}])
    with Upstream(stubborn) as upstream, openai.OpenAI(base_url=upstream.url, api_key="none") as client:
        assert script.answer(client, session, "stand-in", 2000) == "Enough."
    assert [body["tool_choice"] for body in upstream.bodies] == ["auto"] * script.RECALLS + ["none"]
    assert not problems(session.restore())


def test_the_langchain_agent_reads_what_it_needs(compressor, capsys):
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage, convert_to_openai_messages
    from langchain_core.utils.function_calling import convert_to_openai_tool

    script, seen = example("langchain_agent"), []

    class Scripted(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            seen.append([convert_to_openai_tool(tool) for tool in tools])
            return self

        def _generate(self, messages: Any, *args: Any, **options: Any) -> Any:
            seen.append(written(messages))
            return super()._generate(messages, *args, **options)

    def written(messages: Any) -> list[Body]:
        told = convert_to_openai_messages(messages)
        return [{key: value for key, value in each.items() if (each["role"], key) != ("tool", "name")} for each in told]

    lamps = [each for each in script.ORDERS if (each["customer"], each["item"]) == ("Ann Lee", "blue lamp")]
    assert len(lamps) == 1
    steps = [("list_orders", {}), ("track_parcel", {"order": lamps[0]["order"]}), ("stock", {"item": "blue lamp"})]
    calls = [
        AIMessage("", tool_calls=[{"name": name, "args": given, "id": f"c{number}"}])
        for number, (name, given) in enumerate(steps)
    ]
    model = Scripted(messages=iter([*calls, AIMessage("It is held at the harbour.")]))
    question, budget = "Where is Ann Lee's blue lamp, and have we another one?", 1500
    state = script.ask(model, question, budget)

    requests, tools = seen[1::2], seen[0]
    assert len(requests) == 4 and [each["function"]["name"] for each in tools] == [name for name, _ in steps]
    for request in requests:
        assert not problems(request, [requests[0][0], *written(state)])
        assert fits(compressor, Conversation(parse_messages(request)), budget, {"tools": tools})
        assert request[1]["content"] == question
    assert not fits(compressor, Conversation(parse_messages(written(state))), budget, {})
    rows, events, pieces = (json.loads(each["content"]) for each in requests[-1] if each["role"] == "tool")
    assert lamps[0] in rows and len(rows) < len(script.ORDERS)
    assert "sender must decide" in events["events"][-1]["event"]
    assert {"warehouse": "Turku", "item": "blue lamp", "pieces": 12} in pieces
    assert json.loads(state[2].text) == script.ORDERS

    for message in state:
        script.show(message)
    told = capsys.readouterr()
    assert told.out == "It is held at the harbour.\n" and "[calls track_parcel" in told.err


def test_the_handbook_is_answered_from_what_was_kept(compressor, capsys):
    from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata

    script, prompts = example("llama_index_rag"), []

    class Reading(CustomLLM):
        """Answers with the sentence of its prompt that names a price of the boat show."""

        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata()

        def complete(self, prompt: str, formatted: bool = False, **options: Any) -> CompletionResponse:
            prompts.append(prompt)
            found = re.search(r"[^.]*boat show[^.?]*euros[^.]*\.", prompt)
            return CompletionResponse(text=found[0].strip() if found else "The handbook does not say.")

        def stream_complete(self, prompt: str, formatted: bool = False, **options: Any) -> Any:
            raise NotImplementedError

    budget, texts = 150, script.sections()
    response = script.ask(Reading(), "What may a hotel cost during the boat show?", budget)
    assert "170 euros" in str(response) and len(prompts) == 1 and len(response.source_nodes) > 1
    assert compressor.counter.count("\n".join(each.node.text for each in response.source_nodes)) <= budget
    for source in response.source_nodes:
        text = texts[source.metadata["section"]]
        kept = [text[start:end] for start, end in source.metadata["reet_spans"]]
        assert kept and all(piece in source.node.text and piece in prompts[0] for piece in kept)
    script.show(response)
    told = capsys.readouterr().out
    assert "expenses.md" in told and re.search(r"\d+-\d+ +A night away may cost up to 115 euros", told)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("langchain_agent", "langchain_openai"), ("llama_index_rag", "llama_index.llms.openai")],
)
def test_a_missing_language_model_says_what_to_install(name, missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    with pytest.raises(SystemExit, match=rf"pip install {re.sub('[._]', '-', missing)}"):
        example(name).main()


def test_the_pipes_print_a_prompt_and_json():
    command = ["bash", str(EXAMPLES / "pipe.sh")]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["READER"] = "sed s/^/READ:/"
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    lines = done.stdout.splitlines()
    prompt = [line.removeprefix("READ:") for line in lines if line.startswith("READ:")]
    notes = (EXAMPLES / "notes.txt").read_text(encoding="utf-8")
    assert "ferry at 18:20" in "\n".join(prompt) and "three beds" in "\n".join(prompt)
    assert prompt[-1].endswith("?") and sum(map(len, prompt)) < len(notes) / 2
    messages = json.loads("\n".join(lines[len(prompt) :]))
    original = json.loads((EXAMPLES / "agent.json").read_text(encoding="utf-8"))["messages"]
    assert "never deploy on Fridays" in said(messages)
    assert not problems(messages, original)
    counts = [tuple(map(int, re.findall(r"\d+", line))) for line in done.stderr.splitlines() if "tokens" in line]
    assert len(counts) == 2 and all(kept <= budget < whole / 2 for whole, kept, budget in counts)


def executed() -> nbformat.NotebookNode:
    """The notebook with the outputs that it has now, and nothing about when and where it ran."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    kept = notebook.metadata
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False, coalesce_streams=True)
    client.execute()
    notebook.metadata = {"kernelspec": kept["kernelspec"], "language_info": {"name": "python"}}
    return notebook


def outputs(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What each cell of code prints to standard output, by its id."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return {cell.id: "".join(out.text for out in cell.outputs if out.get("name") == "stdout") for cell in cells}


def test_the_notebook_prints_what_is_committed():
    committed = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(committed)
    assert 10 <= len(committed.cells) <= 14
    told = outputs(committed)
    assert outputs(executed()) == told, "run `python tests/test_examples.py` and look at what has changed"
    assert "Mill Lane" in told["compress"] and "1,480 euros" in told["session"] and "OK-20931" in told["recall"]
    assert '"P-717", "for": "Bo Chen", "shelf": "1C"' in told["agent"]
    assert all(out.get("name") == "stdout" for cell in committed.cells for out in cell.get("outputs", ()))


if __name__ == "__main__":  # writes the outputs of the notebook anew
    nbformat.write(executed(), NOTEBOOK)
