"""The MCP server: tools, resources, errors and ends, asked by the official client of real processes."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.from_thread import start_blocking_portal
from conftest import ROOT
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from serving import TOKENS, bearer, free_port
from test_architecture import imports, python_files

from reet_hf import cli
from reet_hf.serving import mcp_server
from reet_hf.serving.failures import TooLate
from reet_hf.serving.mcp_server import Answers, Reading, make_server, watched
from reet_hf.serving.mcp_tools import Compress, SessionCompress, schema_of
from reet_hf.serving.settings import Settings

CHAT = [
    {"role": "user", "content": "My visa expires on 12 June 2027. I like gardens and quiet hotels, by the way."},
    {"role": "assistant", "content": "Noted. The booking number of the flight is KX-4471, the airline wrote today."},
    {"role": "user", "content": "My sister stayed at a hotel near the embassy, which had a garden and old trees."},
    {
        "role": "assistant",
        "content": "I will keep that in mind. Shall I ask them for a quiet room on that side?",
    },
    {"role": "user", "content": "Yes, please. And tell me when I have to leave the country."},
]
LONG = " ".join(f"Order {n} of the customer in Oslo was sent on day {n} of the year." for n in range(200))
TOOLS = ["compress", "extract", "session_append", "session_compress", "session_recall", "session_restore"]
TOOLS += ["session_delete"]
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def command(bundled: Path, *options: str) -> list[str]:
    """The command line of a server with the bundled weights."""
    return [sys.executable, "-m", "reet_hf.cli", "mcp", "--model", str(bundled), *options]


class Asking:
    """A client of a server, for tests that are no coroutines."""

    def __init__(self, portal: Any, client: Client) -> None:
        self.portal, self.client = portal, client

    def ask(self, method: str, *given: Any, **named: Any) -> Any:
        """What a method of the client returns."""
        return self.portal.call(partial(getattr(self.client, method), *given, **named))

    def use(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """What a tool gives; clients that read text only get the same."""
        result = self.ask("call_tool", tool, arguments)
        assert not result.is_error, result.content[0].text
        assert json.loads(result.content[0].text) == result.structured_content
        return result.structured_content

    def refusal(self, tool: str, /, **arguments: Any) -> str:
        """What a model is told of a call that cannot be honoured."""
        result = self.ask("call_tool", tool, arguments)
        assert result.is_error and result.structured_content is None
        return result.content[0].text

    def read(self, uri: str) -> Any:
        """What a resource holds."""
        (contents,) = self.ask("read_resource", uri).contents
        assert contents.mime_type == "application/json"
        return json.loads(contents.text)


@contextmanager
def asking(server: Any, **options: Any) -> Iterator[Asking]:
    """A client of a server, which ends with it."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(server, **options)) as client:
        yield Asking(portal, client)


