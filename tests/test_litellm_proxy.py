"""LiteLLM's own proxy with the callback in its configuration, between a client and a provider on loopback."""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from eval.agents.checks import problems
from eval.agents.histories import agent_run
from reet_hf.integrations.openai_format import compress_messages
from tests.upstream import Body, Reply, Upstream, chunks, completion

httpx = pytest.importorskip("httpx")
if not all(map(find_spec, ("litellm", "fastapi"))):  # importing the proxy to see whether it is there takes seconds
    pytest.skip("needs litellm[proxy]", allow_module_level=True)

ROOT = Path(__file__).resolve().parent.parent
BUDGET = 600
CONFIG = """
model_list:
  - model_name: stand-in
    litellm_params: {{model: openai/stand-in, api_base: "{url}", api_key: none, max_retries: 0}}
litellm_settings:
  callbacks: shortening.shorten
  num_retries: 0
  telemetry: false
"""
CALLBACK = f"""
from reet_hf.integrations.litellm import ReetCallback

shorten = ReetCallback(budget={BUDGET})
"""
START = "from litellm import run_server; run_server()"


def answer(body: Body) -> Reply:
    """An error whose status the last message names, a stream where one is asked for, else a whole answer."""
    said = str(body["messages"][-1]["content"])
    if said.startswith("Fail with "):
        return Reply({"error": {"message": "no such luck", "type": "refused"}}, status=int(said[-3:]))
    return Reply(chunks("It is open.")) if body.get("stream") else Reply(completion("It is open."))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(answer) as provider:
        yield provider


@pytest.fixture(scope="module")
def compressor(bundled):
    from transformers import pipeline

    return pipeline("reet-compression", model=str(bundled)).compressor


@pytest.fixture(scope="module")
def client(upstream, tmp_path_factory) -> Iterator[Any]:
    """What sends requests to the proxy, which is a process of its own."""
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "config.yaml").write_text(CONFIG.format(url=upstream.url))
    (folder / "shortening.py").write_text(CALLBACK)
    key, port = f"sk-{secrets.token_hex(32)}", free()
    settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": key, "NO_PROXY": "127.0.0.1"}
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", START, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1"]
    with (folder / "log").open("w") as log:
        proxy = subprocess.Popen([*command, "--port", port], env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        ) as made:
            wait(made, proxy, folder / "log")
            yield made
    finally:
        proxy.terminate()
        proxy.wait(30)


def free() -> str:
    """A port of this machine that nobody listens on, none that the system hands out to connections meanwhile."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return str(port)
    raise OSError("every port that was tried is taken")


def wait(client: Any, proxy: subprocess.Popen[bytes], log: Path) -> None:
    """Until the proxy answers."""
    until = time.monotonic() + 120
    while time.monotonic() < until and proxy.poll() is None:
        try:
            if client.get("/health/liveliness", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail(f"the proxy did not start:\n{log.read_text()[-4000:]}")


def post(client: Any, messages: Any, **more: Any) -> Any:
    return client.post("/v1/chat/completions", json={"model": "stand-in", "messages": messages, **more})


def test_a_request_that_fits_reaches_the_provider_as_it_is(client, upstream):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "Is the museum open?"}]},
    ]
    told = post(client, messages, temperature=0.5)
    assert told.status_code == 200 and told.json()["choices"][0]["message"]["content"] == "It is open."
    assert upstream.bodies[-1] == {"model": "stand-in", "messages": messages, "temperature": 0.5}


def test_long_requests_are_shortened_validly_many_at_a_time(client, upstream, compressor):
    runs = [agent_run(seed, 2) for seed in range(2)]
    before = len(upstream.bodies)
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda run: post(client, run.messages, tools=run.tools[:1]), runs))
    assert [each.status_code for each in told] == [200] * 2
    arrived = [said(body["messages"]) for body in upstream.bodies[before:]]
    assert len(arrived) == 2 and all(body["tools"] for body in upstream.bodies[before:])
    for run in runs:
        wanted = compress_messages(run.messages, BUDGET, compress=compressor, tools=run.tools[:1])
        assert said(wanted) in arrived and len(wanted) < len(run.messages)
        assert not problems(wanted, run.messages)


def said(messages: list[Body]) -> list[Body]:
    """Messages as LiteLLM sends them to this provider: without `None`, a developer's as the system's."""
    told = [{name: value for name, value in message.items() if value is not None} for message in messages]
    return [{**message, "role": message["role"].replace("developer", "system")} for message in told]


def test_a_stream_comes_through(client, upstream):
    body = {"model": "stand-in", "messages": agent_run(4, 3).messages, "stream": True}
    with client.stream("POST", "/v1/chat/completions", json=body) as told:
        lines = [line.removeprefix("data: ") for line in told.iter_lines() if line]
    assert told.status_code == 200 and lines[-1] == "[DONE]"
    deltas = [json.loads(line)["choices"][0]["delta"].get("content") or "" for line in lines[:-1]]
    assert "".join(deltas).strip() == "It is open." and len([delta for delta in deltas if delta]) == 3
    assert len(upstream.bodies[-1]["messages"]) < len(body["messages"]) and upstream.bodies[-1]["stream"] is True


@pytest.mark.parametrize("status", [400, 429])
def test_errors_of_the_provider_come_through(client, status):
    told = post(client, [{"role": "user", "content": f"Fail with {status}"}])
    assert told.status_code == status and "no such luck" in told.json()["error"]["message"]


def test_what_cannot_be_shortened_is_told_to_the_client_and_goes_no_further(client, upstream):
    before = len(upstream.bodies)
    told = post(client, [{"role": "poet", "content": "The harbour lights go out."}])
    assert told.status_code == 400 and "`messages[0]['role']` must be one of" in told.json()["error"]["message"]
    parameters = {"type": "object", "properties": {f"field_{n}": {"type": "string"} for n in range(200)}}
    tool = {"type": "function", "function": {"name": "fill", "description": "Fills.", "parameters": parameters}}
    told = post(client, [{"role": "user", "content": "Fill it."}], tools=[tool])
    assert told.status_code == 400 and "`budget` allows 600 tokens" in told.json()["error"]["message"]
    assert len(upstream.bodies) == before
