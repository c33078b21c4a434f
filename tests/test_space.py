"""The demo page: its functions, and the running app as a client sees it."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from html import unescape
from types import ModuleType

import pytest
from conftest import ROOT

from reet_hf import ReetError
from reet_hf.conversation import parse_request

SPACE = ROOT / "spaces" / "reet-demo"
MESSAGES = [
    {"role": "user", "content": 'My order is B-77. <script>alert("1")</script> It came\nlate & cost {{ 5 }} or ${5}.'},
    {"role": "assistant", "name": "Ana <b>", "content": "The visa expires in June. The order expires in May."},
    {"role": "user", "content": "When does the visa expire?"},
]
TOOL_USE = [
    {"role": "user", "content": "When does the order expire?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"order": "<7>"}'}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": '{"expires": "june"}'},
]


@pytest.fixture(scope="module")
def app(tiny_folder) -> ModuleType:
    """The Space's script as a module that loads the tiny model."""
    patch = pytest.MonkeyPatch()
    patch.setenv("REET_MODEL", str(tiny_folder))
    patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    spec = importlib.util.spec_from_file_location("reet_demo", SPACE / "app.py")
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, "reet_demo", module)
    spec.loader.exec_module(module)
    yield module
    patch.undo()


@pytest.fixture(scope="module")
def client(app):
    """A client of the app, which listens on loopback for as long as this module's tests run."""
    from gradio_client import Client

    _, url, _ = app.demo.launch(
        prevent_thread_lock=True, server_name="127.0.0.1", quiet=True, ssr_mode=False, **app.LOOK
    )
    yield Client(url, verbose=False)
    app.demo.close(verbose=False)


def displayed(html: str) -> list[str]:
    """The text of each message as the page shows it."""
    return [unescape(re.sub("<[^>]*>", "", said)) for said in re.findall(r'<div class="said">(.*?)</div>', html, re.S)]


def kept(html: str) -> list[list[str]]:
    """The kept pieces of each message as the page shows them."""
    turns = re.findall(r'<div class="said">(.*?)</div>', html, re.S)
    return [[unescape(piece) for piece in re.findall("<mark[^>]*>(.*?)</mark>", said, re.S)] for said in turns]


def texts_of(inputs) -> list[str]:
    return [message.text for message in parse_request(inputs).conversation.messages if message.text]


def check(reply, inputs, keep: float) -> dict:
    """The full result of a reply, after everything that holds for each reply has been checked."""
    html, counts, text, receipt, result = reply
    tokens = result["tokens"]
    assert tokens["compressed"] <= tokens["budget"] <= max(1, keep * tokens["original"])
    assert f"{tokens['original']:,} → {tokens['compressed']:,} tokens" in counts
    texts = texts_of(inputs)
    assert displayed(html) == texts
    marked = kept(html)
    assert all(piece in original for original, own in zip(texts, marked, strict=True) for piece in own)
    assert sum(map(len, marked)) == len([piece for piece in result["pieces"] if piece["end"] > piece["start"]]) > 0
    assert all(piece in text for own in marked for piece in own)
    assert text == result["text"]
    assert len(receipt["data"]) == sum(map(len, result["receipt"].values()))
    return result


# --- parse_input


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A visa.\nAn order.", {"context": "A visa.\nAn order."}),
        ("[12:03] Ana: hello", {"context": "[12:03] Ana: hello"}),
        ("{not json", {"context": "{not json"}),
        ("He said\nuser: hi", {"context": "He said\nuser: hi"}),
        (
            "\nUser: Hi.\nStill me.\nassistant:\tHello.\n",
            {"messages": [{"role": "user", "content": "Hi.\nStill me."}, {"role": "assistant", "content": "Hello."}]},
        ),
        (json.dumps(MESSAGES), {"messages": MESSAGES}),
        (json.dumps({"messages": MESSAGES, "query": "a?", "answer": "b"}), {"messages": MESSAGES, "query": "a?"}),
        ('["one", "two"]', {"context": ["one", "two"]}),
        ('{"context": "one"}', {"context": "one"}),
    ],
)
def test_parse_input_detects_the_form(app, text, expected):
    assert app.parse_input(text) == expected
    assert app.parse_input(text, " \n") == expected
    assert app.parse_input(text, "Why?") == {**expected, "query": "Why?"}
    parse_request(app.parse_input(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" \n", "nothing to compress"),
        ('[{"role": "user", "content": "hi"', "line 1 column"),
        ('{"messages": ' + "[" * 200_000, "nested|recursion"),
        (json.dumps([MESSAGES, MESSAGES]), "one conversation at a time"),
        ("x" * 400_001, "400,001"),
    ],
)
def test_parse_input_says_what_is_wrong(app, text, words):
    with pytest.raises(ReetError, match=words):
        app.parse_input(text)


# --- highlight


