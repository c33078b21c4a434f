"""The `reet-compression` pipeline: forms of input, options, protection, and what messages look like after."""

from __future__ import annotations

import copy
import json
import logging
import re

import pytest
from transformers import pipeline

from reet_hf import ReetCompressionPipeline, ReetError
from reet_hf.records import Span

CALL = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"order": "AB-12"}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,x"}}
TEXT = "Ann Lee lives in Oslo. Her visa expires on 3 June 2024, so she must renew it. The order AB-12 costs $87.50."
CHAT = [
    {"role": "system", "content": "Answer briefly. Never guess a date."},
    {"role": "user", "name": "Ann", "content": "When does the visa expire? I think in June."},
    {"role": "assistant", "content": "The visa expires on 3 June 2024. Renew it in Oslo."},
    {"role": "user", "name": "Ann", "content": "Where is the order AB-12? It is late."},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "Shipped. Seven boxes of tea."},
    {"role": "assistant", "content": "It was shipped. Seven boxes are on their way."},
    {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "Is this it? Look."}, IMAGE]},
]
QUERY = "When does the visa expire?"
FORMS = [
    TEXT,
    {"context": TEXT},
    {"context": [TEXT, "A second text. It is short."], "query": QUERY},
    {"context": TEXT, "query": QUERY, "history": [{"query": "Who?", "answer": "Ann Lee"}]},
    {"messages": CHAT},
    {"messages": CHAT, "query": QUERY, "history": [{"query": "Who?", "answer": "Ann Lee"}, {"query": "Where?"}]},
    CHAT,
    CHAT[1],
]
KEYS = {"text", "messages", "pieces", "tokens", "entities", "facts", "receipt", "omitted", "schema_version"}
EMPTY = ["", " \n\t", [], {"context": ""}, {"context": []}, {"messages": []}, {"messages": [], "query": QUERY}]
EMPTY += [
    [{"role": "assistant", "content": ""}],
    [{"role": "user", "content": None}],
    {"context": ["", " "], "query": ""},
]


def test_the_task_gives_the_pipeline(compress):
    assert isinstance(compress, ReetCompressionPipeline)


def test_the_model_that_comes_along_is_no_default_to_be_warned_of(bundled, caplog):
    logger = logging.getLogger("transformers.pipelines")
    logger.addHandler(caplog.handler)  # the loggers of the library may not propagate
    try:
        with caplog.at_level(logging.WARNING, logger.name):
            assert pipeline("reet-extraction").model.name_or_path == str(bundled)
            assert not caplog.messages
            logger.warning("No model was supplied, defaulted to some/other and revision main.")
            assert len(set(caplog.messages)) == 1
    finally:
        logger.removeHandler(caplog.handler)


@pytest.mark.parametrize("inputs", FORMS)
@pytest.mark.parametrize("unit", ["word", "clause", "sentence", "message", "auto"])
def test_each_form_gives_a_plain_result(compress, inputs, unit):
    before = copy.deepcopy(inputs)
    out = compress(inputs, budget=0.5, unit=unit)
    assert set(out) == KEYS
    assert json.loads(json.dumps(out)) == out
    assert 0 < out["tokens"]["compressed"] <= out["tokens"]["budget"] < out["tokens"]["original"]
    assert inputs == before


def test_a_batch_of_mixed_forms_is_the_same_as_one_by_one(compress):
    together = compress(FORMS, budget=0.4)
    assert isinstance(together, list)
    assert together == [compress(inputs, budget=0.4) for inputs in FORMS]
    assert compress(tuple(FORMS), budget=0.4) == together
    assert compress([CHAT], budget=0.4) == [compress(CHAT, budget=0.4)]


@pytest.mark.parametrize("inputs", EMPTY, ids=repr)
@pytest.mark.parametrize("budget", [0.3, 1, 1.0])
def test_an_empty_input_gives_an_empty_result(compress, inputs, budget):
    out = compress(inputs, budget=budget)
    assert (out["text"], out["messages"], out["pieces"], out["tokens"]["compressed"]) == ("", [], [], 0)
    assert out["entities"] == [] and out["facts"] == {}
    assert out["receipt"] == {"kept": [], "in_ledger": [], "dropped": []}


@pytest.mark.parametrize("inputs", [TEXT, [TEXT, TEXT], CHAT])
def test_an_unknown_option_is_a_type_error_at_the_call(compress, inputs):
    with pytest.raises(TypeError, match="'ratio'.*budget, tokenizer, unit, strategy, protect"):
        compress(inputs, ratio=0.3)


def test_an_unknown_option_is_a_type_error_for_the_compressor(compress):
    with pytest.raises(TypeError, match="ratio"):
        compress.compressor.compress(TEXT, ratio=0.3)


def test_an_unknown_option_is_a_type_error_when_the_pipeline_is_made(tiny_model, tokenizer):
    with pytest.raises(TypeError, match="'ratio'"):
        pipeline("reet-compression", model=tiny_model, tokenizer=tokenizer, ratio=0.3)


def test_options_of_the_pipeline_are_the_defaults_of_its_calls(tiny_model, tokenizer, compress):
    made = pipeline("reet-compression", model=tiny_model, tokenizer=tokenizer, budget=0.6, unit="sentence")
    assert made(TEXT) == compress(TEXT, budget=0.6, unit="sentence")
    assert made(TEXT, budget=0.2) == compress(TEXT, budget=0.2, unit="sentence")
    assert made(TEXT) == compress(TEXT, budget=0.6, unit="sentence")
    assert compress(TEXT) == compress(TEXT, budget=0.3)