@contextmanager
def over_http(address: str, tenant: str, mode: str) -> Iterator[Asking]:
    """A client that sends the token of a tenant."""
    sender = httpx2.AsyncClient(headers=bearer(tenant), timeout=60)
    transport = streamable_http_client(address, http_client=sender)
    with asking(transport, mode=mode) as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where all servers of this module keep sessions, one after the other."""
    return tmp_path_factory.mktemp("mcp")


@pytest.fixture(scope="module")
def ended(folder, bundled) -> tuple[int, list[dict[str, Any]], float, str]:
    """A first server that was asked by hand and left in the middle of its work: status, answers, seconds, errors."""
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "hand", "version": "1"}}
    short, long = ({"name": "kept", "messages": chat} for chat in (CHAT, [{"role": "user", "content": LONG * 3}]))
    lines: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "session_append", "arguments": short}},
        {"id": 3, "method": "ping"},
        {"id": 4, "method": "tools/call", "params": {"name": "session_append", "arguments": long}},
        {"id": 5, "method": "ping"},
    ]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(
        command(bundled, "--sessions", str(folder)), cwd=ROOT, env={**os.environ, **ENVIRONMENT}, text=True, **pipes
    )
    answers = []
    for line in lines:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **line}) + "\n")
        process.stdin.flush()
        if line.get("id") in (1, 2, 3, 5):
            answers.append(json.loads(process.stdout.readline()))
    left = time.monotonic()
    rest, errors = process.communicate(timeout=60)
    answers += map(json.loads, rest.splitlines())
    return process.returncode, answers, time.monotonic() - left, errors


@pytest.fixture(scope="module")
def client(folder, bundled, ended) -> Iterator[Asking]:
    """A client of a second server over the same sessions, over standard input and output."""
    line = " ".join(command(bundled, "--sessions", str(folder)))
    script = f"echo $$ > {folder / 'pid'}; exec {line}"
    parameters = StdioServerParameters(command="sh", args=["-c", script], env=ENVIRONMENT, cwd=ROOT)
    with asking(parameters, read_timeout_seconds=120) as client:
        yield client


@pytest.fixture
def inside(compress, tmp_path) -> Iterator[Asking]:
    """A client of a server in this process, over the tiny model."""
    answers = Answers(compress, Settings(sessions=tmp_path / "sessions"))
    with asking(make_server(answers)) as client:
        client.answers = answers
        yield client


def test_a_server_ends_with_its_input_whatever_it_is_doing_and_writes_nothing_but_answers(ended):
    status, answers, seconds, errors = ended
    assert status == 0 and seconds < 10, errors
    assert [answer["id"] for answer in answers] == [1, 2, 3, 5, 4] and "error" in answers[4]
    assert answers[0]["result"]["serverInfo"]["name"] == "reet"
    assert answers[1]["result"]["structuredContent"]["created"] is True
    assert answers[2]["result"] == answers[3]["result"] == {}


def test_another_server_finds_the_sessions_and_none_of_what_was_left_undone(client):
    assert client.use("session_restore", name="kept") == {"messages": CHAT, "total": len(CHAT)}


def test_tools_tell_what_they_take_and_give(client):
    tools = client.ask("list_tools").tools
    assert [tool.name for tool in tools] == TOOLS
    for tool in tools:
        assert tool.description and tool.input_schema["additionalProperties"] is False
        assert tool.output_schema["type"] == "object" and tool.annotations.open_world_hint is False
        assert "title" not in tool.input_schema and '"null"' not in json.dumps(tool.input_schema)
        assert all("description" in field for field in tool.input_schema["properties"].values())
    takes = {tool.name: tool.input_schema["properties"] for tool in tools}
    assert takes["compress"]["budget"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 1_000_000_000}
    assert takes["compress"]["threshold"]["maximum"] == 1
    assert takes["session_append"]["messages"]["minItems"] == 1
    assert takes["session_restore"]["first"]["minimum"] == 0
    assert [tool.name for tool in tools if tool.annotations.destructive_hint] == ["session_delete"]
    told = [tool.model_dump_json(by_alias=True, exclude_none=True) for tool in tools]
    assert sum(map(len, told)) < 16_000  # characters, which each conversation pays
    assert "session_recall" in client.client.instructions


def test_compress_gives_a_text_in_few_tokens(client):
    text = " ".join(message["content"] for message in CHAT)
    out = client.use("compress", text=text, query="When does the visa expire?", budget=30)
    assert "12 June 2027" in out["text"] and out["tokens"]["compressed"] <= out["tokens"]["budget"] == 30
    assert set(out) == {"text", "tokens", "receipt", "omitted"}
    assert set(out["receipt"]) == {"kept", "in_ledger", "dropped"}
    assert len(out["omitted"]["ids"]) == min(20, out["omitted"]["parts"])
    more = client.use("compress", text=text, query="When does the visa expire?", budget=30, details=True)["details"]
    assert [piece["message"] for piece in more["pieces"]] and len(more["omitted"]) == out["omitted"]["parts"]
    assert len(more["receipt"]["kept"]) == out["receipt"]["kept"]


def test_compress_gives_messages_for_messages(client):
    options = {"query": "When does the visa expire?", "budget": 0.6, "unit": "message", "markers": True}
    out = client.use("compress", messages=CHAT, **options)
    assert out["messages"][0]["role"] == "user" and "12 June 2027" in out["messages"][0]["content"]
    assert any(name in json.dumps(out["messages"]) for name in out["omitted"]["ids"])
    text = client.use("compress", messages=json.dumps(CHAT), budget=0.5, output="text", query=None)["text"]
    assert text.startswith("user: ")
    kept = client.use("compress", messages=CHAT, budget=40, protect=[[1, 0, 6], "KX-[0-9]+"], unit="word")
    assert "KX-4471" in json.dumps(kept["messages"]) and "Noted." in json.dumps(kept["messages"])
    facts = client.use("compress", messages=CHAT, budget=60, strategy="facts", query="When does the visa expire?")
    assert facts["tokens"]["compressed"] <= 60


def test_extract_gives_entities_and_facts(client):
    text = "Ann Lee works for Borealis Bank. The weather was fine."
    out = client.use("extract", text=text)
    assert out["entities"]["Ann Lee"] == "PERSON" and "works for Borealis Bank" in out["facts"]["Ann Lee"]
    assert set(out) == {"facts", "entities"}
    more = client.use("extract", messages=[{"role": "user", "content": text}], query="Where is Ann Lee?", details=True)
    assert more["details"]["entities"][0]["start"] == 0


def test_a_session_grows_is_compressed_recalled_restored_and_deleted(client):
    held = client.use("session_append", name="trip", messages=CHAT[:2])
    assert held["created"] and held["messages"] == 2
    held = client.use("session_append", name="trip", messages=CHAT[2:], position=2)
    assert not held["created"] and held["messages"] == len(CHAT)
    out = client.use("session_compress", name="trip", query="When does the visa expire?", budget=60)
    assert "12 June 2027" in out["text"] and out["tokens"]["compressed"] <= 60
    shown = [name for name in out["omitted"]["ids"] if name in out["text"]]
    recalled = client.use("session_recall", name="trip", id=shown[0])["text"]
    assert recalled and recalled not in out["text"]
    assert "already recalled" in client.use("session_recall", name="trip", id=shown[0])["text"]
    assert "KX-4471" in client.use("session_recall", name="trip", query="What is the booking number?")["text"]
    assert "no id" in client.use("session_recall", name="trip", id="000000")["text"]
    assert "Say what" in client.use("session_recall", name="trip")["text"]
    for number in range(5):
        told = client.use("session_recall", name="trip", query=f"Which hotel was number {number}?")["text"]
    assert "Answer now" in told
    stable = client.use("session_compress", name="trip", budget=200, stable_prefix=True, output="messages")
    assert stable["messages"] and stable["stability"]["rebases"] >= 0
    facts = client.use("session_compress", name="trip", budget=60, strategy="facts")
    assert facts["tokens"]["compressed"] <= 60
    assert client.use("session_restore", name="trip") == {"messages": CHAT, "total": len(CHAT)}
    assert client.use("session_restore", name="trip", first=1, count=2)["messages"] == CHAT[1:3]
    assert client.use("session_delete", name="trip") == {"deleted": "trip"}
    assert "There is no session 'trip'" in client.refusal("session_compress", name="trip", budget=60)


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("compress", {}, "exactly one of `text` and `messages`"),
        ("compress", {"text": "a", "messages": CHAT}, "exactly one of `text` and `messages`"),
        ("compress", {"text": 5}, "`text`"),
        ("compress", {"text": "a", "budget": 0}, "`budget` must be at least 1 token"),
        ("compress", {"text": "a", "budget": "much"}, "`budget`"),
        ("compress", {"text": "a", "unit": "page"}, "`unit`"),
        ("compress", {"text": "a", "speed": 1, "query": 1}, "`query` is not as it must be"),
        ("compress", {"text": "a", "tokenizer": "/etc"}, "`tokenizer` must be one of"),
        ("compress", {"messages": CHAT, "budget": 10, "protect": ["user"]}, "raise `budget` to at least"),
        ("extract", {"messages": [{"content": "a"}]}, "`messages[0]['role']`"),
        ("session_append", {"name": "odd", "messages": [{"role": "nobody", "content": "a"}]}, "`messages[0]['role']`"),
        ("session_append", {"name": "odd", "messages": []}, "`messages`"),
        ("session_append", {"name": "../odd", "messages": CHAT}, "`name`"),
        ("session_append", {"name": "odd", "messages": CHAT, "position": 3}, "There is no session"),
        ("session_append", {"name": "kept", "messages": CHAT, "position": 3}, "`position` is 3"),
        ("session_recall", {"name": "odd", "id": "7f3a1c"}, "There is no session"),
        ("session_restore", {"name": "kept", "first": -1}, "`first`"),
        ("session_delete", {}, "`name`"),
    ],
)
def test_a_model_is_told_what_was_wrong(client, tool, arguments, words):
    told = client.refusal(tool, **arguments)
    assert words in told and len(told) < 500
    assert "odd" not in json.dumps(client.read("reet://sessions"))


def test_there_is_no_other_tool(client):
    with pytest.raises(MCPError, match="There is no tool 'shell', but compress"):
        client.ask("call_tool", "shell", {})


def test_resources_hold_the_sessions(client):
    assert [str(found.uri) for found in client.ask("list_resources").resources] == ["reet://sessions"]
    templates = [found.uri_template for found in client.ask("list_resource_templates").resource_templates]
    assert templates == [f"reet://sessions/{{name}}{part}" for part in ("", "/messages", "/facts")]
    assert {"name": "kept", "uri": "reet://sessions/kept"} in client.read("reet://sessions")["sessions"]
    assert client.read("reet://sessions/kept")["messages"] == len(CHAT)
    assert client.read("reet://sessions/kept/messages") == {"messages": CHAT}
    assert "12 June 2027" in client.read("reet://sessions/kept/facts")["entities"]
    for uri in ("reet://sessions/none", "reet://sessions/..%2Fkept", "reet://sessions/kept/files", "file:///etc/hosts"):
        with pytest.raises(MCPError, match="There is no"):
            client.ask("read_resource", uri)


def test_others_are_answered_and_progress_is_told_while_much_is_read(client):
    told: list[tuple[float, str]] = []
    done: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message or ""))

    async def compress() -> None:
        result = await client.client.call_tool("compress", {"text": LONG, "budget": 50}, progress_callback=note)
        done.append("much" if not result.is_error else result.content[0].text)

    async def list_tools() -> None:
        await anyio.sleep(0.3)
        await client.client.call_tool("compress", {"text": "A little. It is read at once."})
        done.append("little")

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(compress)
            group.start_soon(list_tools)

    client.portal.call(both)
    assert done == ["little", "much"]
    assert told and [count for count, _ in told] == sorted({count for count, _ in told})
    assert told[-1][1] == f"{told[-1][0]:.0f} tokens read"


def test_a_signal_closes_the_sessions(client, folder):
    client.use("session_append", name="open", messages=CHAT)
    session = folder / "public" / "open"
    assert not (session / "states.safetensors").exists()
    os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
    for _ in range(100):
        if (session / "states.safetensors").exists():
            break
        time.sleep(0.1)
    with pytest.raises(MCPError, match="(?i)closed"):
        client.ask("call_tool", "session_restore", {"name": "open"})
    assert (session / "states.safetensors").exists()


@pytest.fixture(scope="module")
def address(folder, bundled) -> Iterator[str]:
    """Where a server with tokens serves HTTP; it ends in order when it is told to."""
    tokens = folder / "tokens"
    tokens.write_text("".join(f"{name} {token}\n" for name, token in TOKENS.items()), encoding="utf-8")
    port = str(free_port())
    options = ["--http", "--port", port, "--tokens", str(tokens), "--sessions", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command(bundled, *options), cwd=ROOT, env={**os.environ, **ENVIRONMENT}, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}/mcp"
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                httpx2.get(address)
                break
            except httpx2.TransportError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        status = process.wait(30)
    assert status == 0, (folder / "log").read_text()
    assert all(token not in (folder / "log").read_text() for token in TOKENS.values())


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nobody-0123456789abcdef"}, {"Authorization": "ann"}])
def test_nobody_is_served_over_http_without_a_token(address, header):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = httpx2.post(address, json=body, headers={**header, "Accept": "application/json, text/event-stream"})
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
    assert "result" not in answer.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_tenant_sees_none_of_another_over_http(address, folder, mode):
    name = f"of-ann-{mode}"
    with over_http(address, "ann", mode) as ann, over_http(address, "bo", mode) as bo:
        assert [tool.name for tool in ann.ask("list_tools").tools] == TOOLS
        ann.use("session_append", name=name, messages=CHAT)
        assert ann.use("session_restore", name=name)["messages"] == CHAT
        assert ann.read("reet://sessions")["sessions"][-1] == {"name": name, "uri": f"reet://sessions/{name}"}
        assert bo.read("reet://sessions") == {"sessions": []}
        for tool in ("session_restore", "session_recall", "session_delete"):
            assert "There is no session" in bo.refusal(tool, name=name)
        for part in ("", "/messages", "/facts"):
            with pytest.raises(MCPError, match="There is no session"):
                bo.ask("read_resource", f"reet://sessions/{name}{part}")
    assert (folder / "ann" / name).is_dir() and not (folder / "bo" / name).exists()


def test_an_unknown_error_is_logged_and_told_without_what_is_inside(inside, monkeypatch, caplog):
    def fail(*given: Any) -> None:
        raise RuntimeError("a secret path")

    monkeypatch.setattr(inside.answers.service, "compress", fail)
    monkeypatch.setattr(inside.answers.service, "names", fail)
    with caplog.at_level(logging.ERROR):
        assert "its log says what" in inside.refusal("compress", text="the order is abc.")
        with pytest.raises(MCPError) as error:
            inside.read("reet://sessions")
    assert "secret" not in str(error.value) and caplog.text.count("RuntimeError: a secret path") == 2


def test_a_session_that_another_server_has_open_is_told(inside, compress, tmp_path):
    inside.use("session_append", name="one", messages=CHAT)
    other = Answers(compress, Settings(sessions=tmp_path / "sessions"))
    with asking(make_server(other)) as second:
        assert "open in another process" in second.refusal("session_restore", name="one")


def test_a_damaged_session_is_told_without_its_place_and_logged_with_it(inside, tmp_path, caplog):
    broken = tmp_path / "sessions" / "public" / "broken"
    broken.mkdir(parents=True)
    (broken / "session.jsonl").write_text("no record\nno record\n", encoding="utf-8")
    told = inside.refusal("session_restore", name="broken")
    assert "cannot be opened" in told and str(tmp_path) not in told and str(broken) in caplog.text


def test_what_nobody_waits_for_is_not_read():
    read = watched(lambda rows: [len(row) for row in rows])
    reading = Reading()
    token = mcp_server._reading.set(reading)
    try:
        assert read([[1, 2], [3]]) == [2, 1] and reading.tokens == 3
        reading.wanted = False
        with pytest.raises(TooLate):
            read([[1]])
    finally:
        mcp_server._reading.reset(token)


def test_the_marker_default_of_sessions_is_in_the_schema_alone():
    assert schema_of(SessionCompress)["properties"]["markers"]["default"] is True
    assert schema_of(Compress)["properties"]["markers"]["default"] is False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--http", "--host", "0.0.0.0"], "--tokens"),
        (["--tokens", "TOKENS"], "--tokens needs --http"),
        (["--http", "--tokens", "missing"], "--tokens must be"),
        (["--tokenizer", "llama"], "--tokenizer must be NAME=ID"),
    ],
)
def test_a_command_that_cannot_be_honoured_ends_before_the_model_is_loaded(options, words, capsys, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("ann ann-0123456789abcdef\n", encoding="utf-8")
    given = [str(tokens) if option == "TOKENS" else option for option in options]
    assert cli.main(["mcp", "--model", "none", *given]) == 2
    assert words in capsys.readouterr().err


def test_without_the_library_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.delitem(sys.modules, "reet_hf.serving.mcp_server")
    monkeypatch.delattr("reet_hf.serving.mcp_server")
    assert cli.main(["mcp"]) == 2
    assert 'pip install "reet-hf[mcp]"' in capsys.readouterr().err


def test_the_package_and_its_command_do_not_import_the_library():
    modules = python_files(ROOT, "reet_hf")
    seen, waiting = set(), ["reet_hf", "reet_hf.cli"]
    while waiting:
        name = waiting.pop()
        if name in modules and name not in seen:
            seen.add(name)
            found = {target for target, at_once in imports(name, modules[name], modules) if at_once}
            assert not any(target.split(".")[0] == "mcp" for target in found), name
            waiting += found
    assert "reet_hf.serving.command" in seen and "reet_hf.serving.mcp_server" not in seen