@pytest.mark.parametrize("keep", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("inputs", [{"messages": MESSAGES}, {"context": ["  <i>\n\n", "", "the visa & order  "]}])
def test_kept_and_dropped_text_give_back_the_original(app, compress, inputs, keep):
    html = app.highlight(parse_request(inputs).conversation.messages, compress(inputs, budget=keep, unit="word"))
    assert displayed(html) == texts_of(inputs)


def test_everything_is_escaped(app, compress):
    messages = [*MESSAGES, *TOOL_USE]
    for keep in (0.1, 1.0):
        html = app.highlight(parse_request(messages).conversation.messages, compress(messages, budget=keep))
        assert not {"script", "b", "7"} & set(re.findall(r"</?(\w+)", html))
        assert "&lt;script&gt;" in html and "Ana &lt;b&gt;" in html and "&lt;7&gt;" in html
        assert "{" not in html and "$" not in html  # gr.HTML would read them as a template


def test_the_strongest_background_has_the_highest_importance(app):
    messages = parse_request("one two six").conversation.messages
    pieces = [{"message": 0, "start": a, "end": a + 3, "importance": i} for a, i in ((0, 0.2), (4, 0.4), (8, 0.3))]
    html = app.highlight(messages, {"pieces": pieces, "messages": []})
    shades = re.findall(r'<mark style="--importance:([\d.]+)" title="importance ([\d.]+)">(\w+)', html)
    assert shades == [("0.00", "0.20", "one"), ("1.00", "0.40", "two"), ("0.50", "0.30", "six")]


def test_tool_calls_are_shown_as_kept_or_dropped(app, compress):
    messages = parse_request(TOOL_USE).conversation.messages
    whole = app.highlight(messages, compress(TOOL_USE, budget=1.0))
    assert '<div class="call"><mark>find(' in whole
    none = app.highlight(messages, {"pieces": [], "messages": []})
    assert '<div class="call"><span class="dropped">find(' in none


# --- the running app


def test_text(app, client):
    text = "The visa expires in June. The order of Ana was B-77. Nobody knows when the order does expire."
    check(client.predict(text, "When does the visa expire?", 0.5, "auto", api_name="/compress"), text, 0.5)


@pytest.mark.parametrize("unit", ["auto", "word", "clause", "sentence", "message"])
def test_messages(app, client, unit):
    check(client.predict(json.dumps(MESSAGES), "", 0.6, unit, api_name="/compress"), MESSAGES, 0.6)


@pytest.mark.parametrize("number", range(3))
def test_examples(app, client, number):
    item = app.EXAMPLES[number]
    text, query, answer = client.predict(item["title"], api_name="/example")
    assert item["answer"] in answer
    result = check(client.predict(text, query, 0.3, "sentence", api_name="/compress"), app.parse_input(text), 0.3)
    assert {mention["type"] for mention in result["receipt"]["dropped"]} >= {"NAME", "NUMBER"}


@pytest.mark.parametrize(
    ("text", "keep", "unit", "words"),
    [
        ("", 0.3, "auto", "nothing to compress"),
        ('[{"role": "user",', 0.3, "auto", "looks like JSON"),
        ('[{"role": "<img>", "content": "hi"}]', 0.3, "auto", "must be one of system.*&lt;img&gt;"),
        ('{"messages": [], "model": "x"}', 0.3, "auto", "exactly one of"),
        ('{"messages": 7}', 0.3, "auto", "must be a list"),
    ],
)
def test_bad_input_gives_a_readable_error(client, text, keep, unit, words):
    with pytest.raises(Exception, match=words) as caught:
        client.predict(text, "", keep, unit, api_name="/compress")
    assert "Traceback" not in str(caught.value)


# --- what travels with it


def test_the_examples_are_copies_of_those_of_the_project(app):
    assert {item["source"] for item in app.EXAMPLES} == {path.name for path in (ROOT / "examples").glob("*.json")}
    for item in app.EXAMPLES:
        original = json.loads((ROOT / "examples" / item["source"]).read_text(encoding="utf-8"))
        assert {name: item[name] for name in original} == original


def test_the_answers_stand_in_the_examples(app):
    for item in app.EXAMPLES:
        texts = texts_of({name: item[name] for name in ("messages", "context") if name in item})
        assert sum(text.count(item["answer"]) for text in texts) in (1, 2)


def test_the_page_loads_nothing_from_elsewhere(app):
    assert not app.demo.analytics_enabled
    assert "http" not in app.CSS
    assert not app.LOOK["theme"]._stylesheets


def test_the_front_matter_names_the_app_and_the_model():
    import yaml

    front = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert (front["sdk"], front["license"], front["models"]) == ("gradio", "apache-2.0", ["reet/reet-base"])
    assert (SPACE / front["app_file"]).exists()
    assert len(front["short_description"]) <= 60
    assert "reet-hf" in (SPACE / "requirements.txt").read_text(encoding="utf-8").split()
