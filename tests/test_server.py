"""The HTTP server: each route, errors, limits, tenants, logs and metrics, over the real application."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import httpx
import pytest
from serving import TOKENS, bearer, served, serving

from reet_hf import ReetError, SessionStore, recall_tool
from reet_hf.cli import main
from reet_hf.deadlines import set_deadline
from reet_hf.errors import DeadlineError
from reet_hf.serving.app import create_app
from reet_hf.serving.command import tokenizers
from reet_hf.serving.failures import Busy
from reet_hf.serving.open_sessions import OpenSessions
from reet_hf.serving.settings import LOOPBACK, Settings, check_reach
from reet_hf.serving.tenants import Tenants, read_tenants

CHAT = [
    {"role": "user", "content": "the visa expires in june. the order is abc. when does the order expires?"},
    {"role": "assistant", "content": "the order expires in june. the visa is in june."},
]


@pytest.fixture(scope="module")
def compressor(bundled):
    from transformers import pipeline

    return pipeline("reet-compression", model=str(bundled)).compressor


def run(settings: Settings, compressor, story) -> None:
    """Tell a story to an application: `story(client)`."""

    async def told() -> None:
        async with serving(create_app(settings, compressor)) as client:
            await story(client)

    asyncio.run(told())


async def made(client: httpx.AsyncClient, name: str, messages=CHAT, **headers: str) -> None:
    """A session with messages."""
    assert (await client.post("/sessions", json={"name": name}, headers=headers)).status_code == 201
    answer = await client.post(f"/sessions/{name}/messages", json={"messages": messages}, headers=headers)
    assert answer.json()["messages"] == len(messages)


def told(found) -> str:
    """What was found, without scores, whose last digits depend on how many threads computed them."""
    return re.sub(r'"score": [\d.e-]+', "", json.dumps(found))


def test_compress_and_extract_answer_as_the_library_does(compressor, tmp_path):
    inputs = {"messages": CHAT, "query": "when does the visa expires?"}

    async def story(client):
        answer = await client.post("/compress", json={**inputs, "budget": 0.5, "markers": True, "protect": ["abc"]})
        alone = compressor.compress(inputs, budget=0.5, markers=True, protect=["abc"]).to_dict()
        got = answer.json()
        assert answer.status_code == 200 and got["text"] == alone["text"] and got["omitted"] == alone["omitted"]
        text = {"context": "Ann Lee works for Borealis Bank.", "query": None}
        for written in ("json", "records", "markdown"):
            found = await client.post("/extract", json={**text, "output_format": written})
            request = compressor.encode(__import__("reet_hf").conversation.parse_request(text).conversation)
            alike = compressor.extract(request, output_format=written)
            assert found.json()["output_format"] == written and told(found.json()["result"]) == told(alike)
        assert (await client.get("/tools/recall_context")).json() == recall_tool()

    run(Settings(sessions=tmp_path), compressor, story)


def test_a_session_grows_is_compressed_recalled_restored_and_deleted(compressor, tmp_path):
    async def story(client):
        await made(client, "trip")
        assert (await client.get("/sessions")).json() == {"sessions": ["trip"]}
        out = (await client.post("/sessions/trip/compress", json={"query": "what is the order?", "budget": 12})).json()
        assert out["tokens"]["compressed"] <= 12 and out["omitted"]
        told = (await client.post("/sessions/trip/answer", json={"text": "abc"})).json()
        assert told["turns"] == 1
        gone = out["omitted"][0]["id"]
        back = (await client.post("/sessions/trip/recall", json={"what": [gone]})).json()
        assert back["text"] and back["tokens"]["original"] == back["tokens"]["compressed"]
        told = await client.post("/sessions/trip/tools/recall_context", json={"arguments": json.dumps({"id": gone})})
        assert told.json()["content"]
        found = await client.post("/sessions/trip/extract", json={"output_format": "records"})
        assert {"entities", "facts"} <= found.json()["result"].keys()
        stable = {"budget": 400, "stable_prefix": True, "markers": True}
        first = (await client.post("/sessions/trip/compress", json=stable)).json()
        await client.post("/sessions/trip/messages", json={"messages": [{"role": "user", "content": "and the visa?"}]})
        again = (await client.post("/sessions/trip/compress", json=stable)).json()
        assert again["messages"][: len(first["messages"])] == first["messages"] and "stability" in again
        assert (await client.get("/sessions/trip/messages")).json()["messages"][:2] == CHAT
        assert (await client.get("/sessions/trip")).json()["messages"] == 3
        assert (await client.delete("/sessions/trip")).status_code == 204
        assert (await client.get("/sessions/trip")).status_code == 404
        named = (await client.post("/sessions", json={})).json()["name"]
        assert (await client.get("/sessions")).json() == {"sessions": [named]}

    run(Settings(sessions=tmp_path), compressor, story)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "words"),
    [
        ("POST", "/compress", {"context": "a b c", "budget": 0}, 422, "invalid_request", "`budget`"),
        ("POST", "/compress", {"context": "a b", "messages": CHAT}, 422, "invalid_request", "exactly one"),
        ("POST", "/compress", {"context": "a b", "colour": 1}, 422, "invalid_request", "colour"),
        ("POST", "/compress", {"context": "a b", "markers": "yes"}, 422, "invalid_request", "markers"),
        ("POST", "/compress", {"context": "a b", "tokenizer": "/etc"}, 422, "invalid_request", "`tokenizer`"),
        ("POST", "/compress", {"context": "a b", "protect": ["("]}, 422, "invalid_request", "`protect`"),
        ("POST", "/compress", '{"context": NaN}', 400, "bad_request", "JSON"),
        ("POST", "/compress", '{"context": "\\ud800"}', 422, "invalid_request", "surrogate"),
        ("POST", "/compress", "[" * 100_000, 400, "bad_request", "body"),
        ("POST", "/extract", {"context": "a", "output_format": "xml"}, 422, "invalid_request", "output_format"),
        ("POST", "/sessions", {"name": "../up"}, 422, "invalid_request", "name"),
        ("POST", "/sessions", {"name": "a..b"}, 422, "invalid_request", "`name`"),
        ("POST", "/sessions", {"name": "there"}, 409, "conflict", "taken"),
        ("POST", "/sessions/none/compress", {}, 404, "no_such_session", "none"),
        ("DELETE", "/sessions/none", None, 404, "no_such_session", "none"),
        ("POST", "/sessions/there/answer", {"text": "June."}, 409, "conflict", "query"),
        ("POST", "/sessions/there/recall", {"what": "abcdef"}, 422, "invalid_request", "abcdef"),
        ("POST", "/sessions/there/messages", {"messages": [{"role": "king"}]}, 422, "invalid_request", "king"),
        ("POST", "/sessions/there/messages", {"messages": CHAT, "position": 7}, 409, "conflict", "`position` is 7"),
        ("GET", "/nowhere", None, 404, "not_found", ""),
        ("PUT", "/compress", {}, 405, "method_not_allowed", ""),
    ],
)
def test_what_cannot_be_honoured_is_told_in_one_form(compressor, tmp_path, method, path, body, status, code, words):
    async def story(client):
        await made(client, "there")
        given = {"content": body, "headers": {"content-type": "application/json"}}
        answer = await client.request(method, path, **(given if isinstance(body, str) else {"json": body}))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (status, code) and words in error["message"]
        assert str(tmp_path) not in answer.text
        assert (await client.get("/sessions/there")).json()["messages"] == len(CHAT)

    run(Settings(sessions=tmp_path), compressor, story)


def test_a_wrong_method_is_told_the_right_ones(compressor, tmp_path):
    async def story(client):
        for path, methods in [
            ("/sessions/a", "DELETE, GET"),
            ("/sessions/a/messages", "GET, POST"),
            ("/sessions", "GET, POST"),
        ]:
            told = await client.put(path, json={})
            assert told.status_code == 405 and told.headers["allow"] == methods

    run(Settings(sessions=tmp_path), compressor, story)


def test_the_smallest_budget_that_would_do_is_told(compressor, tmp_path):
    async def story(client):
        body = {"messages": CHAT, "budget": 3, "protect": ["user"]}
        error = (await client.post("/compress", json=body)).json()["error"]
        assert error["floor"] > 3
        assert (await client.post("/compress", json={**body, "budget": error["floor"]})).status_code == 200

    run(Settings(sessions=tmp_path), compressor, story)


def test_appending_twice_by_mistake_is_noticed(compressor, tmp_path):
    async def story(client):
        await made(client, "trip")
        body = {"messages": [{"role": "user", "content": "thanks"}], "position": 2}
        assert (await client.post("/sessions/trip/messages", json=body)).json()["messages"] == 3
        assert (await client.post("/sessions/trip/messages", json=body)).status_code == 409
        assert (await client.get("/sessions/trip")).json()["messages"] == 3

    run(Settings(sessions=tmp_path), compressor, story)


def test_tenants_see_their_own_sessions_only(compressor, tmp_path):
    tenants = Tenants(TOKENS.items())

    async def story(client):
        await made(client, "same", **bearer("ann"))
        assert (await client.get("/sessions", headers=bearer("bo"))).json() == {"sessions": []}
        for method, path, body in [
            ("GET", "/sessions/same", None),
            ("GET", "/sessions/same/messages", None),
            ("POST", "/sessions/same/messages", {"messages": CHAT}),
            ("POST", "/sessions/same/compress", {}),
            ("POST", "/sessions/same/recall", {"what": "the visa"}),
            ("POST", "/sessions/same/extract", {}),
            ("DELETE", "/sessions/same", None),
        ]:
            told = await client.request(method, path, json=body, headers=bearer("bo"))
            assert told.status_code == 404, path
        await made(client, "same", CHAT[:1], **bearer("bo"))
        assert (await client.get("/sessions/same", headers=bearer("ann"))).json()["messages"] == 2
        for headers in (
            {},
            {"Authorization": "Bearer wrong-0123456789abcdef"},
            {"Authorization": "Basic YW5uOmFubg=="},
        ):
            told = await client.get("/sessions", headers=headers)
            assert told.status_code == 401 and told.headers["www-authenticate"].startswith("Bearer")
        assert (await client.get("/health/ready")).status_code == 200

    run(Settings(sessions=tmp_path, tenants=tenants), compressor, story)


def test_who_has_no_token_is_refused_before_the_body_is_read(compressor, tmp_path):
    async def story(client):
        told = await client.post("/compress", content="no JSON", headers={"content-type": "application/json"})
        assert told.status_code == 401
        assert (await client.get("/openapi.json")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200

    run(Settings(sessions=tmp_path, tenants=Tenants(TOKENS.items())), compressor, story)


def test_a_server_for_this_machine_is_asked_by_its_own_names_only(compressor, tmp_path):
    async def story(client):
        for host, status in [("127.0.0.1:8000", 200), ("localhost", 200), ("evil.example", 400)]:
            assert (await client.get("/sessions", headers={"host": host})).status_code == status

    run(Settings(sessions=tmp_path, hosts=LOOPBACK), compressor, story)


def test_work_without_the_model_ends_in_time_too(compressor, tmp_path):
    many = {"messages": [{"role": "user", "content": "hi"}] * 40_000, "budget": 0.5}

    async def story(client):
        started = time.monotonic()
        told = await client.post("/compress", json=many)
        assert told.status_code == 503 and told.json()["error"]["code"] == "timeout"
        assert time.monotonic() - started < 12
        deadline = time.monotonic() + 30
        while "reet_requests_pending 0.0" not in (await client.get("/metrics")).text:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        assert (await client.post("/compress", json={"context": "a", "protect": ["a"] * 65})).status_code == 422
        assert (await client.post("/compress", json={"context": "a b", "budget": 10**400})).status_code == 422

    run(Settings(sessions=tmp_path, seconds=1.5), compressor, story)


def test_a_session_in_use_keeps_no_thread_from_others(compressor, tmp_path):
    held = OpenSessions(tmp_path, compressor)
    held.create("public", "s")
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with held.use("public", "s"):
            inside.set()
            go_on.wait(20)

    def late() -> None:
        set_deadline(time.monotonic() + 0.3)
        with held.use("public", "s"):
            pass

    holding = threading.Thread(target=hold)
    holding.start()
    inside.wait()
    with ThreadPoolExecutor(12) as pool:
        errors = [task.exception() for task in [pool.submit(copy_context().run, late) for _ in range(12)]]
    assert {type(error) for error in errors} == {DeadlineError, Busy}
    go_on.set()
    holding.join()
    with held.use("public", "s"):
        pass
    held.close()


def test_a_session_that_takes_long_to_open_is_there_for_the_next_one(compressor, tmp_path, monkeypatch):
    with SessionStore(tmp_path / "public", compressor).open("s") as session:
        session.append(
            [{"role": "user", "content": f"The visa of person {n} expires in June. " * 30} for n in range(9)]
        )
    (tmp_path / "public" / "s" / "states.safetensors").unlink()
    read = compressor.scorer.read_windows
    monkeypatch.setattr(compressor.scorer, "reader", lambda rows: (time.sleep(0.3), read(rows))[1])

    async def story(client):
        first = await client.get("/sessions/s")
        assert first.status_code == 503 and first.json()["error"]["code"] == "timeout"
        deadline = time.monotonic() + 60
        while (told := await client.get("/sessions/s")).status_code == 503:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        assert told.json()["messages"] == 9

    run(Settings(sessions=tmp_path, seconds=0.5), compressor, story)


def test_a_tenant_keeps_as_many_sessions_as_it_may(compressor, tmp_path):
    async def story(client):
        assert (await client.post("/sessions", json={"name": "a"})).status_code == 201
        told = await client.post("/sessions", json={"name": "b"})
        assert told.status_code == 403 and told.json()["error"]["code"] == "quota"
        assert (await client.get("/sessions")).json() == {"sessions": ["a"]}

    run(Settings(sessions=tmp_path, sessions_each=1), compressor, story)


def test_bodies_have_a_limit_with_and_without_a_length(compressor, tmp_path):
    async def pieces():
        for _ in range(30):
            yield b" " * 100

    async def story(client):
        told = await client.post("/compress", json={"context": "x" * 2000})
        assert told.status_code == 413 and "1000" in told.json()["error"]["message"]
        told = await client.post("/compress", content=pieces(), headers={"content-type": "application/json"})
        assert told.status_code == 413
        assert (await client.post("/compress", json={"context": "short"})).status_code == 200

    run(Settings(sessions=tmp_path, body_bytes=1000), compressor, story)


def test_a_body_that_does_not_come_is_given_up(compressor, tmp_path):
    async def slow():
        yield b'{"context": '
        await asyncio.sleep(30)
        yield b'"x"}'

    async def story(client):
        started = time.monotonic()
        told = await client.post("/compress", content=slow(), headers={"content-type": "application/json"})
        assert told.status_code == 408 and time.monotonic() - started < 10

    run(Settings(sessions=tmp_path, seconds=1.0), compressor, story)


def test_work_that_takes_too_long_ends_and_leaves_the_session_sound(compressor, tmp_path, monkeypatch):
    long = [{"role": "user", "content": f"The visa of person {n} expires in {n} days. " * 40} for n in range(120)]

    async def story(client):
        await made(client, "trip")
        started = time.monotonic()
        told = await client.post("/sessions/trip/messages", json={"messages": long})
        assert told.status_code == 503 and told.json()["error"]["code"] == "timeout" and told.headers["retry-after"]
        assert time.monotonic() - started < 15
        while (told := await client.get("/sessions/trip")).status_code == 503:
            await asyncio.sleep(0.2)
        assert told.json()["messages"] == len(CHAT)
        assert (await client.post("/sessions/trip/compress", json={"budget": 0.5})).status_code == 200

    read = compressor.scorer.read_windows
    monkeypatch.setattr(compressor.scorer, "reader", lambda rows: (time.sleep(0.2), read(rows))[1])
    run(Settings(sessions=tmp_path, seconds=1.5), compressor, story)


def test_more_requests_than_may_wait_are_told_to_come_again(compressor, tmp_path, monkeypatch):
    gate = threading.Event()
    read = compressor.scorer.read_windows
    monkeypatch.setattr(compressor.scorer, "reader", lambda rows: (gate.wait(20), read(rows))[1])

    async def story(client):
        async def ask():
            return await client.post("/compress", json={"context": "the visa expires. " * 3})

        asked = [asyncio.create_task(ask()) for _ in range(5)]
        await asyncio.sleep(0.5)
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/health/live")).status_code == 200
        gate.set()
        answers = [await task for task in asked]
        busy = [answer for answer in answers if answer.status_code == 503]
        assert len(busy) == 2 and all(answer.headers["retry-after"] == "1" for answer in busy)
        assert all(answer.status_code == 200 for answer in answers if answer not in busy)
        assert (await client.get("/health/ready")).status_code == 200

    gate.set()  # for the first request, which the server makes itself
    app = create_app(Settings(sessions=tmp_path, threads=1, waiting=2), compressor)

    async def told() -> None:
        async with serving(app) as client:
            gate.clear()
            await story(client)

    asyncio.run(told())


def test_requests_at_the_same_time_are_read_together_and_answered_as_alone(compressor, tmp_path):
    texts = [f"The visa of Ann {n} expires on {n} June 2027. The order KX-{n} is late. It rains." for n in range(24)]
    inputs = [{"context": text, "query": "When does the visa expire?", "budget": 0.4} for text in texts]

    async def story(client):
        got = await asyncio.gather(*(client.post("/compress", json=each) for each in inputs))
        assert [answer.json()["text"] for answer in got] == alone
        metrics = (await client.get("/metrics")).text
        numbers = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
        assert float(numbers["reet_encoder_requests_sum"]) == len(texts) + 1
        assert float(numbers["reet_encoder_requests_count"]) < len(texts) + 1
        assert float(numbers['reet_requests_total{method="POST",route="/compress",status="200"}']) == len(texts)
        assert float(numbers['reet_tokens_total{route="/compress",which="original"}']) > 24 * 20

    alone = [compressor.compress({k: each[k] for k in ("context", "query")}, budget=0.4).text for each in inputs]
    run(Settings(sessions=tmp_path, threads=4), compressor, story)
    assert compressor.scorer.reader == compressor.scorer.read_windows


def test_logs_tell_numbers_and_no_contents(compressor, tmp_path, caplog):
    secret = "My password is swordfish-4471."

    async def story(client):
        with caplog.at_level(logging.DEBUG):
            await made(client, "diary-of-ann", [{"role": "user", "content": secret}])
            await client.post("/sessions/diary-of-ann/compress", json={"query": "swordfish?"})
            await client.post("/compress", json={"context": secret, "colour": secret})
            await client.post("/compress", content=secret, headers={"content-type": "application/json"})
        told = await client.get("/health/live", headers={"x-request-id": "mine-1"})
        assert told.headers["x-request-id"] == "mine-1"

    run(Settings(sessions=tmp_path), compressor, story)
    lines = [record for record in caplog.records if record.name == "reet_hf.access"]
    assert {(line.route, line.status) for line in lines} >= {("/sessions/{name}/compress", 200), ("/compress", 422)}
    assert all(line.tenant == "public" for line in lines if line.status == 200)
    own = [record for record in caplog.records if record.name.startswith("reet_hf")]
    assert own and not any("swordfish" in str(vars(record)) for record in own)
    assert not any("diary-of-ann" in str(vars(record)) for record in lines)


def test_spans_tell_what_was_done(compressor, tmp_path):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)  # once in a process
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def story(client):
        await client.post("/compress", json={"context": "the visa"}, headers={"traceparent": parent})
        await client.get("/health/live")

    run(Settings(sessions=tmp_path), compressor, story)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"POST /compress", "reet.compress"}
    assert format(spans["POST /compress"].context.trace_id, "032x") == parent.split("-")[1]
    assert spans["reet.compress"].parent.span_id == spans["POST /compress"].context.span_id


def test_idle_sessions_leave_memory_and_come_back(compressor, tmp_path):
    held = OpenSessions(tmp_path, compressor, most=2, most_tokens=10_000)
    for number in range(5):
        held.create("public", f"s{number}")
        with held.use("public", f"s{number}") as session:
            session.append(CHAT)
        assert len(held) <= 2
    assert held.tokens == 2 * session.cached_tokens > 0
    with held.use("public", "s0") as session:
        assert session.restore() == CHAT
        assert session.cached_tokens > 0
    held.most_tokens = 0
    with held.use("public", "s1") as session:
        assert len(held) >= 1
    assert len(held) == 0 and held.tokens == 0
    held.close()


def test_one_session_is_used_by_one_thread_at_a_time(compressor, tmp_path):
    held = OpenSessions(tmp_path, compressor, most=1)
    held.create("public", "s")
    inside, most = [], []

    def work(number: int) -> None:
        with held.use("public", "s") as session:
            inside.append(number)
            most.append(len(inside))
            session.append({"role": "user", "content": f"message {number}"})
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with held.use("public", "s") as session:
        assert sorted(m["content"] for m in session.restore()) == sorted(f"message {n}" for n in range(8))
    assert max(most) == 1
    held.close()


def test_tokens_are_compared_whole_and_files_are_checked(tmp_path):
    tenants = Tenants([*TOKENS.items(), ("ann", "ann-second-0123456789")])
    assert tenants.of(f"Bearer {TOKENS['ann']}") == tenants.of("bearer ann-second-0123456789") == "ann"
    assert tenants.of(f"Bearer {TOKENS['ann'][:-1]}") is None and tenants.of(None) is None
    assert tenants.of(TOKENS["ann"]) is None
    assert Tenants().of(None) == "public"
    file = tmp_path / "tokens"
    file.write_text(f"# people\nann {TOKENS['ann']}\n\nbo {TOKENS['bo']}\n")
    assert read_tenants(file).of(f"Bearer {TOKENS['bo']}") == "bo"
    for text, words in [
        ("", "no token"),
        ("ann\n", "Line 1"),
        ("ann short\n", "at least 16"),
        (f"../x {TOKENS['ann']}\n", "tenant's name"),
        (f"ann {TOKENS['ann']}\nbo {TOKENS['ann']}\n", "another"),
    ]:
        file.write_text(text)
        with pytest.raises(ReetError, match=words):
            read_tenants(file)
    with pytest.raises(ReetError, match="readable"):
        read_tenants(tmp_path / "none")


def test_settings_are_checked_before_anything_is_loaded(capsys, monkeypatch):
    for given, words in [
        ({"threads": 0}, "`threads`"),
        ({"seconds": 0.0}, "`seconds`"),
        ({"upstream": "api.openai.com"}, "`upstream`"),
    ]:
        with pytest.raises(ReetError, match=words):
            Settings(**given)
    with pytest.raises(ReetError, match="--tokens"):
        check_reach("0.0.0.0", Tenants(), False)
    check_reach("0.0.0.0", Tenants(TOKENS.items()), False)
    check_reach("0.0.0.0", Tenants(), True)
    assert tokenizers(["a=b/c=d"]) == {"a": "b/c=d"}
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    for argv, words in [
        (["--host", "0.0.0.0"], "--tokens"),
        (["--tokenizer", "llama"], "NAME=ID"),
        (["--upstream-key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY"),
        (["--tokens", "/no/such/file"], "--tokens"),
    ]:
        assert main(["serve", *argv]) == 2
        assert words in capsys.readouterr().err


def check_that_what_is_under_way_is_answered(address, process):
    """A request that came before the end is answered before it."""
    text = {"context": "The visa of Ann Lee expires in June, and the order is late. " * 400, "budget": 0.3}
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(httpx.post(f"{address}/compress", json=text, timeout=60)))
    asking.start()
    time.sleep(0.5)
    process.terminate()
    asking.join()
    assert answers[0].status_code == 200
    assert process.wait(30) == 0


def test_served_sessions_survive_a_restart_and_a_kill_and_requests_under_way_are_answered(tmp_path):
    folder = ("--sessions", str(tmp_path / "sessions"))
    body = {"query": "when does the visa expires?", "budget": 14}
    with served(tmp_path, *folder) as (address, process):
        httpx.post(f"{address}/sessions", json={"name": "trip"}).raise_for_status()
        httpx.post(f"{address}/sessions/trip/messages", json={"messages": CHAT}).raise_for_status()
        first = httpx.post(f"{address}/sessions/trip/compress", json=body).json()
        held = httpx.stream("POST", f"{address}/compress", json={"context": "the visa. " * 3000})
        process.terminate()
        assert process.wait(30) == 0
        del held
    assert (Path(tmp_path) / "sessions" / "public" / "trip" / "states.safetensors").is_file()
    with served(tmp_path, *folder) as (address, process):
        assert httpx.get(f"{address}/sessions/trip").json()["turns"] == 1
        gone = first["omitted"][0]["id"]
        assert httpx.post(f"{address}/sessions/trip/recall", json={"what": gone}).json()["text"]
        assert httpx.get(f"{address}/sessions/trip/messages").json()["messages"] == CHAT
        httpx.post(f"{address}/sessions/trip/messages", json={"messages": CHAT}).raise_for_status()
        process.kill()
        process.wait(30)
    with served(tmp_path, *folder) as (address, process):
        assert httpx.get(f"{address}/sessions/trip").json()["messages"] == 4
        check_that_what_is_under_way_is_answered(address, process)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert any(line.get("route") == "/sessions/{name}/compress" and line["status"] == 200 for line in lines)