@pytest.mark.parametrize("inputs", [CHAT, [CHAT, TEXT]], ids=["one", "batch"])
@pytest.mark.parametrize(
    "options",
    [{"unit": "page"}, {"strategy": "other"}, {"budget": 0}, {"budget": "0.3"}, {"tokenizer": 5}, {"protect": None}],
    ids=repr,
)
def test_options_are_checked_before_anything_is_encoded(compress, monkeypatch, inputs, options):
    def encode(*args):
        pytest.fail("encoded before the options were checked")

    monkeypatch.setattr(compress.compressor, "encode", encode)
    with pytest.raises(ReetError):
        compress(inputs, **options)


def test_a_batch_is_read_before_anything_is_encoded(compress, monkeypatch):
    monkeypatch.setattr(compress.compressor, "encode", lambda *args: pytest.fail("encoded before the input was read"))
    with pytest.raises(ReetError):
        compress([TEXT, {"context": 5}])


@pytest.mark.parametrize("budget", [0.15, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("unit", ["word", "clause", "sentence", "message"])
@pytest.mark.parametrize("query", [None, QUERY, "Where is the order?"])
def test_messages_stay_acceptable_to_a_provider(compress, budget, unit, query):
    out = compress({"messages": CHAT, "query": query}, budget=budget, unit=unit)
    calls = [n for n, m in enumerate(out["messages"]) if m.get("tool_calls")]
    results = [n for n, m in enumerate(out["messages"]) if m["role"] == "tool"]
    assert results == [n + 1 for n in calls]
    for number in calls:
        assert out["messages"][number]["tool_calls"] == [CALL]
        assert out["messages"][number + 1] == CHAT[5]
    roles = [m["role"] for m in out["messages"]]
    assert all(a != b for a, b in zip(roles, roles[1:], strict=False)), roles
    for message in out["messages"]:
        assert message.get("name") == ("Ann" if message["role"] == "user" else None)
        if isinstance(message["content"], list):
            assert IMAGE in message["content"]


def test_the_whole_budget_gives_the_messages_back(compress):
    for unit in ("word", "clause", "sentence", "message", "auto"):
        assert compress(CHAT, budget=1.0, unit=unit)["messages"] == CHAT


@pytest.mark.parametrize("unit", ["word", "clause", "sentence", "message", "auto"])
def test_a_message_of_images_alone_is_not_lost(compress, unit):
    chat = [CHAT[1], CHAT[2], {"role": "user", "content": [IMAGE, copy.deepcopy(IMAGE)]}]
    assert compress(chat, budget=1.0, unit=unit)["messages"] == chat
    assert chat[2] in compress(chat, budget=0.5, unit=unit, protect=[2])["messages"]


PROTECT = {
    "role": (["system"], [(0, CHAT[0]["content"])]),
    "one role": ("system", [(0, CHAT[0]["content"])]),
    "regex": ([r"AB-\d+"], [(3, "AB-12")]),
    "compiled regex": (re.compile("SEVEN", re.IGNORECASE), [(5, "Seven"), (6, "Seven")]),
    "regex over words": ([r"3 June \d{4}"], [(2, "3 June 2024")]),
    "message": ([2], [(2, CHAT[2]["content"])]),
    "message from the end": (-2, [(6, CHAT[6]["content"])]),
    "span": ([(3, 6, 24)], [(3, CHAT[3]["content"][6:24])]),
    "span record": (Span(1, 0, 15), [(1, CHAT[1]["content"][:15])]),
    "span of a result": ([{"message": 2, "start": 4, "end": 16}], [(2, "visa expires")]),
    "several": (["system", r"Oslo", -1], [(0, "Never guess a date."), (2, "Oslo"), (7, "Is this it? Look.")]),
}


@pytest.mark.parametrize(("protect", "expected"), PROTECT.values(), ids=PROTECT.keys())
@pytest.mark.parametrize("unit", ["word", "clause", "sentence", "message", "auto"])
@pytest.mark.parametrize("query", [None, "tea"])
def test_what_is_protected_survives(compress, protect, expected, unit, query):
    inputs = {"messages": CHAT, "query": query}
    with pytest.raises(ReetError) as caught:
        compress(inputs, budget=1, unit=unit, protect=protect)
    for budget in (caught.value.floor, 0.75):
        out = compress(inputs, budget=budget, unit=unit, protect=protect)
        assert out["tokens"]["compressed"] <= out["tokens"]["budget"]
        for number, text in expected:
            kept = [
                CHAT[number]["content"][p["start"] : p["end"]]
                if isinstance(CHAT[number]["content"], str)
                else CHAT[number]["content"][0]["text"][p["start"] : p["end"]]
                for p in out["pieces"]
                if p["message"] == number
            ]
            assert "".join(text.split()) in "".join("".join(kept).split())
            assert text in out["text"]


def test_protecting_a_tool_result_keeps_its_call(compress):
    for protect in (["tool"], [4], [5], ["boxes of tea"]):
        out = compress(CHAT, budget=0.8, protect=protect)
        assert [CALL] in [message.get("tool_calls") for message in out["messages"]]
        assert CHAT[5] in out["messages"]


def test_a_regex_that_matches_nothing_protects_nothing(compress):
    assert compress(CHAT, budget=0.4, protect=["zzz", "developer", r"\b"]) == compress(CHAT, budget=0.4)
