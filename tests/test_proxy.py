"""The proxy for chat requests, before a provider on loopback and with OpenAI's own client."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from serving import TOKENS, bearer, serving
from upstream import Reply, Upstream, chunks, completion

from eval.agents.checks import problems
from eval.agents.histories import agent_run
from reet_hf.serving.app import create_app
from reet_hf.serving.settings import Settings
from reet_hf.serving.tenants import Tenants

ASK = "/v1/chat/completions"


@pytest.fixture(scope="module")
def compressor(bundled):
    from transformers import pipeline

    return pipeline("reet-compression", model=str(bundled)).compressor


def run(settings: Settings, compressor, story) -> None:
    async def told() -> None:
        app = create_app(settings, compressor)
        async with serving(app) as client:
            await story(client, app)

    asyncio.run(told())


def long_chat(turns: int = 30) -> list[dict]:
    """A chat whose second message holds the booking number, and much else."""
    messages = [
        {"role": "system", "content": "You plan trips. Never book without asking."},
        {"role": "user", "content": "The booking number of my flight is KX-4471, please note it."},
        {"role": "assistant", "content": "Noted."},
    ]
    for number in range(turns):
        said = f"Day {number} could be spent at a museum, in a park, or with a walk along the harbour and a late lunch."
        messages += [{"role": "user", "content": f"What about day {number}?"}, {"role": "assistant", "content": said}]
    return [*messages, {"role": "user", "content": "What is the booking number of my flight?"}]


def test_messages_are_shortened_and_the_answer_comes_back(compressor, tmp_path):
    body = {"model": "stand-in", "messages": long_chat(), "temperature": 0.0, "metadata": {"run": "1"}}

    async def story(client, app):
        told = await client.post(ASK, json=body, headers={"authorization": "Bearer theirs", "x-reet-budget": "300"})
        assert told.status_code == 200 and told.json() == completion("KX-4471.")
        assert told.headers["x-provider"] == "loopback" and told.headers["x-request-id"]
        (got,) = upstream.received
        assert got.headers["authorization"] == "Bearer theirs" and got.path == ASK
        assert {**got.body, "messages": 0} == {**body, "messages": 0}
        sent = got.body["messages"]
        assert any("KX-4471" in message["content"] for message in sent) and sent[-1] == body["messages"][-1]
        assert sent[0] == body["messages"][0] and not problems(sent, body["messages"])
        counts = {name: told.headers[f"x-reet-{name}"] for name in ("original", "sent", "budget", "counter")}
        assert int(counts["sent"]) <= int(counts["budget"]) == 300 < int(counts["original"])
        assert counts["counter"] == "reet"
        whole = await client.post(ASK, json=body)
        assert upstream.bodies[-1] == body and whole.headers["x-reet-sent"] == whole.headers["x-reet-original"]
        assert (await client.get("/v1/models")).json()["data"][0]["id"] == "stand-in"

    with Upstream(lambda _: Reply(completion("KX-4471."), headers={"x-provider": "loopback"})) as upstream:
        run(Settings(sessions=tmp_path, upstream=upstream.url, budget=8000), compressor, story)


def test_streams_come_piece_by_piece(compressor, tmp_path):
    """Over a socket: what stands in for one would gather the pieces."""
    import uvicorn
    from openai import OpenAI
    from serving import free_port

    def story(address: str) -> None:
        client = OpenAI(base_url=f"{address}/v1", api_key="theirs", max_retries=0)
        stream = client.chat.completions.create(model="stand-in", messages=long_chat(), stream=True)
        assert "".join(event.choices[0].delta.content or "" for event in stream).split() == answer.split()
        assert upstream.bodies[-1]["stream"] is True

    answer = "The number is KX-4471 as you told me at first"

    with Upstream(lambda _: Reply(chunks(answer), delay=0.05)) as upstream:
        port = free_port()
        app = create_app(Settings(sessions=tmp_path, upstream=upstream.url, budget=300), compressor)
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))

        async def told() -> None:
            serve = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.05)
            async with httpx.AsyncClient() as client:
                first, count = 0.0, 0
                body = {"model": "m", "messages": long_chat(), "stream": True}
                started = asyncio.get_running_loop().time()
                async with client.stream("POST", f"http://127.0.0.1:{port}{ASK}", json=body) as pieces:
                    assert int(pieces.headers["x-reet-sent"]) <= 300
                    async for _ in pieces.aiter_bytes():
                        count += 1
                        first = first or asyncio.get_running_loop().time() - started
                last = asyncio.get_running_loop().time() - started
                assert count > 5 and last - first > 0.3
            await asyncio.to_thread(story, f"http://127.0.0.1:{port}")
            server.should_exit = True
            await serve

        asyncio.run(told())


def test_tool_calls_go_there_and_back(compressor, tmp_path):
    runs = [agent_run(seed, 8) for seed in range(3)]
    call = {"id": "c9", "name": "list_orders", "arguments": {"limit": 5}}

    async def story(client, app):
        for each in runs:
            body = {"model": "stand-in", "messages": each.messages, "tools": each.tools, "tool_choice": "auto"}
            told = await client.post(ASK, json=body, headers={"x-reet-budget": "1200"})
            assert told.status_code == 200, told.text
            assert told.json()["choices"][0]["message"]["tool_calls"][0]["id"] == "c9"
            sent = upstream.bodies[-1]
            assert sent["tools"] == each.tools and sent["tool_choice"] == "auto"
            assert not problems(sent["messages"], each.messages)
            assert int(told.headers["x-reet-sent"]) <= 1200

    with Upstream(lambda _: Reply(completion(None, [call]))) as upstream:
        run(Settings(sessions=tmp_path, upstream=upstream.url), compressor, story)


@pytest.mark.parametrize(("status", "headers"), [(429, {"retry-after": "7"}), (401, {}), (500, {}), (400, {})])
def test_errors_of_the_provider_pass_as_they_are(compressor, tmp_path, status, headers):
    error = {"error": {"message": "No more.", "type": "insufficient_quota", "code": "quota"}}

    async def story(client, app):
        told = await client.post(ASK, json={"model": "m", "messages": long_chat(2)})
        assert told.status_code == status and told.json() == error
        assert {name: told.headers[name] for name in headers} == headers

    with Upstream(lambda _: Reply(error, status, headers=headers)) as upstream:
        run(Settings(sessions=tmp_path, upstream=upstream.url), compressor, story)


def test_a_provider_that_is_away_slow_or_breaks_off_is_told(compressor, tmp_path):
    body = {"model": "m", "messages": long_chat(2)}
    replies = iter([Reply(completion("late"), delay=3), Reply(chunks("one two"), cut=True)])

    async def story(client, app):
        told = await client.post(ASK, json=body)
        assert told.status_code == 504 and told.json()["error"]["code"] == "upstream_timeout"
        told = await client.post(ASK, json={**body, "stream": True})
        events = [line.removeprefix("data: ") for line in told.text.splitlines() if line]
        assert json.loads(events[-1])["error"]["code"] == "upstream_broken"
        app.state.settings.__dict__["upstream"] = "http://127.0.0.1:9/v1"
        told = await client.post(ASK, json=body)
        assert told.status_code == 502 and told.json()["error"]["code"] == "upstream_unreachable"

    with Upstream(lambda _: next(replies)) as upstream:
        run(Settings(sessions=tmp_path, upstream=upstream.url, upstream_seconds=1.0), compressor, story)


def test_requests_that_cannot_be_honoured_never_reach_the_provider(compressor, tmp_path):
    async def story(client, app):
        for body, headers in [
            ({"model": "m", "messages": []}, {}),
            ({"messages": long_chat(1)}, {}),
            ({"model": "m", "messages": [{"role": "king", "content": "x"}]}, {}),
            ({"model": "m", "messages": long_chat(9)}, {"x-reet-budget": "0"}),
            ({"model": "m", "messages": long_chat(9)}, {"x-reet-budget": "many"}),
            ({"model": "m", "messages": long_chat(1)}, {"x-reet-session": "../x"}),
        ]:
            told = await client.post(ASK, json=body, headers=headers)
            assert told.status_code == 422 and told.json()["error"]["type"] == "invalid_request_error", body
        assert upstream.received == []

    with Upstream(lambda _: Reply(completion("no"))) as upstream:
        run(Settings(sessions=tmp_path, upstream=upstream.url), compressor, story)


def test_tokens_of_ours_are_not_shown_to_the_provider(compressor, tmp_path):
    body = {"model": "m", "messages": long_chat(1)}

    async def with_key(client, app):
        assert (await client.post(ASK, json=body)).status_code == 401
        assert (await client.post(ASK, json=body, headers=bearer("ann"))).status_code == 200

    with Upstream(lambda _: Reply(completion("yes"))) as upstream:
        settings = {"sessions": tmp_path, "upstream": upstream.url, "tenants": Tenants(TOKENS.items())}
        run(Settings(**settings, upstream_key="sk-provider"), compressor, with_key)
        run(Settings(**settings), compressor, with_key)
        assert [each.headers.get("authorization") for each in upstream.received] == ["Bearer sk-provider", None]
        assert "sk-provider" not in repr(Settings(**settings, upstream_key="sk-provider"))


def test_in_a_session_what_was_sent_stays_as_it_is(compressor, tmp_path):
    async def story(client, app):
        headers, messages = {"x-reet-session": "trip", "x-reet-budget": "300"}, long_chat(2)
        for number in range(12):
            told = await client.post(ASK, json={"model": "m", "messages": messages}, headers=headers)
            assert told.headers["x-reet-session"] == ("continued" if number else "started")
            assert int(told.headers["x-reet-sent"]) <= 300
            answer = f"Then day {number} it is, with a walk along the harbour, a museum and an early dinner at seven."
            messages = [*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": "And then?"}]
        sent = [body["messages"] for body in upstream.bodies]
        same = [now[: len(before)] == before for before, now in zip(sent, sent[1:], strict=False)]
        assert sum(same) >= 8 and not all(same)
        kept = (await client.get("/sessions/chat.trip/messages")).json()["messages"]
        assert kept == messages[:-2]
        again = await client.post(ASK, json={"model": "m", "messages": messages[:-4]}, headers=headers)
        assert again.headers["x-reet-session"] == "apart" and int(again.headers["x-reet-sent"]) <= 300
        assert (await client.get("/sessions/chat.trip/messages")).json()["messages"] == kept
        edited = [*messages[:3], {"role": "user", "content": "Forget that. Where is Oslo?"}]
        told = await client.post(ASK, json={"model": "m", "messages": edited}, headers=headers)
        assert told.headers["x-reet-session"] == "started" and upstream.bodies[-1]["messages"] == edited

    with Upstream(lambda _: Reply(completion("yes"))) as upstream:
        run(Settings(sessions=tmp_path, upstream=upstream.url), compressor, story)


def test_tokens_are_counted_as_the_model_does(compressor, bundled, tmp_path, monkeypatch):
    asked = []

    def counter_of(name):
        asked.append(name)
        return compressor.counter if name != "o200k_base" else failing()

    def failing():
        from reet_hf import ReetError

        raise ReetError("no network")

    monkeypatch.setattr("reet_hf.serving.service.counter_of", counter_of)

    async def story(client, app):
        for model in ("gpt-4o", "gpt-4o-mini", "gpt-4", "ours", "/etc/passwd"):
            told = await client.post(ASK, json={"model": model, "messages": long_chat(1)})
            assert told.status_code == 200 and told.headers["x-reet-counter"]
        assert asked == [str(bundled), "o200k_base", "cl100k_base"]
        told = await client.post("/compress", json={"context": "a b", "tokenizer": "gpt-4o"})
        assert told.status_code == 422 and "no network" in told.json()["error"]["message"]

    with Upstream(lambda _: Reply(completion("yes"))) as upstream:
        settings = Settings(sessions=tmp_path, upstream=upstream.url, tokenizers={"ours": str(bundled)})
        run(settings, compressor, story)


def test_a_chat_never_touches_sessions_that_were_made_otherwise(compressor, tmp_path):
    async def story(client, app):
        await client.post("/sessions", json={"name": "trip"})
        await client.post("/sessions/trip/messages", json={"messages": long_chat(1)})
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
        assert (await client.post(ASK, json=body, headers={"x-reet-session": "trip"})).status_code == 200
        assert (await client.get("/sessions/trip/messages")).json()["messages"] == long_chat(1)

    with Upstream(lambda _: Reply(completion("yes"))) as upstream:
        run(Settings(sessions=tmp_path, upstream=upstream.url), compressor, story)


def test_what_the_provider_sets_for_one_client_is_not_sent_for_another(compressor, tmp_path):
    async def story(client, app):
        body = {"model": "m", "messages": long_chat(1)}
        theirs = {"openai-organization": "org-1", "idempotency-key": "k", "cookie": "mine=1"}
        for tenant in ("ann", "bo"):
            told = await client.post(ASK, json=body, headers={**bearer(tenant), **theirs})
            assert "set-cookie" not in told.headers
        first, second = (each.headers for each in upstream.received)
        for headers in (first, second):
            assert "cookie" not in headers and "openai-organization" not in headers
            assert headers["accept-encoding"] == "identity"
        assert first["idempotency-key"] != second["idempotency-key"]

    with Upstream(lambda _: Reply(completion("yes"), headers={"set-cookie": "sid=1; Path=/"})) as upstream:
        settings = Settings(
            sessions=tmp_path, upstream=f"{upstream.url}/", upstream_key="sk", tenants=Tenants(TOKENS.items())
        )
        run(settings, compressor, story)


def test_a_client_that_leaves_ends_the_request_to_the_provider(compressor, tmp_path):
    """Asked as a server asks an application: the body, then word that the client has gone."""
    left = []

    async def story(client, app):
        body = json.dumps({"model": "m", "messages": long_chat(1)}).encode()
        events = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]
        sent = []

        async def receive():
            if len(events) == 1:
                await asyncio.sleep(0.3)
            return events.pop(0)

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": ASK,
            "raw_path": ASK.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"content-type", b"application/json"), (b"host", b"reet")],
            "client": ("127.0.0.1", 1),
            "server": ("reet", 80),
        }
        started = asyncio.get_running_loop().time()
        await app(scope, receive, send)
        left.append(asyncio.get_running_loop().time() - started)
        assert sent[0]["status"] == 499

    with Upstream(lambda _: Reply(completion("late"), delay=5)) as upstream:
        run(Settings(sessions=tmp_path, upstream=upstream.url), compressor, story)
    assert left[0] < 3
